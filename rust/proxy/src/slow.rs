//! Answers for clients that are slower than their peers: by a pipe as they come, and what the client
//! does not take in memory, then in a file, so that the peer is free.

use crate::chunked;
use crate::conn::Client;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::forward::{Fault, Forward};
use crate::pipe::Pipe;
use crate::reply::{peer_ended, Reply};
use crate::spool::Overflow;
use std::io::ErrorKind;

/// How long the peer waits for a slow client before its answer is stored.
const PATIENCE_MS: u64 = 50;

impl Client {
    /// Empty the pipe to the client, then fill it from the peer. `left` is still to come from there.
    pub fn take_spliced(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        forward: &mut Forward,
        mut pipe: Pipe,
        mut left: u64,
    ) -> Result<bool, Fault> {
        let mut moved = false;
        if pipe.held() > 0 && self.writable {
            let result = pipe.empty(&self.fd, left > 0);
            moved = self.note_sent(result).is_some();
        }
        let stuck = pipe.held() > 0 && !self.writable && !self.broken;
        if stuck && self.is_late(core.now_ms).is_none() && self.has_room(forward) {
            let room = forward.waiting_room.as_ref();
            let overflow = match &mut self.overflow {
                Some(overflow) => overflow,
                none => none.insert(
                    Overflow::create(room.map_or("", |room| &room.directory)).map_err(no_room)?,
                ),
            };
            overflow.take_pipe(&mut pipe).map_err(no_room)?;
            moved = true;
        }
        let spilled = self.overflow.as_ref().is_some_and(|found| found.held() > 0);
        // Nothing may overtake what is in the file.
        if let (0, false, Some(connection)) = (pipe.held(), spilled, &mut forward.connection) {
            if left > 0 && connection.readable {
                match pipe.fill(&connection.fd, left) {
                    Ok(0) => return peer_ended(forward),
                    Ok(count) => {
                        left -= count as u64;
                        exchange.body_bytes += count as u64;
                        if let Some(last) = exchange.tries.last_mut() {
                            last.received += count as u64;
                            last.length += count as u64;
                        }
                        moved = true;
                    }
                    Err(error) => match error.kind() {
                        ErrorKind::WouldBlock => connection.readable = connection.ended,
                        ErrorKind::Interrupted => moved = true,
                        _ => return Err(Fault::Error(error.to_string())),
                    },
                }
            }
        }
        if left == 0 && pipe.held() == 0 {
            forward.reply = Reply::Done;
            core.pipes.give_back(pipe);
        } else {
            forward.reply = Reply::Length(left);
            forward.pipe = Some(pipe);
        }
        Ok(moved)
    }

    /// Until when a client that is slow is only waited for: what waits here costs more.
    pub fn is_late(&self, now_ms: u64) -> Option<u64> {
        let until = self.slow_ms? + PATIENCE_MS;
        (now_ms < until).then_some(until)
    }

    /// Whether more of the answer may wait for the client.
    pub fn has_room(&self, forward: &Forward) -> bool {
        let Some(room) = &forward.waiting_room else {
            return false;
        };
        let on_disk = self.overflow.as_ref().map_or(0, Overflow::size);
        let pending = self.out.len() - self.out_at;
        !self.broken && !forward.tunnel && (pending < room.memory || on_disk < room.disk)
    }

    /// Pass on what came. What the client does not take waits in memory, and what is too much for
    /// that in a file: in their order.
    pub fn pass_or_keep(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        forward: &mut Forward,
        data: &[u8],
        flushed: bool,
    ) -> Result<(), Fault> {
        let memory = forward.waiting_room.as_ref().map_or(0, |room| room.memory);
        if flushed || self.overflow.is_none() && self.out.len() - self.out_at < memory {
            return self.pass(core, exchange, forward, data);
        }
        let held = (std::mem::take(&mut self.out), self.out_at);
        let writable = std::mem::replace(&mut self.writable, false);
        self.out_at = 0;
        let result = self.pass(core, exchange, forward, data);
        if matches!(forward.reply, Reply::Done) && forward.chunk {
            self.out.extend_from_slice(chunked::END);
            forward.chunk = false;
        }
        let more = std::mem::replace(&mut self.out, held.0);
        self.out_at = held.1;
        self.writable = writable;
        result?;
        if self.overflow.is_none() {
            let room = forward.waiting_room.as_ref();
            let directory = room.map_or("", |room| &room.directory);
            self.overflow = Some(Overflow::create(directory).map_err(no_room)?);
        }
        match &mut self.overflow {
            Some(overflow) => overflow.append(&more).map_err(no_room),
            None => Ok(()),
        }
    }
}

pub fn no_room(error: std::io::Error) -> Fault {
    Fault::Error(format!("an answer that waits for its client: {error}"))
}
