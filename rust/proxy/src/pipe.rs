//! Long bodies from peer to client without a copy: socket, pipe, socket (splice(2)).

use crate::sys;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A body of which at least this much is still to come goes through a pipe. Below it, two more
/// system calls cost what the copy costs.
pub const LEAST: u64 = 64 << 10;
/// What one pipe holds at most; of all pipes of a worker, what slow clients can tie up.
const SIZE: usize = 256 << 10;
const MOST: usize = 256;

pub struct Pipe {
    into: OwnedFd,
    out_of: OwnedFd,
    held: usize,
    _counted: Arc<()>,
}

impl Pipe {
    /// Bytes that the client has not got yet.
    pub fn held(&self) -> usize {
        self.held
    }

    /// From the peer; 0 at its end. WouldBlock means that the peer has nothing, when the pipe is
    /// empty.
    pub fn fill(&mut self, from: &OwnedFd, most: u64) -> io::Result<usize> {
        let count = sys::splice(from, &self.into, most.min(SIZE as u64) as usize, false)?;
        self.held += count;
        Ok(count)
    }

    /// To a file, at this place of it.
    pub fn spill(&mut self, to: &File, at: u64) -> io::Result<usize> {
        let count = sys::splice_to_file(&self.out_of, to, at, self.held)?;
        self.held -= count;
        Ok(count)
    }

    /// To the client. `more`: more follows at once.
    pub fn empty(&mut self, to: &OwnedFd, more: bool) -> io::Result<usize> {
        let count = sys::splice(&self.out_of, to, self.held, more)?;
        self.held -= count;
        Ok(count)
    }
}

/// The pipes of one worker.
#[derive(Default)]
pub struct Pipes {
    spare: Vec<Pipe>,
    counter: Arc<()>,
}

impl Pipes {
    /// None: there are enough of them, or no descriptors for more.
    pub fn take(&mut self) -> Option<Pipe> {
        if let Some(pipe) = self.spare.pop() {
            return Some(pipe);
        }
        if Arc::strong_count(&self.counter) > MOST {
            return None;
        }
        let (out_of, into) = sys::pipe(SIZE).ok()?;
        Some(Pipe {
            into,
            out_of,
            held: 0,
            _counted: self.counter.clone(),
        })
    }

    /// One that still holds bytes of somebody is closed.
    pub fn give_back(&mut self, pipe: Pipe) {
        if pipe.held == 0 {
            self.spare.push(pipe);
        }
    }
}
