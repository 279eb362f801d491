//! Static files: which file, whether the client has it already, which part of it (RFC 9110 §13-14).

use crate::manner::Modified;
use crate::request::{has_token, Method, Request};
use crate::snapshot::Files;
use crate::sys;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// What to answer for a path.
pub enum Found {
    Status(u16),
    /// A directory without its slash.
    Slash,
    File(Open),
}

pub struct Open {
    pub fd: OwnedFd,
    pub size: u64,
    pub modified: u64,
    /// The name that decides the media type.
    pub name: Vec<u8>,
}

pub fn find(files: &Files, request: &Request, path: &[u8], internal: bool) -> Found {
    if !internal && !matches!(request.method, Method::Get | Method::Head) {
        return Found::Status(405);
    }
    let Some(root) = &files.root else {
        return Found::Status(404);
    };
    let path = path.strip_prefix(b"/").unwrap_or(path);
    if !request.uri.ends_with(b"/") {
        return open(root, path).unwrap_or_else(|error| Found::Status(status_of(&error)));
    }
    match sys::open_beneath(root, path) {
        Ok(_) => Found::Status(403), // it is there, and its content is not shown
        Err(error) => Found::Status(status_of(&error)),
    }
}

/// Whether there is a file (or a directory) below the location's own.
pub fn is_there(files: &Files, path: &[u8], directory: bool) -> bool {
    let path = path.strip_prefix(b"/").unwrap_or(path);
    let Some(Ok(fd)) = files
        .root
        .as_ref()
        .map(|root| sys::open_beneath(root, path))
    else {
        return false;
    };
    File::from(fd)
        .metadata()
        .is_ok_and(|about| about.is_dir() == directory)
}

/// The same for a path of the whole file system, from a location that has no directory open.
pub fn exists(path: &[u8], directory: bool) -> bool {
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
    std::fs::metadata(path).is_ok_and(|about| about.is_dir() == directory)
}

fn open(root: &OwnedFd, path: &[u8]) -> io::Result<Found> {
    let file = File::from(sys::open_beneath(root, path)?);
    let about = file.metadata()?;
    if about.is_dir() {
        return Ok(Found::Slash);
    }
    if !about.is_file() {
        return Ok(Found::Status(404));
    }
    Ok(Found::File(Open {
        fd: file.into(),
        size: about.len(),
        modified: about.mtime().max(0) as u64,
        name: path.to_vec(),
    }))
}

fn status_of(error: &io::Error) -> u16 {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG) => 404,
        Some(libc::EACCES | libc::EPERM | libc::EXDEV | libc::ELOOP) => 403,
        _ => 500,
    }
}

impl Open {
    pub fn etag(&self) -> String {
        format!("\"{:x}-{:x}\"", self.modified, self.size)
    }

    pub fn last_modified(&self) -> String {
        httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(self.modified))
    }

    /// The extension in lower case.
    pub fn extension(&self) -> Option<Vec<u8>> {
        let name = self.name.rsplit(|byte| *byte == b'/').next()?;
        let dot = name.iter().rposition(|byte| *byte == b'.')?;
        Some(name[dot + 1..].to_ascii_lowercase())
    }

    /// 412 or 304 when a condition of the request says so, else 200 (RFC 9110 §13.2.2).
    pub fn conditions(&self, request: &Request, rule: Modified) -> u16 {
        let etag = self.etag();
        if let Some(wanted) = request.header(b"if-match") {
            if !lists(wanted, &etag, false) {
                return 412;
            }
        } else if let Some(limit) = request.header(b"if-unmodified-since").and_then(date) {
            if self.modified > limit {
                return 412;
            }
        }
        if let Some(known) = request.header(b"if-none-match") {
            if lists(known, &etag, true) {
                return 304;
            }
        } else if let Some(since) = request.header(b"if-modified-since").and_then(date) {
            let same = match rule {
                Modified::Exact => self.modified == since, // another date is another file
                Modified::Before => self.modified <= since,
                Modified::Off => false,
            };
            if same {
                return 304;
            }
        }
        200
    }

    /// Whether a range applies, by If-Range against `modified` (add_header may have changed it).
    pub fn range_applies(&self, request: &Request, modified: Option<u64>) -> bool {
        match request.header(b"if-range") {
            None => true,
            Some(tag) if tag.starts_with(b"\"") => tag == self.etag().as_bytes(),
            Some(tag) => modified.is_some() && date(tag) == modified,
        }
    }
}

pub fn date(text: &[u8]) -> Option<u64> {
    let time = httpdate::parse_http_date(std::str::from_utf8(text).ok()?).ok()?;
    time.duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .map(|since| since.as_secs())
}

/// Whether a list of entity tags has ours; `weak` comparison ignores W/.
fn lists(list: &[u8], etag: &str, weak: bool) -> bool {
    list.trim_ascii() == b"*"
        || has_token(list, etag.as_bytes())
        || weak && has_token(list, format!("W/{etag}").as_bytes())
}
