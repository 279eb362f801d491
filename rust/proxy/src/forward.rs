//! Forwarding one request to a peer and its answer back, as the bytes come.
//!
//! What is sent to the peer is kept while it is small, so that it can be sent to the next one:
//! never once a byte of an answer reached the client, and never POST, LOCK or PATCH once a byte of
//! it was sent.

use crate::balance::{Change, Group};
use crate::chunked::{self, Chunked};
use crate::conn::{Client, Incoming, Phase, Read, Step, Waiting};
use crate::exchange::{escape_uri, Exchange};
use crate::pool::Connection;
use crate::request::{Body, Method, Refusal, Request};
use crate::response::{self, Framing, Passing};
use crate::snapshot::{Action, Proxy, Snapshot};
use crate::sys;
use crate::worker::Core;
use std::io::{ErrorKind, Write};
use std::sync::Arc;

const REPLAY: usize = 64 << 10;
const MOST_HEAD: usize = 64 << 10;

pub struct Forward {
    group: Arc<Group>,
    tried: Vec<usize>,
    peer: usize,
    pub connection: Option<Connection>,
    out: Vec<u8>,
    out_at: usize,
    replayable: bool,
    /// Some byte of the request went to a peer.
    sent: bool,
    /// A response head that is not whole yet.
    input: Vec<u8>,
    answered: bool,
    reply: Reply,
    chunk: bool, // towards the client
    reusable: bool,
    redirect: (Vec<u8>, Vec<u8>),
    timeouts: [u64; 3], // connect, send, read: ms
}

enum Reply {
    Head,
    Length(u64),
    Chunked(Chunked),
    UntilClose,
    Done,
}

