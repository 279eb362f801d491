//! One direction of a session: from one socket to the other, at most at its rate.

use crate::sys;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

/// What a socket is ready for.
#[derive(Default, Clone, Copy)]
pub struct Ready {
    pub read: bool,
    pub write: bool,
}

#[derive(Default)]
pub struct Pump {
    /// Read and not yet sent.
    pub held: Vec<u8>,
    at: usize,
    /// The source has said its last.
    pub ended: bool,
    /// The other side has been told so.
    pub told: bool,
    /// Bytes read, and bytes sent.
    pub came: u64,
    pub went: u64,
    /// Bytes per second; 0 is without limit.
    pub rate: u64,
}

#[derive(PartialEq, Eq, Debug)]
pub enum Moved {
    /// Bytes moved; there may be more.
    Some,
    /// One of both is not ready.
    None,
    /// The rate is used up for so many ms.
    Pause(u64),
}

impl Pump {
    pub fn is_empty(&self) -> bool {
        self.at == self.held.len()
    }

    pub fn put(&mut self, data: &[u8]) {
        self.held.extend_from_slice(data);
    }

    /// Read once if nothing is held, `most` bytes at the most.
    pub fn take(
        &mut self,
        from: &OwnedFd,
        ready: &mut Ready,
        scratch: &mut [u8],
        most: usize,
        age_ms: u64,
    ) -> io::Result<Moved> {
        if self.ended || !ready.read || self.held.len() - self.at >= most {
            return Ok(Moved::None);
        }
        let mut room = most.min(scratch.len());
        if self.rate > 0 {
            let allowed = self.rate.saturating_mul(age_ms / 1000 + 1);
            if self.came >= allowed {
                return Ok(Moved::Pause((self.came - allowed) * 1000 / self.rate + 1));
            }
            room = room.min(usize::try_from(allowed - self.came).unwrap_or(room));
        }
        match sys::recv(from, &mut scratch[..room]) {
            Ok(0) => {
                self.ended = true;
                Ok(Moved::Some)
            }
            Ok(count) => {
                self.came += count as u64;
                self.held.extend_from_slice(&scratch[..count]);
                Ok(Moved::Some)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                ready.read = false;
                Ok(Moved::None)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Moved::Some),
            Err(error) => Err(error),
        }
    }

    /// Send what is held.
    pub fn give(&mut self, to: &OwnedFd, ready: &mut Ready) -> io::Result<Moved> {
        if self.is_empty() || !ready.write {
            return Ok(Moved::None);
        }
        match sys::send(to, &self.held[self.at..], false) {
            Ok(count) => {
                self.at += count;
                self.went += count as u64;
                if self.is_empty() {
                    self.held.clear();
                    self.at = 0;
                }
                Ok(Moved::Some)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                ready.write = false;
                Ok(Moved::None)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(Moved::Some),
            Err(error) => Err(error),
        }
    }
}
