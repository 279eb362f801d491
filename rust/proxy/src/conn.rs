//! One client connection: read a head, serve it, again; or linger and close.
//!
//! ```text
//!     Head --whole head--> Serving --answered, kept--> Head
//!                             \--answered, not kept--> Linger --> closed
//! ```
//!
//! `drive` goes on until it would have to wait. What it waits for decides the time limit.

use crate::chunked::Chunked;
use crate::core::Core;
use crate::exchange::{Answer, Exchange};
use crate::forward::Forward;
use crate::inner::Inner;
use crate::proxied::{self, Proxied};
use crate::request::{Body, Refusal};
use crate::snapshot::Location;
use crate::spool::Overflow;
use crate::status::At;
use crate::sys;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

const LINGER_MS: u64 = 5_000;
/// How often one connection may move bytes before the others get their turn.
pub const ROUNDS: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Head,
    Serving,
    Linger,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Waiting {
    Idle,
    Head,
    Body,
    ClientSend,
    Connect(u64),
    PeerSend(u64),
    PeerRead(u64),
    /// limit_req holds the request back.
    Delay(u64),
    /// limit_rate holds the answer back.
    Rate(u64),
    /// For a free peer, or for the peer's rate: until this moment at the latest.
    Until(u64),
    Linger,
}

pub enum Step {
    Again,
    Wait(Waiting),
    /// There is more to do, after the others had their turn.
    Yield,
    Close,
}

pub struct Client {
    pub fd: OwnedFd,
    pub index: u32,
    pub address: SocketAddr,
    pub local: SocketAddr,
    pub readable: bool,
    pub writable: bool,
    /// The client will send no more.
    pub ended: bool,
    pub broken: bool,
    /// Input not consumed yet; no memory while idle.
    pub buffer: Vec<u8>,
    pub out: Vec<u8>,
    pub out_at: usize,
    /// What comes behind `out`, and does not fit into memory.
    pub overflow: Option<Overflow>,
    /// Since when it takes not all that is there for it.
    pub slow_ms: Option<u64>,
    pub phase: Phase,
    pub waiting: Waiting,
    pub deadline_ms: u64,
    /// Bytes moved since the last wait: the time limit starts anew.
    pub progress: bool,
    pub served: u64,
    /// Its number among all connections.
    pub serial: u64,
    /// When it was accepted.
    pub since_ms: u64,
    /// limit_rate: bytes per second (0 is without limit), whether `set` said so, after how many,
    /// since when, how many went; and how long nothing may go.
    pub rate: u64,
    pub rate_set: bool,
    pub rate_after: u64,
    pub rate_from_ms: u64,
    pub rate_sent: u64,
    pub pause_ms: u64,
    /// What the worker's gauge counts it as.
    pub at: At,
    /// How long it may be idle: the word of the server that answered last.
    pub keepalive_ms: u64,
    pub exchange: Option<Box<Exchange>>,
    pub forward: Option<Box<Forward>>,
    /// There is no connection: the request comes from another one.
    pub inner: Option<Box<Inner>>,
    /// A PROXY header comes first; and what it said.
    pub expects_proxy: bool,
    pub proxied: Option<Box<Proxied>>,
}

/// What is still to come of a request's body.
#[derive(Default)]
pub enum Incoming {
    #[default]
    Done,
    Length(u64),
    Chunked(Chunked),
    /// Another protocol, until one side ends it.
    Tunnel,
}

impl Incoming {
    pub fn new(body: Body) -> Incoming {
        match body {
            Body::None => Incoming::Done,
            Body::Length(length) => Incoming::Length(length),
            Body::Chunked => Incoming::Chunked(Chunked::default()),
        }
    }

    pub fn done(&self) -> bool {
        matches!(self, Incoming::Done)
    }

