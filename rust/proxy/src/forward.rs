//! Forwarding one request to a peer and its answer back, as the bytes come.
//!
//! What is sent to the peer is kept while it is small, so that it can be sent to the next one:
//! never once a byte of an answer reached the client, and never POST, LOCK or PATCH once a byte of
//! it was sent.

use crate::balance::{Change, Group};
use crate::chunked;
use crate::conn::{Client, Incoming, Phase, Read, Step, Waiting, ROUNDS};
use crate::core::Core;
use crate::exchange::Exchange;
use crate::outgoing::{write_headers, write_target};
use crate::pipe::Pipe;
use crate::pool::Connection;
use crate::reply::Reply;
use crate::request::{Body, Method, Refusal};
use crate::snapshot::{Action, Snapshot};
use crate::sys;
use std::io::ErrorKind;
use std::sync::Arc;

const REPLAY: usize = 64 << 10;

pub struct Forward {
    pub group: Arc<Group>,
    tried: Vec<usize>,
    pub peer: usize,
    pub connection: Option<Connection>,
    out: Vec<u8>,
    out_at: usize,
    replayable: bool,
    /// The peer takes no more, but may have answered already (413, say): listen on.
    deaf: bool,
    /// The answer was 101.
    tunnel: bool,
    /// Some byte of the request went to a peer.
    sent: bool,
    /// A response head that is not whole yet.
    pub input: Vec<u8>,
    pub answered: bool,
    pub reply: Reply,
    pub chunk: bool, // towards the client
    pub reusable: bool,
    pub pipe: Option<Pipe>,
    pub redirect: (Vec<u8>, Vec<u8>),
    timeouts: [u64; 3], // connect, send, read: ms
}

