//! Bodies that wait: in memory while they are short, then in a temporary file.

use crate::pipe::Pipe;
use crate::sys;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A file that is removed with its value, unless it is to be kept.
pub struct TempFile {
    file: File,
    path: Option<PathBuf>,
    kept: bool,
    pub length: u64,
}

impl TempFile {
    /// In `directory`, which is made if it can be; else (and with '') without a name.
    pub fn create(directory: &str) -> io::Result<TempFile> {
        let named = (!directory.is_empty()).then(|| named(Path::new(directory)));
        if let Some(Ok((file, path))) = named {
            return Ok(TempFile {
                file,
                path: Some(path),
                kept: false,
                length: 0,
            });
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).mode(0o600);
        options.custom_flags(libc::O_TMPFILE | libc::O_CLOEXEC);
        Ok(TempFile {
            file: options.open(std::env::temp_dir())?,
            path: None,
            kept: false,
            length: 0,
        })
    }

    pub fn append(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, self.length)?;
        self.length += data.len() as u64;
        Ok(())
    }

    /// Forget what is in it.
    pub fn clear(&mut self) -> io::Result<()> {
        self.length = 0;
        self.file.set_len(0)
    }

    /// Send what lies behind `at`.
    pub fn send(&self, to: &OwnedFd, at: u64) -> io::Result<usize> {
        let mut position = at;
        sys::send_file(to, &self.file, &mut position, self.length - at)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if let Some(path) = self.path.as_ref().filter(|_| !self.kept) {
            let _ = fs::remove_file(path);
        }
    }
}

fn named(directory: &Path) -> io::Result<(File, PathBuf)> {
    loop {
        let number = NUMBER.fetch_add(1, Relaxed) + 1;
        let path = directory.join(format!("{}-{number:010}", std::process::id()));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        match options.open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(directory)?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// How a request's body is kept.
#[derive(Clone, Debug, Default)]
pub struct Keeping {
    /// Longer ones go to a file.
    pub memory: usize,
    pub directory: String,
    /// Always in a file; and the file stays.
    pub in_file: bool,
    pub stays: bool,
}

/// A request's body as far as it is here, without its framing.
#[derive(Default)]
pub struct Body {
    memory: Vec<u8>,
    file: Option<Arc<TempFile>>,
    /// Nothing of it is missing: it can be sent as often as one likes.
    pub whole: bool,
}

impl Body {
    pub fn length(&self) -> u64 {
        let file = self.file.as_ref();
        file.map_or(self.memory.len() as u64, |file| file.length)
    }

    /// The same body, for a request beside this one.
    pub fn share(&self) -> Body {
        Body {
            memory: self.memory.clone(),
            file: self.file.clone(),
            whole: self.whole,
        }
    }

    /// What of it is in memory: all or nothing.
    pub fn in_memory(&self) -> &[u8] {
        &self.memory
    }

    pub fn path(&self) -> Option<&Path> {
        self.file.as_ref()?.path.as_deref()
    }

    pub fn push(&mut self, data: &[u8], keeping: &Keeping) -> io::Result<()> {
        let length = self.memory.len() + data.len();
        if self.file.is_none() && (keeping.in_file || length > keeping.memory) {
            let mut file = TempFile::create(&keeping.directory)?;
            file.kept = keeping.stays;
            file.append(&self.memory)?;
            self.memory = Vec::new();
            self.file = Some(Arc::new(file));
        }
        match &mut self.file {
            Some(file) => match Arc::get_mut(file) {
                Some(file) => file.append(data),
                None => Err(io::ErrorKind::ResourceBusy.into()), // it is whole: nothing follows
            },
            None => self.memory.write_all(data),
        }
    }

    /// Remember a body that goes by, while it is short; one that is not is forgotten.
    pub fn glimpse(&mut self, data: &[u8], most: usize) {
        if self.memory.len() + data.len() <= most {
            self.memory.extend_from_slice(data);
        } else {
            self.memory.clear();
        }
    }

    /// Send what lies behind `at`.
    pub fn send(&self, to: &OwnedFd, at: u64) -> io::Result<usize> {
        match &self.file {
            Some(file) => file.send(to, at),
            None => sys::send(to, &self.memory[at as usize..], false),
        }
    }
}

/// What a slow client has not got yet, past what memory is meant to hold: first in, first out.
pub struct Overflow {
    file: TempFile,
    sent: u64,
}

impl Overflow {
    pub fn create(directory: &str) -> io::Result<Overflow> {
        Ok(Overflow {
            file: TempFile::create(directory)?,
            sent: 0,
        })
    }

    pub fn held(&self) -> u64 {
        self.file.length - self.sent
    }

    /// How much of the disk it takes.
    pub fn size(&self) -> u64 {
        self.file.length
    }

    pub fn append(&mut self, data: &[u8]) -> io::Result<()> {
        self.file.append(data)
    }

    /// All that a pipe holds.
    pub fn take_pipe(&mut self, pipe: &mut Pipe) -> io::Result<()> {
        while pipe.held() > 0 {
            let count = pipe.spill(&self.file.file, self.file.length)?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.file.length += count as u64;
        }
        Ok(())
    }

    pub fn send(&mut self, to: &OwnedFd) -> io::Result<usize> {
        let count = self.file.send(to, self.sent)?;
        self.sent += count as u64;
        if self.held() == 0 {
            self.file.clear()?;
            self.sent = 0;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_body_goes_to_a_file_which_goes_with_it() {
        let directory = std::env::temp_dir().join(format!("trimaran-spool-{}", std::process::id()));
        let keeping = Keeping {
            memory: 4,
            directory: directory.to_str().unwrap().into(),
            ..Keeping::default()
        };
        let mut body = Body::default();
        body.push(b"abc", &keeping).unwrap();
        assert_eq!((body.in_memory(), body.path()), (&b"abc"[..], None));
        body.push(b"def", &keeping).unwrap();
        assert_eq!((body.in_memory(), body.length()), (&b""[..], 6));
        let path = body.path().unwrap().to_path_buf();
        assert_eq!(fs::read(&path).unwrap(), b"abcdef");
        drop(body);
        assert!(!path.exists());
        fs::remove_dir(directory).unwrap();
    }

    #[test]
    fn without_a_directory_a_file_has_no_name() {
        let file = TempFile::create("/proc/nowhere").unwrap();
        assert!(file.path.is_none());
    }
}