    /// Consume body bytes from `input`: how many. Payload goes to `sink`.
    pub fn feed(&mut self, input: &[u8], mut sink: impl FnMut(&[u8])) -> Result<usize, Refusal> {
        let used = match self {
            Incoming::Done => return Ok(0),
            Incoming::Tunnel => {
                sink(input);
                return Ok(input.len());
            }
            Incoming::Length(left) => {
                let used = (*left).min(input.len() as u64) as usize;
                sink(&input[..used]);
                *left -= used as u64;
                if *left > 0 {
                    return Ok(used);
                }
                used
            }
            Incoming::Chunked(chunked) => {
                let used = chunked
                    .decode(input, sink)
                    .map_err(|bad| Refusal(400, bad.0))?;
                if !chunked.done() {
                    return Ok(used);
                }
                used
            }
        };
        *self = Incoming::Done;
        Ok(used)
    }
}

pub enum Read {
    Data(usize),
    Later,
    End,
}

impl Client {
    pub fn new(fd: OwnedFd, index: u32, address: SocketAddr, local: SocketAddr) -> Client {
        Client {
            fd,
            index,
            address,
            local,
            readable: true,
            writable: true,
            ended: false,
            broken: false,
            buffer: Vec::new(),
            out: Vec::new(),
            out_at: 0,
            overflow: None,
            slow_ms: None,
            phase: Phase::Head,
            waiting: Waiting::Idle,
            deadline_ms: 0,
            progress: true,
            served: 0,
            serial: 0,
            since_ms: 0,
            rate: 0,
            rate_set: false,
            rate_after: 0,
            rate_from_ms: 0,
            rate_sent: 0,
            pause_ms: 0,
            at: At::Waiting,
            keepalive_ms: 0,
            exchange: None,
            forward: None,
            inner: None,
            expects_proxy: false,
            proxied: None,
        }
    }

    /// Do all that can be done now. False: the connection is over.
    pub fn drive(&mut self, core: &mut Core) -> bool {
        for _ in 0..4 * ROUNDS {
            let step = match self.phase {
                _ if self.broken => Step::Close,
                Phase::Head => self.on_head(core),
                Phase::Serving => self.on_serving(core),
                Phase::Linger => self.on_linger(core),
            };
            match step {
                Step::Again => {}
                Step::Yield => break,
                Step::Close => return false,
                Step::Wait(waiting) => {
                    self.wait(core, waiting);
                    return true;
                }
            }
        }
        let meanwhile = match self.phase {
            Phase::Head => Waiting::Idle,
            Phase::Serving => Waiting::ClientSend,
            Phase::Linger => Waiting::Linger,
        };
        self.wait(core, meanwhile);
        core.again.push(self.index);
        true
    }

    pub fn count_as(&mut self, core: &Core, at: At) {
        if self.at != at {
            core.shared.gauges[core.worker].moved(self.at, at);
            self.at = at;
        }
    }

    fn wait(&mut self, core: &mut Core, waiting: Waiting) {
        let at = match waiting {
            Waiting::Idle => At::Waiting,
            Waiting::Head => At::Reading,
            _ => At::Writing,
        };
        self.count_as(core, at);
        // A head must be whole in time however its bytes trickle in; so must lingering end.
        let waiting = match waiting {
            Waiting::ClientSend | Waiting::PeerRead(_) if self.pause_ms > 0 => {
                Waiting::Rate(self.pause_ms)
            }
            other => other,
        };
        let fixed = matches!(waiting, Waiting::Head | Waiting::Linger | Waiting::Delay(_));
        let anew = matches!(waiting, Waiting::Rate(_));
        if self.waiting != waiting || anew || self.progress && !fixed {
            self.deadline_ms = core.now_ms + self.limit(core, waiting);
        }
        self.waiting = waiting;
        self.progress = false;
        core.wheel.set(self.index, self.deadline_ms);
    }

    fn limit(&self, core: &Core, waiting: Waiting) -> u64 {
        let limits = core.snapshot.limits_of(&self.local);
        match waiting {
            Waiting::Idle if core.stopping => core.idle_grace_ms,
            Waiting::Idle if self.served == 0 => limits.header_timeout_ms,
            Waiting::Idle => self.keepalive_ms,
            Waiting::Head => limits.header_timeout_ms,
            Waiting::Body => self.own_limit(|own| own.body_timeout_ms, limits.body_timeout_ms),
            Waiting::ClientSend => {
                self.own_limit(|own| own.send_timeout_ms, limits.send_timeout_ms)
            }
            Waiting::Connect(ms) | Waiting::PeerSend(ms) => ms,
            Waiting::PeerRead(ms) | Waiting::Delay(ms) | Waiting::Rate(ms) => ms,
            Waiting::Until(at_ms) => at_ms.saturating_sub(core.now_ms),
            Waiting::Linger => LINGER_MS,
        }
    }

