//! A request's body on its way from the client to the peer.

use crate::chunked;
use crate::conn::{Client, Incoming, Read, Step, Waiting, ROUNDS};
use crate::core::Core;
use crate::exchange::Exchange;
use crate::forward::{Forward, REPLAY};
use crate::request::{Body, Refusal};
use crate::spool::Keeping;

impl Client {
    /// Read the whole body, then forward the request.
    pub fn read_body(&mut self, core: &mut Core, exchange: &mut Exchange) -> Step {
        let mut scratch = std::mem::take(&mut core.scratch);
        let step = self.read_some_body(exchange, &mut scratch);
        core.scratch = scratch;
        match step {
            Ok(Some(step)) => step,
            Ok(None) => {
                self.body_is_here(core, exchange);
                Step::Again
            }
            Err(Refusal(status, _)) => {
                exchange.keep = false;
                self.fail(core, exchange, status);
                Step::Again
            }
        }
    }

    /// None: it is whole.
    fn read_some_body(
        &mut self,
        exchange: &mut Exchange,
        scratch: &mut [u8],
    ) -> Result<Option<Step>, Refusal> {
        for _ in 0..ROUNDS {
            if !self.buffer.is_empty() {
                let used = keep_body(exchange, &self.buffer)?;
                self.buffer.drain(..used);
            }
            if exchange.incoming.done() {
                exchange.body.whole = true;
                return Ok(None);
            }
            if !self.readable {
                return Ok(Some(Step::Wait(Waiting::Body)));
            }
            match self.read_into(scratch) {
                Read::End => return Ok(Some(Step::Close)),
                Read::Later => {}
                Read::Data(count) => {
                    let used = keep_body(exchange, &scratch[..count])?;
                    self.buffer.extend_from_slice(&scratch[used..count]); // the next request
                }
            }
        }
        Ok(Some(Step::Yield))
    }

    /// Take body bytes from the client while the peer keeps up. Err with status 0: client left.
    pub fn take_body(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        forward: &mut Forward,
    ) -> Result<bool, Refusal> {
        if exchange.incoming.done() || forward.pending() > REPLAY {
            return Ok(false);
        }
        if !self.buffer.is_empty() {
            let buffer = std::mem::take(&mut self.buffer);
            let used = forward_body(exchange, forward, &buffer);
            self.buffer = buffer;
            self.buffer.drain(..used?);
            return Ok(true);
        }
        if !self.readable {
            return Ok(false);
        }
        let mut scratch = std::mem::take(&mut core.scratch);
        let result = match self.read_into(&mut scratch) {
            Read::Later => Ok(false),
            Read::End if forward.tunnel => {
                exchange.incoming = Incoming::Done;
                Ok(true)
            }
            Read::End => Err(Refusal(0, "client left")),
            Read::Data(count) => {
                let used = forward_body(exchange, forward, &scratch[..count]);
                used.map(|used| {
                    self.buffer.extend_from_slice(&scratch[used..count]); // the next request
                    true
                })
            }
        };
        core.scratch = scratch;
        result
    }
}

/// How long a body may be here; 0: without limit.
fn most(exchange: &Exchange) -> u64 {
    exchange.snapshot.as_ref().map_or(0, |snapshot| {
        let own = exchange.location_of(snapshot).and_then(|it| it.body_size);
        own.unwrap_or(snapshot.limits.body_size)
    })
}

/// Keep body bytes of `input`; how many were used.
fn keep_body(exchange: &mut Exchange, input: &[u8]) -> Result<usize, Refusal> {
    let keeping = match exchange.options() {
        Some(options) => options.keeping.clone(),
        None => Keeping::default(),
    };
    let body = &mut exchange.body;
    let mut failed = false;
    let used = exchange.incoming.feed(input, |payload| {
        failed |= body.push(payload, &keeping).is_err();
    })?;
    if failed {
        return Err(Refusal(500, "no room for the body"));
    }
    exchange.received = exchange.body.length();
    let most = most(exchange);
    if most > 0 && exchange.received > most {
        return Err(Refusal(413, "body too long"));
    }
    Ok(used)
}

/// Move body bytes of `input` to the peer, framed as the head says; how many were used.
fn forward_body(
    exchange: &mut Exchange,
    forward: &mut Forward,
    input: &[u8],
) -> Result<usize, Refusal> {
    let before = forward.out.len();
    let chunked = exchange.request.body == Body::Chunked;
    let out = &mut forward.out;
    let discards = forward.discards;
    let shows = exchange.snapshot.as_ref();
    let shows = shows.is_some_and(|snapshot| snapshot.wants_body);
    let memory = exchange
        .options()
        .map_or(0, |options| options.keeping.memory);
    let body = &mut exchange.body;
    let mut chunk = Vec::new(); // what came together goes on together
    let used = exchange.incoming.feed(input, |payload| {
        if shows {
            body.glimpse(payload, memory);
        }
        if discards {
        } else if chunked {
            chunk.extend_from_slice(payload);
        } else {
            out.extend_from_slice(payload);
        }
    })?;
    chunked::encode(out, &chunk);
    if chunked && !discards && matches!(exchange.incoming, Incoming::Done) {
        out.extend_from_slice(chunked::END);
    }
    exchange.received += (forward.out.len() - before) as u64;
    let most = most(exchange);
    if most > 0 && chunked && exchange.received > most {
        return Err(Refusal(413, "body too long"));
    }
    Ok(used)
}
