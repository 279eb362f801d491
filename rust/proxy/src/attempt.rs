//! Tries of peers: choose one, connect, part with it, and what follows its failure.

use crate::balance::{Change, Lease};
use crate::conn::{Client, Phase, Step, Waiting};
use crate::core::Core;
use crate::exchange::Exchange;
use crate::forward::{Fault, Forward};
use crate::request::Method;
use crate::sys;

impl Client {
    /// Choose a peer and connect to it; when there is none, the request fails.
    pub fn choose_peer(&mut self, core: &mut Core, exchange: &mut Exchange) {
        let body_awaited = self.buffer.is_empty() && !exchange.incoming.done();
        if exchange.request.expect_continue && body_awaited {
            self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if let Some(forward) = self.forward.take() {
            self.next_peer(core, exchange, forward, 502);
        }
    }

    fn next_peer(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        mut forward: Box<Forward>,
        status: u16,
    ) {
        let tries = exchange.options().map_or(0, |options| options.next.tries);
        loop {
            let spent = tries > 0 && forward.tried.len() >= tries;
            let late = !forward.tried.is_empty() && core.now_ms >= forward.until_ms;
            if spent || late {
                break;
            }
            let group = forward.group.clone();
            let Some(peer) = group.pick(&forward.tried, core.now_ms, &forward.key) else {
                if forward.tried.is_empty() {
                    exchange.note_try(&forward.group.name, core.now_ms, 502);
                }
                break;
            };
            forward.peer = peer;
            exchange.note_try(&group.peers[peer].name, core.now_ms, 0);
            forward.lease = Some(Lease(group, peer));
            match self.connect(core, exchange, &mut forward, true) {
                Ok(()) => {
                    self.forward = Some(forward);
                    return;
                }
                Err(error) => {
                    note_failure(core, &forward, &format!("connect: {error}"));
                    forward.tried.push(peer);
                }
            }
        }
        self.fail(core, exchange, status);
    }

    fn connect(
        &mut self,
        core: &mut Core,
        exchange: &Exchange,
        forward: &mut Forward,
        pooled: bool,
    ) -> std::io::Result<()> {
        forward.out_at = 0;
        forward.deaf = false;
        forward.input.clear();
        let address = forward.group.peers[forward.peer].address;
        while let Some(idle) = pooled
            .then(|| core.pool.take(forward.group.id, &address))
            .flatten()
        {
            // A request that may not be sent twice deserves a look whether the peer has left.
            let stale = exchange.request.method == Method::Once && sys::has_input(&idle.fd);
            if stale || idle.ended {
                core.drop_connection(idle);
                continue;
            }
            core.assign(&idle, self.index);
            forward.connection = Some(idle);
            return Ok(());
        }
        forward.connection = Some(core.connect(&address, self.index)?);
        Ok(())
    }

    /// Part with the peer's connection: into the pool if it may serve again.
    pub fn let_go(&mut self, core: &mut Core, forward: &mut Forward, reusable: bool) {
        forward.lease = None;
        let Some(connection) = forward.connection.take() else {
            return;
        };
        let unread = connection.readable && sys::has_input(&connection.fd);
        if reusable && !connection.ended && !unread {
            core.keep_connection(&forward.group, connection);
        } else {
            core.drop_connection(connection);
        }
    }

    pub fn peer_timed_out(&mut self, core: &mut Core) -> bool {
        let phase = match self.waiting {
            Waiting::Connect(_) => "connecting",
            Waiting::PeerSend(_) => "sending the request",
            _ => "waiting for the answer",
        };
        let (Some(mut exchange), Some(forward)) = (self.exchange.take(), self.forward.take())
        else {
            return false;
        };
        if forward.tunnel {
            let step = self.abandon(core, forward); // silence is no failure of the peer
            return self.keep_or_account(core, exchange, &step);
        }
        let step = self.peer_failed(core, &mut exchange, forward, Fault::Timeout(phase));
        self.keep_or_account(core, exchange, &step)
    }

    pub fn body_timed_out(&mut self, core: &mut Core) -> bool {
        let (Some(mut exchange), Some(mut forward)) = (self.exchange.take(), self.forward.take())
        else {
            return false;
        };
        let answered = forward.answered;
        self.let_go(core, &mut forward, false);
        exchange.keep = false;
        if !answered {
            self.fail(core, &mut exchange, 408);
        }
        let step = if answered { Step::Close } else { Step::Again };
        self.keep_or_account(core, exchange, &step)
    }

    fn keep_or_account(
        &mut self,
        core: &mut Core,
        mut exchange: Box<Exchange>,
        step: &Step,
    ) -> bool {
        if matches!(step, Step::Close) || self.phase != Phase::Serving {
            self.account(core, &mut exchange);
            return false;
        }
        self.exchange = Some(exchange);
        true
    }

    pub fn peer_failed(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        mut forward: Box<Forward>,
        fault: Fault,
    ) -> Step {
        let reused = forward
            .connection
            .as_ref()
            .is_some_and(|found| found.reused);
        let silent = forward.input.is_empty() && !forward.answered;
        // An idle connection that died under our hands says nothing about the peer.
        let stale = reused && silent && matches!(fault, Fault::Error(_));
        let counts = !matches!(fault, Fault::Intercepted(_) | Fault::Status(403 | 404));
        if !stale && counts {
            note_failure(core, &forward, &fault.to_string());
        }
        self.let_go(core, &mut forward, false);
        if forward.answered {
            return Step::Close; // the client sees a truncated answer, never a second one
        }
        self.out.clear(); // a 100 Continue at most, or nothing
        self.out_at = 0;
        let status = match fault {
            Fault::Timeout(_) => 504,
            Fault::Status(status) | Fault::Intercepted(status) => status,
            _ => 502,
        };
        exchange.end_try(core.now_ms, status);
        if let Fault::Intercepted(status) = fault {
            self.fail(core, exchange, status);
            return Step::Again;
        }
        let once = exchange.request.method == Method::Once;
        let (wanted, repeats) = exchange.options().map_or((true, false), |options| {
            (options.next.wants(&fault), options.next.non_idempotent)
        });
        let again = (wanted || stale) && forward.replayable && (!forward.sent || !once || repeats);
        if !again {
            self.fail(core, exchange, status);
            return Step::Again;
        }
        if stale && self.connect(core, exchange, &mut forward, false).is_ok() {
            self.forward = Some(forward);
            return Step::Again;
        }
        let peer = forward.peer;
        forward.tried.push(peer);
        self.next_peer(core, exchange, forward, status);
        Step::Again
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Error(why) => write!(out, "{why}"),
            Fault::Timeout(phase) => write!(out, "timed out {phase}"),
            Fault::Invalid(why) => write!(out, "invalid answer: {why}"),
            Fault::Status(status) | Fault::Intercepted(status) => write!(out, "answered {status}"),
        }
    }
}

fn note_failure(core: &mut Core, forward: &Forward, cause: &str) {
    if let Change::Down = forward.group.failed(forward.peer, core.now_ms) {
        let peer = &forward.group.peers[forward.peer].name;
        core.shared.event(false, &forward.group.name, peer, cause);
    }
}