    /// The location's own limit, or the usual one.
    fn own_limit(&self, of: impl Fn(&Location) -> Option<u64>, usual: u64) -> u64 {
        let exchange = self.exchange.as_deref();
        let own = exchange.and_then(|exchange| {
            let snapshot = exchange.snapshot.as_deref()?;
            of(exchange.location_of(snapshot)?)
        });
        own.unwrap_or(usual)
    }

    /// The time is up. False: the connection is over.
    pub fn timed_out(&mut self, core: &mut Core) -> bool {
        match self.waiting {
            Waiting::Idle | Waiting::ClientSend | Waiting::Linger => false,
            Waiting::Head => {
                self.refuse(core, Refusal(408, "head not whole in time"));
                self.drive(core)
            }
            Waiting::Rate(_) => self.drive(core),
            Waiting::Delay(_) => self.resumed(core) && self.drive(core),
            Waiting::Until(_) => self.drive(core),
            Waiting::Body => self.body_timed_out(core) && self.drive(core),
            Waiting::Connect(_) | Waiting::PeerSend(_) | Waiting::PeerRead(_) => {
                self.peer_timed_out(core) && self.drive(core)
            }
        }
    }

    fn resumed(&mut self, core: &mut Core) -> bool {
        let Some(mut exchange) = self.exchange.take() else {
            return false;
        };
        self.resume(core, &mut exchange);
        self.exchange = Some(exchange);
        true
    }

    fn on_head(&mut self, core: &mut Core) -> Step {
        let mut pipelined = !self.buffer.is_empty() && self.served > 0;
        loop {
            if self.expects_proxy && !self.buffer.is_empty() {
                match proxied::parse(&self.buffer) {
                    Ok(Some((length, found))) => {
                        self.buffer.drain(..length);
                        self.proxied = found.map(Box::new);
                        self.expects_proxy = false;
                        continue;
                    }
                    Ok(None) => {}
                    Err(_) => return Step::Close,
                }
            } else if !self.buffer.is_empty() {
                let mut exchange = core.exchange();
                match exchange
                    .request
                    .parse(&self.buffer, core.snapshot.limits_of(&self.local))
                {
                    Ok(Some(length)) => {
                        exchange.pipelined = pipelined;
                        self.buffer.drain(..length);
                        return self.begin(core, exchange);
                    }
                    Ok(None) => core.give_back_exchange(exchange),
                    Err(refusal) => {
                        core.give_back_exchange(exchange);
                        self.refuse(core, refusal);
                        return Step::Again;
                    }
                }
            }
            if self.readable {
                match self.read_more(core) {
                    Read::Data(_) => {
                        pipelined = false;
                        continue;
                    }
                    Read::End => return Step::Close,
                    Read::Later => {}
                }
            }
            if self.buffer.is_empty() {
                core.give_back(std::mem::take(&mut self.buffer));
                core.give_back(std::mem::take(&mut self.out));
                return Step::Wait(Waiting::Idle);
            }
            return Step::Wait(Waiting::Head);
        }
    }

