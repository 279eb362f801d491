//! Forwarding one request to a peer and its answer back, as the bytes come.
//!
//! What is sent to the peer is kept while it is small, so that it can be sent to the next one:
//! never once a byte of an answer reached the client, and never POST, LOCK or PATCH once a byte of
//! it was sent.

use crate::attempt::Ticket;
use crate::balance::{Group, Lease};
use crate::conn::{Client, Step, Waiting, ROUNDS};
use crate::core::Core;
use crate::exchange::Exchange;
use crate::filters;
use crate::outgoing::{self, write_headers, write_target};
use crate::pipe::Pipe;
use crate::pool::Connection;
use crate::reply::Reply;
use crate::request::Refusal;
use crate::snapshot::{Location, Proxy, Snapshot, Upstream};
use crate::spool::Body;
use crate::sys;
use std::io::ErrorKind;
use std::sync::Arc;

pub const REPLAY: usize = 64 << 10;

pub struct Forward {
    pub group: Arc<Group>,
    /// What a hash chooses the peer by.
    pub key: Vec<u8>,
    /// What the client says of its session with a peer.
    pub session: Vec<u8>,
    pub ticket: Option<Ticket>,
    pub lease: Option<Lease>,
    /// The client's body does not go to the peer.
    pub discards: bool,
    /// How much of the body that was read before went to the peer; None: there is none.
    pub body_at: Option<u64>,
    /// No other peer is tried after this.
    pub until_ms: u64,
    pub tried: Vec<usize>,
    pub peer: usize,
    pub connection: Option<Connection>,
    pub out: Vec<u8>,
    pub out_at: usize,
    pub replayable: bool,
    /// The peer takes no more, but may have answered already (413, say): listen on.
    pub deaf: bool,
    /// The answer was 101.
    pub tunnel: bool,
    /// Some byte of the request went to a peer.
    pub sent: bool,
    /// A response head that is not whole yet.
    pub input: Vec<u8>,
    pub answered: bool,
    pub reply: Reply,
    pub chunk: bool, // towards the client
    pub reusable: bool,
    pub pipe: Option<Pipe>,
    /// What waits for a slow client: None, nothing does.
    pub waiting_room: Option<filters::Waiting>,
    pub redirect: (Vec<u8>, Vec<u8>),
    /// (bytes per second that the peer is read at, or 0; since when, in ms; read so far)
    pub rate: (u64, u64, u64),
    pub timeouts: [u64; 3], // connect, send, read: ms
}

