//! Tries of peers: choose one, connect, part with it, and what follows its failure.

use crate::address::Bind;
use crate::balance::{Change, Group, Lease};
use crate::budget::Budget;
use crate::conn::{Client, Phase, Step, Waiting};
use crate::core::Core;
use crate::exchange::{Answer, Exchange};
use crate::forward::{Fault, Forward};
use crate::request::Method;
use crate::snapshot::{Location, Proxy, Snapshot};
use crate::sys;
use std::sync::Arc;

impl Client {
    pub fn forward_to(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        snapshot: &Arc<Snapshot>,
        proxy: &Proxy,
        location: &Location,
    ) {
        let Some(forward) = Forward::new(core, snapshot, exchange, self, proxy, location) else {
            return self.fail(core, exchange, 502);
        };
        exchange.answer = Answer::Forward;
        exchange.group = Some(forward.group.clone());
        self.forward = Some(Box::new(forward));
        self.choose_peer(core, exchange);
    }

    /// Tell a client that waits for leave to send its body that it may.
    pub fn ask_for_body(&mut self, exchange: &Exchange) {
        if exchange.request.expect_continue && !exchange.incoming.done() {
            self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
    }

    /// Choose a peer and connect to it; when there is none, the request fails.
    fn choose_peer(&mut self, core: &mut Core, exchange: &mut Exchange) {
        self.ask_for_body(exchange);
        if let Some(forward) = self.forward.take() {
            if let Some(budget) = &forward.group.retries {
                budget.note_request();
            }
            self.next_peer(core, exchange, forward, 502);
        }
    }

    fn next_peer(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        mut forward: Box<Forward>,
        mut status: u16,
    ) {
        let next = exchange.options().map(|options| options.next.tries);
        let most = match next {
            None | Some(0) => forward.group.tries(),
            Some(tries) => tries.min(forward.group.tries()),
        };
        while forward.tried.is_empty()
            || forward.tried.len() < most
                && core.now_ms < forward.until_ms
                && forward.group.retries.as_ref().is_none_or(Budget::take)
        {
            let Some(peer) = pick(core, &forward) else {
                if self.queues(core, &mut forward) {
                    self.forward = Some(forward);
                    return;
                }
                // As nginx has it: the last try is that of the group, which has nobody.
                exchange.note_try(&forward.group.name, core.now_ms, 502);
                exchange.end_try(core.now_ms, 502);
                status = 502;
                break;
            };
            forward.ticket = None;
            forward.peer = peer;
            let group = forward.group.clone();
            exchange.note_try(&group.peers[peer].address.to_string(), core.now_ms, 0);
            forward.lease = Some(Lease::new(group, peer, core.now_ms));
            match self.connect(core, exchange, &mut forward, true) {
                Ok(()) => {
                    self.forward = Some(forward);
                    return;
                }
                Err(error) => {
                    note_failure(core, &forward, &format!("connect: {error}"));
                    exchange.end_try(core.now_ms, 502);
                    forward.lease = None;
                    forward.tried.push(peer);
                }
            }
        }
        self.fail(core, exchange, status);
    }

    /// Take a place in the group's queue, or keep it; false: there is none, or time is up.
    fn queues(&mut self, core: &mut Core, forward: &mut Forward) -> bool {
        let Some((_, patience_ms)) = forward.group.queue else {
            return false;
        };
        match &forward.ticket {
            Some(ticket) => core.now_ms < ticket.until_ms,
            None => {
                let until_ms = core.now_ms + patience_ms;
                forward.ticket = Ticket::take(core, &forward.group, until_ms);
                forward.ticket.is_some()
            }
        }
    }

    /// Ask again for a peer, as one that waits in the queue.
    pub fn asks_again(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        forward: Box<Forward>,
    ) -> Step {
        if self.ended {
            return self.abandon(core, forward);
        }
        self.next_peer(core, exchange, forward, 502);
        let Some(forward) = &self.forward else {
            return Step::Again;
        };
        match &forward.ticket {
            Some(ticket) => {
                let wait = Waiting::Until(ticket.until_ms);
                core.queued.push(self.index);
                Step::Wait(wait)
            }
            None => Step::Again,
        }
    }

    fn connect(
        &mut self,
        core: &mut Core,
        exchange: &Exchange,
        forward: &mut Forward,
        pooled: bool,
    ) -> std::io::Result<()> {
        forward.out_at = 0;
        forward.body_at = forward.body_at.map(|_| 0);
        forward.deaf = false;
        forward.input.clear();
        let address = forward.group.peers[forward.peer].address.clone();
        let bind = self.bind(exchange);
        while let Some(idle) = pooled
            .then(|| core.pool.take(forward.group.id, &address, &bind))
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
        forward.connection = Some(core.connect(&address, bind.as_ref(), self.index)?);
        Ok(())
    }

    /// An answer's head, or its last byte, is here: what it took, and whose session it is.
    pub fn note_answer(&self, core: &Core, exchange: &Exchange, forward: &mut Forward, head: bool) {
        let Some(last) = exchange.tries.last() else {
            return;
        };
        let since = |at_ms: u64| at_ms.saturating_sub(last.started_ms);
        let header_ms = since(last.header_ms.unwrap_or(core.now_ms));
        let group = &forward.group;
        if head {
            if let Some(lease) = &mut forward.lease {
                group.head_came(lease, header_ms, core.now_ms);
            }
        } else if forward.lease.is_some() {
            group.measured(forward.peer, header_ms, since(core.now_ms));
        }
        let sticky = group
            .sticky
            .as_ref()
            .filter(|sticky| sticky.learns_at(head));
        if let (Some(sticky), Some(snapshot)) = (sticky, &exchange.snapshot) {
            let context = exchange.context(self, snapshot, &group.name);
            let id = &group.peers[forward.peer].id;
            sticky.learn(&forward.session, id, &context, core.now_ms);
        }
    }

    /// The cookie that makes the client stick to its peer.
    pub fn sticky_cookie(
        &self,
        exchange: &Exchange,
        forward: &Forward,
        wall_s: u64,
    ) -> Option<Vec<u8>> {
        let sticky = forward.group.sticky.as_ref()?;
        let snapshot = exchange.snapshot.as_ref()?;
        let context = exchange.context(self, snapshot, &forward.group.name);
        sticky.cookie(&forward.group.peers[forward.peer].id, &context, wall_s)
    }

    fn bind(&self, exchange: &Exchange) -> Option<Bind> {
        let template = exchange.options()?.bind.as_ref()?;
        let snapshot = exchange.snapshot.as_ref()?;
        Bind::parse(&template.value(&exchange.context(self, snapshot, "")))
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
        let Some(mut exchange) = self.exchange.take() else {
            return false;
        };
        let mut answered = false;
        if let Some(mut forward) = self.forward.take() {
            answered = forward.answered;
            self.let_go(core, &mut forward, false);
        }
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
        let counts = !matches!(
            fault,
            Fault::Intercepted(_) | Fault::Elsewhere(_) | Fault::Status(403 | 404)
        );
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
        if let Fault::Elsewhere(target) = fault {
            self.go_elsewhere(core, exchange, &target);
            return Step::Again;
        }
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
            Fault::Elsewhere(_) => write!(out, "redirected"),
        }
    }
}