/// Why a peer did not do it.
enum Fault {
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
            sent: false,
            input: Vec::new(),
            answered: false,
            reply: Reply::Head,
            chunk: false,
            reusable: false,
            redirect: (redirect, own.to_vec()),
            timeouts: [
                proxy.connect_timeout_ms,
                proxy.send_timeout_ms,
                proxy.read_timeout_ms,
            ],
        }
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
        } else if !exchange.incoming.done() {
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
        while self.out_at < self.out.len() && connection.writable {
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
                    _ => return Err(Fault::Error(error.to_string())),
                },
            }
        }
        if self.out_at == self.out.len() && self.out.len() > REPLAY {
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
        loop {
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
            let flushed = self.out_at == self.out.len();
            if matches!(forward.reply, Reply::Done) {
                self.forward = Some(forward);
                return self.reply_done(core, exchange, flushed);
            }
            self.progress |= moved;
            if !moved {
                let waiting = if flushed {
                    forward.waiting(exchange)
                } else {
                    Waiting::ClientSend
                };
                self.forward = Some(forward);
                return Step::Wait(waiting);
            }
        }
    }

    fn reply_done(&mut self, core: &mut Core, exchange: &mut Exchange, flushed: bool) -> Step {
        if let Some(mut forward) = self.forward.take() {
            let reusable = forward.reusable && exchange.incoming.done() && forward.pending() == 0;
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

    /// Read once from the peer and pass it on, if the client keeps up.
    fn take_reply(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        forward: &mut Forward,
    ) -> Result<bool, Fault> {
        if !self.flush() || matches!(forward.reply, Reply::Done) {
            return Ok(false);
        }
        let Some(connection) = &mut forward.connection else {
            return Ok(false);
        };
        if !connection.readable {
            return Ok(false);
        }
        let mut scratch = std::mem::take(&mut core.scratch);
        let result = match sys::recv(&connection.fd, &mut scratch) {
            Ok(0) => peer_ended(forward),
            Ok(count) => {
                connection.readable = count == scratch.len() || connection.ended;
                self.pass(core, exchange, forward, &scratch[..count])
                    .map(|()| true)
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => {
                    connection.readable = false;
                    Ok(false)
                }
                ErrorKind::Interrupted => Ok(true),
                _ => Err(Fault::Error(error.to_string())),
            },
        };
        core.scratch = scratch;
        if matches!(forward.reply, Reply::Done) {
            if forward.chunk {
                self.out.extend_from_slice(chunked::END);
            }
            self.flush();
        }
        result
    }

    fn pass(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        forward: &mut Forward,
        data: &[u8],
    ) -> Result<(), Fault> {
        if !matches!(forward.reply, Reply::Head) {
            return self.pass_body(exchange, forward, data);
        }
        if forward.input.is_empty() {
            return self.pass_head(core, exchange, forward, data);
        }
        let mut input = std::mem::take(&mut forward.input);
        input.extend_from_slice(data);
        self.pass_head(core, exchange, forward, &input)
    }

    /// `data` is all that came since the request; what is no whole head yet is kept.
    fn pass_head(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        forward: &mut Forward,
        mut data: &[u8],
    ) -> Result<(), Fault> {
        if self.out.capacity() == 0 {
            self.out = core.buffer();
        }
        let to_head = exchange.request.method == Method::Head;
        let passing = Passing {
            date: &core.date,
            redirect: (&forward.redirect.0, &forward.redirect.1),
        };
        let head = loop {
            let read = response::pass_head(data, to_head, &passing, &mut self.out);
            match read.map_err(|bad| Fault::Invalid(bad.0))? {
                Some(head) if head.status < 200 => data = &data[head.length..],
                Some(head) => break head,
                None if data.len() > MOST_HEAD => return Err(Fault::Invalid("head too long")),
                None => {
                    forward.input = data.to_vec();
                    return Ok(());
                }
            }
        };
        exchange.status = head.status;
        if let Some((_, answer)) = exchange.error.filter(|error| error.1 != 0) {
            exchange.status = answer;
        }
        forward.answered = true;
        forward.reusable = head.reusable;
        exchange.keep &= exchange.incoming.done();
        self.frame(exchange, forward, head.framing, to_head, head.status);
        if let Change::Up = forward.group.succeeded(forward.peer) {
            let peer = &forward.group.peers[forward.peer].name;
            core.shared.event(
                true,
                &forward.group.name,
                peer,
                "a request to it was answered",
            );
        }
        self.pass_body(exchange, forward, &data[head.length..])
    }

    /// How the client will know the end of the body.
    fn frame(
        &mut self,
        exchange: &mut Exchange,
        forward: &mut Forward,
        framing: Framing,
        to_head: bool,
        status: u16,
    ) {
        let minor = exchange.request.minor;
        let streamed = |reply| (reply, minor == 1, minor == 1);
        let (reply, chunk, keep) = match framing {
            Framing::None => (Reply::Done, false, true),
            Framing::Length(length) => {
                response::header_shown(&mut self.out, "Content-Length", length);
                (Reply::Length(length), false, true)
            }
            Framing::Chunked => streamed(Reply::Chunked(Chunked::default())),
            Framing::UntilClose => streamed(Reply::UntilClose),
        };
        if matches!(reply, Reply::Done) && !to_head && !response::is_bodiless(status) {
            response::header(&mut self.out, b"Content-Length", b"0");
        }
        if chunk {
            response::header(&mut self.out, b"Transfer-Encoding", b"chunked");
        }
        exchange.keep &= keep;
        response::end(&mut self.out, minor, exchange.keep);
        forward.reply = reply;
        forward.chunk = chunk;
    }

    fn pass_body(
        &mut self,
        exchange: &mut Exchange,
        forward: &mut Forward,
        data: &[u8],
    ) -> Result<(), Fault> {
        let before = self.out.len();
        let used = match &mut forward.reply {
            Reply::Head | Reply::Done => 0,
            Reply::Length(left) => {
                let used = (*left).min(data.len() as u64) as usize;
                *left -= used as u64;
                exchange.body_bytes += used as u64;
                if *left == 0 {
                    forward.reply = Reply::Done;
                }
                self.send_through(&data[..used]);
                used
            }
            Reply::UntilClose if !forward.chunk => {
                exchange.body_bytes += data.len() as u64;
                self.send_through(data);
                data.len()
            }
            Reply::UntilClose => {
                chunked::encode(&mut self.out, data);
                exchange.body_bytes += (self.out.len() - before) as u64;
                self.flush();
                data.len()
            }
            Reply::Chunked(decoder) => {
                let (out, chunk) = (&mut self.out, forward.chunk);
                let used = decoder.decode(data, |payload| {
                    if chunk {
                        chunked::encode(out, payload);
                    } else {
                        out.extend_from_slice(payload);
                    }
                });
                let used = used.map_err(|bad| Fault::Invalid(bad.0))?;
                exchange.body_bytes += (self.out.len() - before) as u64;
                if decoder.done() {
                    forward.reply = Reply::Done;
                } else {
                    self.flush();
                }
                used
            }
        };
        // Bytes nobody asked for: such a connection serves nobody again.
        forward.reusable &= used == data.len();
        Ok(())
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

fn peer_ended(forward: &mut Forward) -> Result<bool, Fault> {
    if let Reply::UntilClose = forward.reply {
        forward.reply = Reply::Done;
        return Ok(true);
    }
    let why = if forward.answered {
        "closed in the middle of its answer"
    } else {
        "closed without an answer"
    };
    Err(Fault::Error(why.into()))
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

fn write_target(proxy: &Proxy, path: &[u8], exchange: &Exchange, uri: &[u8], out: &mut Vec<u8>) {
    let request = &exchange.request;
    let method = match exchange.error {
        Some(_) if request.method != Method::Head => b"GET",
        _ => request.at(&request.method_name),
    };
    out.extend_from_slice(method);
    out.push(b' ');
    if proxy.uri.is_none() && exchange.error.is_none() {
        out.extend_from_slice(request.at(&request.target));
    } else {
        let (base, rest) = match &proxy.uri {
            Some(base) => (base.as_slice(), uri.strip_prefix(path).unwrap_or(uri)),
            None => (b"".as_slice(), uri),
        };
        out.extend_from_slice(base);
        escape_uri(rest, out);
        if let Some(args) = &request.args {
            out.push(b'?');
            out.extend_from_slice(request.at(args));
        }
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

fn write_headers(
    proxy: &Proxy,
    proxy_host: &str,
    snapshot: &Snapshot,
    exchange: &Exchange,
    client: &Client,
    out: &mut Vec<u8>,
) {
    let request = &exchange.request;
    if !proxy.sets_host {
        response::header(out, b"Host", proxy_host.as_bytes());
    }
    let context = exchange.context(client, snapshot, proxy_host);
    for (name, value) in &proxy.set_headers {
        let line = out.len();
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        let start = out.len();
        value.write(&context, out);
        if out.len() == start || is_framing(name) {
            out.truncate(line); // an empty value removes the header
        } else {
            out.extend_from_slice(b"\r\n");
        }
    }
    for header in &request.headers {
        let name = request.at(&header.name);
        if passes(proxy, request, name) {
            response::header(out, name, request.at(&header.value));
        }
    }
    match request.body {
        _ if exchange.error.is_some() => {}
        Body::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Body::Length(length) => {
            let _ = write!(out, "Content-Length: {length}\r\n");
        }
        Body::None if request.method == Method::Once => {
            out.extend_from_slice(b"Content-Length: 0\r\n");
        }
        Body::None => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// What the body's framing needs is ours alone to write.
fn is_framing(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
}

/// Whether a client's header goes to the peer.
fn passes(proxy: &Proxy, request: &Request, name: &[u8]) -> bool {
    let ends_here = match name.len() {
        2 => name.eq_ignore_ascii_case(b"te"),
        4 => name.eq_ignore_ascii_case(b"host"),
        6 => name.eq_ignore_ascii_case(b"expect"),
        7 => name.eq_ignore_ascii_case(b"upgrade") || name.eq_ignore_ascii_case(b"trailer"),
        10 => name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"keep-alive"),
        14 | 17 => is_framing(name),
        16 => name.eq_ignore_ascii_case(b"proxy-connection"),
        _ => false,
    };
    // A backend may read X_Real_IP as X-Real-IP: names with underscores are dropped, as in nginx.
    let odd = name
        .iter()
        .any(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-');
    let replaced = || {
        proxy
            .set_headers
            .iter()
            .any(|set| set.0.eq_ignore_ascii_case(name))
    };
    !ends_here && !odd && !replaced() && !request.ends_here(name)
}
