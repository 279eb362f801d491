//! A request's body on its way from the client to the peer.

use crate::chunked;
use crate::conn::{Client, Incoming, Read};
use crate::core::Core;
use crate::exchange::Exchange;
use crate::forward::{Forward, REPLAY};
use crate::request::{Body, Refusal};

impl Client {
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
    let used = exchange.incoming.feed(input, |payload| {
        if discards {
        } else if chunked {
            chunked::encode(out, payload);
        } else {
            out.extend_from_slice(payload);
        }
    })?;
    if chunked && !discards && matches!(exchange.incoming, Incoming::Done) {
        out.extend_from_slice(chunked::END);
    }
    exchange.received += (forward.out.len() - before) as u64;
    let most = exchange.snapshot.as_ref().map_or(0, |snapshot| {
        let own = exchange.location_of(snapshot).and_then(|it| it.body_size);
        own.unwrap_or(snapshot.limits.body_size)
    });
    if most > 0 && chunked && exchange.received > most {
        return Err(Refusal(413, "body too long"));
    }
    Ok(used)
}