/// Why a peer did not do it.
pub enum Fault {
    Error(String),
    Timeout(&'static str),
    Invalid(&'static str),
}

impl Forward {
    pub fn new(snapshot: &Snapshot, exchange: &Exchange, client: &Client, uri: &[u8]) -> Forward {
        let index = exchange.location.unwrap_or(0);
        let location = &snapshot.servers[exchange.server].locations[index];
        let Action::Proxy(proxy) = &location.action else {
            unreachable!("only a proxy location is forwarded")
        };
        let group = snapshot.groups[proxy.group].clone();
        let base = proxy.uri.as_deref().unwrap_or(b"/");
        let own = proxy
            .uri
            .as_ref()
            .map_or(b"/".as_slice(), |_| &location.path);
        let redirect = [b"http://", group.name.as_bytes(), base].concat();
        let mut out = Vec::with_capacity(1024);
        write_target(proxy, &location.path, exchange, uri, &mut out);
        write_headers(proxy, &group.name, snapshot, exchange, client, &mut out);
        Forward {
            group,
            tried: Vec::new(),
            peer: 0,
            connection: None,
            out,
            out_at: 0,
            replayable: true,
            deaf: false,
            tunnel: false,
            sent: false,
            input: Vec::new(),
            answered: false,
            reply: Reply::Head,
            chunk: false,
            reusable: false,
            pipe: None,
            redirect: (redirect, own.to_vec()),
            timeouts: [
                proxy.connect_timeout_ms,
                proxy.send_timeout_ms,
                proxy.read_timeout_ms,
            ],
        }
    }

    /// Nothing of it is ever sent again, and an idle tunnel holds no memory.
    pub fn become_tunnel(&mut self) {
        self.tunnel = true;
        self.replayable = false;
        self.reply = Reply::UntilClose;
        self.chunk = false;
    }

    fn pending(&self) -> usize {
        self.out.len() - self.out_at
    }

    fn waiting(&self, exchange: &Exchange) -> Waiting {
        let connecting = self
            .connection
            .as_ref()
            .is_some_and(|found| found.connecting);
        if connecting {
            Waiting::Connect(self.timeouts[0])
        } else if self.pending() > 0 {
            Waiting::PeerSend(self.timeouts[1])
        } else if !exchange.incoming.done() && !self.tunnel {
            Waiting::Body
        } else {
            Waiting::PeerRead(self.timeouts[2])
        }
    }

    /// Send what is pending to the peer; whether anything went.
    fn send(&mut self) -> Result<bool, Fault> {
        let Some(connection) = &mut self.connection else {
            return Ok(false);
        };
        let mut moved = false;
        while self.out_at < self.out.len() && connection.writable && !self.deaf {
            match sys::send(&connection.fd, &self.out[self.out_at..], false) {
                Ok(count) => {
                    self.out_at += count;
                    self.sent = true;
                    connection.connecting = false;
                    moved = true;
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => connection.writable = false,
                    ErrorKind::Interrupted => {}
                    _ if connection.readable && !connection.connecting => self.deaf = true,
                    _ => return Err(Fault::Error(error.to_string())),
                },
            }
        }
        if self.tunnel && self.pending() == 0 {
            self.out = Vec::new();
            self.out_at = 0;
        } else if self.out_at == self.out.len() && self.out.len() > REPLAY {
            self.replayable = false;
            self.out.clear();
            self.out_at = 0;
        } else if self.out_at > REPLAY {
            self.replayable = false;
            self.out.drain(..self.out_at);
            self.out_at = 0;
        }
        Ok(moved)
    }
}

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
        while let Some(peer) = forward.group.pick(&forward.tried, core.now_ms) {
            forward.peer = peer;
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

    /// Move bytes both ways until all wait.
    pub fn proceed(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        mut forward: Box<Forward>,
    ) -> Step {
        if self.ended && exchange.incoming.done() && !forward.answered {
            return self.abandon(core, forward); // the client left: do not bother the peer (499)
        }
        for _ in 0..ROUNDS {
            let mut moved = match self.take_body(core, exchange, &mut forward) {
                Ok(moved) => moved,
                Err(Refusal(0, _)) => return self.abandon(core, forward),
                Err(Refusal(status, _)) => {
                    if forward.answered {
                        return self.abandon(core, forward);
                    }
                    self.let_go(core, &mut forward, false);
                    exchange.keep = false;
                    self.fail(core, exchange, status);
                    return Step::Again;
                }
            };
            let result = forward.send().and_then(|sent| {
                moved |= sent;
                self.take_reply(core, exchange, &mut forward)
            });
            match result {
                Err(fault) => return self.peer_failed(core, exchange, forward, fault),
                Ok(more) => moved |= more,
            }
            if self.broken {
                return self.abandon(core, forward);
            }
            let piped = forward.pipe.as_ref().is_some_and(|pipe| pipe.held() > 0);
            let flushed = self.out_at == self.out.len() && !piped;
            if matches!(forward.reply, Reply::Done) {
                self.forward = Some(forward);
                return self.reply_done(core, exchange, flushed);
            }
            if forward.tunnel && exchange.incoming.done() && forward.pending() == 0 {
                return self.abandon(core, forward); // the client ended it, and the peer has all
            }
            self.progress |= moved;
            if !moved {
                if forward.tunnel && flushed {
                    core.give_back(std::mem::take(&mut self.out));
                    core.give_back(std::mem::take(&mut self.buffer));
                }
                let waiting = if flushed {
                    forward.waiting(exchange)
                } else {
                    Waiting::ClientSend
                };
                self.forward = Some(forward);
                return Step::Wait(waiting);
            }
        }
        self.forward = Some(forward);
        Step::Yield
    }

    fn reply_done(&mut self, core: &mut Core, exchange: &mut Exchange, flushed: bool) -> Step {
        if let Some(mut forward) = self.forward.take() {
            let whole = exchange.incoming.done() && forward.pending() == 0 && !forward.deaf;
            let reusable = forward.reusable && whole;
            self.let_go(core, &mut forward, reusable);
            self.forward = Some(forward);
        }
        if !flushed {
            return Step::Wait(Waiting::ClientSend);
        }
        self.forward = None;
        exchange.keep &= exchange.incoming.done();
        self.finish(core, exchange)
    }

    fn abandon(&mut self, core: &mut Core, mut forward: Box<Forward>) -> Step {
        self.let_go(core, &mut forward, false);
        Step::Close
    }

    /// Part with the peer's connection: into the pool if it may serve again.
    pub fn let_go(&mut self, core: &mut Core, forward: &mut Forward, reusable: bool) {
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

    /// Take body bytes from the client while the peer keeps up. Err with status 0: client left.
    fn take_body(
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

    fn peer_failed(
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
        if !stale {
            note_failure(core, &forward, &fault.to_string());
        }
        self.let_go(core, &mut forward, false);
        if forward.answered {
            return Step::Close; // the client sees a truncated answer, never a second one
        }
        self.out.clear(); // a 100 Continue at most, or nothing
        self.out_at = 0;
        let status = if matches!(fault, Fault::Timeout(_)) {
            504
        } else {
            502
        };
        let again = !matches!(fault, Fault::Invalid(_))
            && forward.replayable
            && (!forward.sent || exchange.request.method != Method::Once);
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
        }
    }
}

fn note_failure(core: &mut Core, forward: &Forward, cause: &str) {
    if let Change::Down = forward.group.failed(forward.peer, core.now_ms) {
        let peer = &forward.group.peers[forward.peer].name;
        core.shared.event(false, &forward.group.name, peer, cause);
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
    let used = exchange.incoming.feed(input, |payload| {
        if chunked {
            chunked::encode(out, payload);
        } else {
            out.extend_from_slice(payload);
        }
    })?;
    if chunked && matches!(exchange.incoming, Incoming::Done) {
        out.extend_from_slice(chunked::END);
    }
    exchange.received += (forward.out.len() - before) as u64;
    let most = exchange
        .snapshot
        .as_ref()
        .map_or(0, |snapshot| snapshot.limits.body_size);
    if most > 0 && chunked && exchange.received > most {
        return Err(Refusal(413, "body too long"));
    }
    Ok(used)
}
