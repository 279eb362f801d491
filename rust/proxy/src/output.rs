//! What goes to the client: memory first, then what waits in a file.

use crate::conn::Client;
use crate::sys;
use std::io::ErrorKind;

impl Client {
    /// Send what is pending. False: not all could be sent (or, with `broken`, none ever will).
    pub fn flush(&mut self) -> bool {
        if self.inner.is_some() {
            self.out.clear();
            self.out_at = 0;
            return true;
        }
        while self.out_at < self.out.len() {
            if !self.writable {
                return false;
            }
            let most = self.allowance();
            if most == 0 {
                return false;
            }
            let end = self.out.len().min(self.out_at.saturating_add(most));
            let result = sys::send(&self.fd, &self.out[self.out_at..end], false);
            match self.note_sent(result) {
                Some(count) => self.out_at += count,
                None => return false,
            }
        }
        self.out.clear();
        self.out_at = 0;
        self.send_overflow()
    }

    fn send_overflow(&mut self) -> bool {
        while let Some(overflow) = self.overflow.as_mut().filter(|found| found.held() > 0) {
            if !self.writable {
                return false;
            }
            let result = overflow.send(&self.fd);
            match self.note_sent(result) {
                Some(0) => self.broken = true, // the file became shorter
                Some(_) => continue,
                None => {}
            }
            if !self.writable || self.broken {
                return false;
            }
        }
        true
    }

    /// Nothing waits for the client.
    pub fn is_flushed(&self) -> bool {
        let overflow = self.overflow.as_ref();
        self.out_at == self.out.len() && overflow.is_none_or(|found| found.held() == 0)
    }

    /// Send `data` behind what is pending; what cannot go now becomes pending.
    pub fn send_through(&mut self, data: &[u8]) {
        if data.len() <= 8 << 10 || !self.writable || self.inner.is_some() || self.rate > 0 {
            self.out.extend_from_slice(data);
            self.flush();
            return;
        }
        let pending = self.out.len() - self.out_at;
        let result = sys::send_two(&self.fd, &self.out[self.out_at..], data);
        let sent = self.note_sent(result).unwrap_or(0);
        if sent < pending {
            self.out_at += sent;
            self.out.extend_from_slice(data);
        } else {
            self.out.clear();
            self.out_at = 0;
            self.out.extend_from_slice(&data[sent - pending..]);
        }
    }

    pub fn note_sent(&mut self, result: std::io::Result<usize>) -> Option<usize> {
        match result {
            Ok(count) => {
                self.progress = true;
                self.rate_sent += count as u64;
                self.pause_ms = 0;
                Some(count)
            }
            Err(error) => {
                match error.kind() {
                    ErrorKind::WouldBlock => self.writable = false,
                    ErrorKind::Interrupted => {}
                    _ => self.broken = true,
                }
                None
            }
        }
    }
}