/// Why a peer did not do it.
pub enum Fault {
    Error(String),
    Timeout(&'static str),
    Invalid(&'static str),
    /// A status upon which the next peer is asked.
    Status(u16),
    /// A status that an error page here answers for.
    Intercepted(u16),
    /// No fault: the peer says where the answer is (X-Accel-Redirect).
    Elsewhere(Vec<u8>),
}

impl Forward {
    /// None: the name of the upstream leads nowhere.
    pub fn new(
        core: &mut Core,
        snapshot: &Arc<Snapshot>,
        exchange: &Exchange,
        client: &Client,
        proxy: &Proxy,
        location: &Location,
    ) -> Option<Forward> {
        let (group, uri) = outgoing::destination(core, snapshot, exchange, client, proxy)?;
        let mut redirect = (Vec::new(), Vec::new());
        if matches!(proxy.upstream, Upstream::Group(_)) && !location.by_regex {
            let base = uri.as_deref().unwrap_or(b"/");
            let own = uri.as_ref().map_or(b"/".as_slice(), |_| &location.path);
            let host = group.name.as_bytes(); // as it is written in proxy_pass
            redirect = ([b"http://", host, base].concat(), own.to_vec());
        }
        let context = exchange.context(client, snapshot, group.host());
        let key = group.method.key(&context);
        let sticky = group.sticky.as_ref();
        let session = sticky.map_or_else(Vec::new, |sticky| sticky.session(&context));
        let body = proxy.options.body.as_ref().map(|body| body.value(&context));
        let mut out = Vec::with_capacity(1024);
        write_target(
            proxy,
            location,
            uri.as_deref(),
            exchange,
            &context,
            &mut out,
        );
        write_headers(
            proxy,
            group.host(),
            exchange,
            &context,
            body.as_deref(),
            &mut out,
        );
        let discards = body.is_some() || !proxy.options.pass_body;
        out.extend_from_slice(&body.unwrap_or_default());
        let goes = exchange.body.whole && !discards && exchange.error.is_none();
        let mut body_at = goes.then_some(0);
        if goes && exchange.body.path().is_none() && exchange.body.length() <= REPLAY as u64 {
            out.extend_from_slice(exchange.body.in_memory());
            body_at = None;
        }
        Some(Forward {
            group,
            key,
            session,
            ticket: None,
            lease: None,
            rate: (proxy.options.limit_rate, core.now_ms, 0),
            discards,
            body_at,
            until_ms: match proxy.options.next.timeout_ms {
                0 => u64::MAX,
                ms => core.now_ms + ms,
            },
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
            waiting_room: Some(proxy.options.waiting.clone()).filter(|room| room.memory > 0),
            redirect,
            timeouts: [
                proxy.connect_timeout_ms,
                proxy.send_timeout_ms,
                proxy.read_timeout_ms,
            ],
        })
    }

    /// Nothing of it is ever sent again, and an idle tunnel holds no memory.
    pub fn become_tunnel(&mut self) {
        self.tunnel = true;
        self.replayable = false;
        self.reply = Reply::UntilClose;
        self.chunk = false;
    }

    /// How many bytes of its answer may be read now.
    pub fn allowance(&self, now_ms: u64) -> usize {
        let (rate, since_ms, read) = self.rate;
        if rate == 0 {
            return usize::MAX;
        }
        let seconds = now_ms.saturating_sub(since_ms) / 1000 + 1;
        (rate * seconds).saturating_sub(read) as usize
    }

    /// When more may be read, if not now.
    fn paced(&self, now_ms: u64) -> Option<u64> {
        let (rate, since_ms, read) = self.rate;
        let waits = rate > 0 && self.allowance(now_ms) == 0;
        waits.then(|| since_ms + (read / rate.max(1)) * 1000 + 1)
    }

    /// What of the body that was read before is still to go to the peer.
    pub fn body_left(&self, body: &Body) -> u64 {
        self.body_at.map_or(0, |at| body.length() - at)
    }

    pub fn pending(&self) -> usize {
        self.out.len() - self.out_at
    }

    fn waiting(&self, exchange: &Exchange) -> Waiting {
        let connecting = self
            .connection
            .as_ref()
            .is_some_and(|found| found.connecting);
        if connecting {
            Waiting::Connect(self.timeouts[0])
        } else if self.pending() > 0 || self.body_left(&exchange.body) > 0 {
            Waiting::PeerSend(self.timeouts[1])
        } else if !exchange.incoming.done() && !self.tunnel {
            Waiting::Body
        } else {
            Waiting::PeerRead(self.timeouts[2])
        }
    }

    /// Send of the body that was read before what the peer takes.
    fn send_body(&mut self, exchange: &mut Exchange) -> Result<bool, Fault> {
        let mut moved = false;
        while self.pending() == 0 && self.body_left(&exchange.body) > 0 && !self.deaf {
            let at = self.body_at.unwrap_or(0);
            let Some(connection) = self.connection.as_mut().filter(|found| found.writable) else {
                break;
            };
            match exchange.body.send(&connection.fd, at) {
                Ok(0) => return Err(Fault::Error("the body's file became shorter".into())),
                Ok(count) => {
                    self.body_at = Some(at + count as u64);
                    moved = true;
                    if let Some(last) = exchange.tries.last_mut() {
                        last.sent += count as u64;
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => connection.writable = false,
                    ErrorKind::Interrupted => {}
                    _ if connection.readable => self.deaf = true,
                    _ => return Err(Fault::Error(error.to_string())),
                },
            }
        }
        Ok(moved)
    }

    /// Send what is pending to the peer; whether anything went.
    fn send(&mut self, exchange: &mut Exchange, now_ms: u64) -> Result<bool, Fault> {
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
                    if let Some(last) = exchange.tries.last_mut() {
                        last.connected_ms.get_or_insert(now_ms);
                        last.sent += count as u64;
                    }
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
        moved |= self.send_body(exchange)?;
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
    /// Move bytes both ways until all wait.
    pub fn proceed(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        mut forward: Box<Forward>,
    ) -> Step {
        if forward.ticket.is_some() {
            return self.asks_again(core, exchange, forward);
        }
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
            let result = forward.send(exchange, core.now_ms).and_then(|sent| {
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
            let flushed = self.is_flushed() && !piped;
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
                let waiting = if let (true, Some(at_ms)) = (flushed, forward.paced(core.now_ms)) {
                    Waiting::Until(at_ms)
                } else if flushed {
                    forward.waiting(exchange)
                } else {
                    match self.is_late(core.now_ms) {
                        Some(at_ms) if self.has_room(&forward) => Waiting::Until(at_ms),
                        _ => Waiting::ClientSend,
                    }
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
            let sent = forward.pending() == 0 && forward.body_left(&exchange.body) == 0;
            let whole = exchange.incoming.done() && sent && !forward.deaf;
            let reusable = forward.reusable && whole;
            self.note_answer(core, exchange, &mut forward, false);
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

    pub fn abandon(&mut self, core: &mut Core, mut forward: Box<Forward>) -> Step {
        self.let_go(core, &mut forward, false);
        Step::Close
    }
}