    /// Read once into the buffer, which grows when it is full (the parser bounds it).
    fn read_more(&mut self, core: &mut Core) -> Read {
        if self.buffer.capacity() == 0 {
            self.buffer = core.buffer();
        }
        if self.buffer.len() == self.buffer.capacity() {
            self.buffer.reserve(16 << 10);
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let result = sys::recv_spare(&self.fd, &mut self.buffer);
        self.note_read(result, room)
    }

    /// Read once into `scratch`.
    pub fn read_into(&mut self, scratch: &mut [u8]) -> Read {
        let result = sys::recv(&self.fd, scratch);
        self.note_read(result, scratch.len())
    }

    fn note_read(&mut self, result: std::io::Result<usize>, room: usize) -> Read {
        match result {
            Ok(0) => Read::End,
            Ok(count) => {
                // Less than there was room for: nothing is left, unless the end is.
                self.readable = count == room || self.ended;
                self.progress = true;
                Read::Data(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Read::Later
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Read::Later,
            Err(_) => Read::End,
        }
    }

    fn on_serving(&mut self, core: &mut Core) -> Step {
        let reads_on = self
            .forward
            .as_ref()
            .is_some_and(|it| it.waiting_room.is_some());
        if !self.flush() && (self.broken || !reads_on) {
            return self.after_flush();
        }
        let Some(mut exchange) = self.exchange.take() else {
            return Step::Close;
        };
        let step = match exchange.answer {
            Answer::Forward => match self.forward.take() {
                Some(forward) => self.proceed(core, &mut exchange, forward),
                None => Step::Close,
            },
            Answer::Inner if self.ended => Step::Close,
            Answer::Inner => Step::Wait(Waiting::Until(u64::MAX)),
            Answer::Body => self.read_body(core, &mut exchange),
            Answer::Memory => self.finish(core, &mut exchange),
            Answer::Delay(_) if self.ended => Step::Close,
            Answer::Delay(ms) => Step::Wait(Waiting::Delay(ms)),
            Answer::File { .. } => self.send_file(core, &mut exchange),
        };
        let done = self.phase != Phase::Serving || matches!(step, Step::Close);
        if done {
            self.account(core, &mut exchange);
            core.give_back_exchange(exchange);
        } else {
            self.exchange = Some(exchange);
        }
        step
    }

    pub fn after_flush(&self) -> Step {
        if self.broken {
            return Step::Close;
        }
        Step::Wait(Waiting::ClientSend)
    }

    fn send_file(&mut self, core: &mut Core, exchange: &mut Exchange) -> Step {
        for _ in 0..ROUNDS {
            let most = self.allowance();
            let Answer::File { fd, offset, left } = &mut exchange.answer else {
                return Step::Close;
            };
            if self.inner.is_some() {
                *left = 0;
                exchange.parts.clear();
            }
            if *left == 0 {
                if let Some((head, from, count)) = exchange.parts.pop_front() {
                    (*offset, *left) = (from, count);
                    self.out.extend_from_slice(&head);
                } else if exchange.chunked_end || !exchange.tail.is_empty() {
                    self.out.append(&mut exchange.tail);
                    if std::mem::take(&mut exchange.chunked_end) {
                        self.out.extend_from_slice(b"\r\n");
                        self.end_chunks(exchange);
                    }
                } else {
                    return self.finish(core, exchange);
                }
                if !self.flush() {
                    return self.after_flush();
                }
                continue;
            }
            if !self.writable || most == 0 {
                return Step::Wait(Waiting::ClientSend);
            }
            let result = sys::send_file(&self.fd, fd, offset, (*left).min(most as u64));
            match self.note_sent(result) {
                Some(0) => return Step::Close, // the file became shorter
                Some(count) => {
                    if let Answer::File { left, .. } = &mut exchange.answer {
                        *left -= count as u64;
                    }
                }
                None if self.broken => return Step::Close,
                None => {}
            }
        }
        Step::Yield
    }

    /// The answer is out.
    pub fn finish(&mut self, core: &mut Core, exchange: &mut Exchange) -> Step {
        self.served += 1;
        self.overflow = None;
        if self.inner.is_some() {
            return Step::Close;
        }
        exchange.complete = true;
        (self.rate, self.rate_set, self.pause_ms) = (0, false, 0);
        if exchange.keep {
            self.phase = Phase::Head;
            return Step::Again;
        }
        let unread = exchange.unread
            || !exchange.incoming.done()
            || !self.buffer.is_empty()
            || self.readable;
        core.give_back(std::mem::take(&mut self.buffer));
        self.phase = Phase::Linger;
        if !unread {
            return Step::Close;
        }
        // Closing over unread input makes the kernel send RST, which may destroy the answer.
        sys::shutdown_write(&self.fd);
        Step::Again
    }

    fn on_linger(&mut self, core: &mut Core) -> Step {
        for _ in 0..ROUNDS {
            if !self.readable {
                return Step::Wait(Waiting::Linger);
            }
            match self.read_into(&mut core.scratch) {
                Read::End => return Step::Close,
                Read::Data(_) | Read::Later => {}
            }
        }
        Step::Yield
    }
}