/// A place in a group's queue, given up when dropped.
pub struct Ticket {
    group: Arc<Group>,
    number: u64,
    until_ms: u64,
}

impl Ticket {
    fn take(core: &mut Core, group: &Arc<Group>, until_ms: u64) -> Option<Ticket> {
        let number = core.ticket();
        let taken = group.enqueue(number, &core.wake);
        taken.then(|| Ticket {
            group: group.clone(),
            number,
            until_ms,
        })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.group.dequeue(self.number);
    }
}

/// The peer that is next, unless others wait for one already.
fn pick(core: &Core, forward: &Forward) -> Option<usize> {
    let group = &forward.group;
    if group.queue.is_some() {
        let number = forward.ticket.as_ref().map_or(0, |ticket| ticket.number);
        if group.must_wait(number) {
            return None;
        }
    }
    let sticky = group.sticky.as_ref();
    let id = sticky.map_or_else(Vec::new, |sticky| {
        sticky.peer(&forward.session, core.now_ms)
    });
    group.pick(&forward.tried, core.now_ms, &forward.key, &id)
}

fn note_failure(core: &mut Core, forward: &Forward, cause: &str) {
    if let Change::Down = forward.group.failed(forward.peer, core.now_ms) {
        let peer = &forward.group.peers[forward.peer].name;
        core.shared.event(false, &forward.group.name, peer, cause);
    }
}
