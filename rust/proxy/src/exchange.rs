//! One request and its answer: routing, local answers, error pages, the log.

use crate::balance::Group;
use crate::conn::{Client, Incoming, Phase, Step};
use crate::core::Core;
use crate::errors::INFO;
use crate::filters;
use crate::limits::Place;
use crate::locations::Matched;
use crate::log::Line;
use crate::manner::Manner;
use crate::request::{Refusal, Request};
use crate::response;
use crate::snapshot::{Action, Location, Snapshot};
use crate::spool;
use crate::status::{self, At};
use crate::vars::{Captures, Context, More, Try};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

#[derive(Default)]
pub enum Answer {
    #[default]
    Memory,
    File {
        fd: OwnedFd,
        offset: u64,
        left: u64,
    },
    Forward,
    /// The request's body is read first.
    Body,
    /// auth_request is asked.
    Inner,
    /// Not before so many ms.
    Delay(u64),
}

#[derive(Default)]
pub struct Exchange {
    pub request: Request,
    pub snapshot: Option<Arc<Snapshot>>,
    pub server: usize,
    pub location: Option<usize>,
    pub incoming: Incoming,
    pub received: u64,
    pub body: spool::Body,
    pub status: u16,
    pub body_bytes: u64,
    pub answer: Answer,
    pub keep: bool,
    /// Body bytes are left that nobody will read.
    pub unread: bool,
    /// Serving an error page: its status, and that no other page follows.
    pub error: Option<(u16, u16)>, // (the failure's own status, the status to answer)
    pub id: u128,
    /// Values of the snapshot's variables.
    pub slots: Vec<Option<Vec<u8>>>,
    pub captures: Captures,
    /// The path is not the one that the client asked for.
    pub rewritten: bool,
    /// It came from within: internal locations are open.
    pub internal: bool,
    pub named: Option<usize>,
    /// The location whose auth_request gave leave.
    pub authorized: Option<usize>,
    pub mirrored: bool,
    pub cycles: u8,
    pub limited: bool,
    pub places: Vec<Place>,
    pub address: Option<SocketAddr>,
    pub challenge: Option<Vec<u8>>,
    pub started_ms: u64,
    pub head_bytes: u64,
    /// The head of the answer, and the peer's, where some variable looks at them.
    pub sent: Vec<u8>,
    pub reply: Vec<u8>,
    pub tries: Vec<Try>,
    pub complete: bool,
    /// Of a file: parts still to come, each behind its text; and what follows all.
    pub parts: VecDeque<(Vec<u8>, u64, u64)>,
    pub tail: Vec<u8>,
    /// The body is one chunk, to be ended by trailers.
    pub chunked_end: bool,
    /// Trailers as they went out, a line each.
    pub trailers: Vec<u8>,
    /// Refused with 401 when its delay is over.
    pub challenged: bool,
    /// An alias of a regular expression, and the path behind it.
    pub alias_uri: bool,
    /// The path is no longer the one that chose the location.
    pub unlocated: bool,
    /// Where a redirect goes whose page is another location's.
    pub target: Option<Vec<u8>>,
    /// Values of map, geo and split_clients, once they were asked for.
    pub mapped: RefCell<Vec<Option<Vec<u8>>>>,
    /// limit_req's and limit_conn's word, for their variables.
    pub rate_verdict: &'static str,
    pub count_verdict: &'static str,
    /// Open connections, and those that read, write, wait.
    pub connections: [u64; 4],
    /// It was here before the request before it was answered.
    pub pipelined: bool,
    /// Header lines of a peer's answer that stay with the answer made in its place, and its type.
    pub kept: Vec<u8>,
    pub kept_type: Option<Vec<u8>>,
    /// Who was asked last, for $proxy_host.
    pub group: Option<Arc<Group>>,
}

impl Exchange {
    pub fn reset(&mut self) {
        let request = std::mem::take(&mut self.request);
        let mut tries = std::mem::take(&mut self.tries);
        tries.clear();
        *self = Exchange {
            request,
            tries,
            ..Exchange::default()
        };
    }

    pub fn location_of<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a Location> {
        snapshot.servers[self.server].locations.get(self.location?)
    }

    pub fn context<'a>(
        &'a self,
        client: &'a Client,
        snapshot: &'a Snapshot,
        proxy_host: &'a str,
    ) -> Context<'a> {
        Context {
            request: &self.request,
            client: self.address.as_ref().unwrap_or(&client.address),
            server: client.local,
            server_name: &snapshot.servers[self.server].name,
            proxy_host: match &self.group {
                Some(group) if proxy_host.is_empty() => group.host(),
                _ => proxy_host,
            },
            request_id: self.id,
            more: More {
                slots: &self.slots,
                captures: Some(&self.captures),
                maps: &snapshot.maps,
                location: self.location_of(snapshot),
                status: self.status,
                body_bytes: self.body_bytes,
                head_bytes: self.head_bytes,
                received: self.received,
                body: Some(&self.body),
                proxied: client.proxied.as_deref(),
                sent: &self.sent,
                reply: &self.reply,
                tries: &self.tries,
                started_ms: self.started_ms,
                connection: client.serial,
                requests: client.served + 1,
                complete: self.complete,
                pipelined: self.pipelined,
                mapped: Some(&self.mapped),
                trailers: &self.trailers,
                rate_verdict: self.rate_verdict,
                count_verdict: self.count_verdict,
                connections: self.connections,
                real: Some(&client.address),
                since_ms: client.since_ms,
                rate: client.rate,
            },
        }
    }
}

impl Exchange {
    /// How the location that it is in forwards.
    pub fn options(&self) -> Option<&filters::Options> {
        let location = self.location_of(self.snapshot.as_deref()?)?;
        match &location.action {
            Action::Proxy(proxy) => Some(&proxy.options),
            _ => None,
        }
    }

    pub fn manner(&self) -> Option<&Manner> {
        let location = self.location_of(self.snapshot.as_deref()?)?;
        Some(&location.manner)
    }

    /// Let these lines of a peer's head go with the answer that is made in its place.
    pub fn keep_lines(&mut self, head: &[u8], names: &[&[u8]]) {
        for (name, value) in response::lines(head) {
            if !names.iter().any(|each| name.eq_ignore_ascii_case(each)) {
                continue;
            }
            if name.eq_ignore_ascii_case(b"content-type") {
                self.kept_type = Some(value.to_vec());
            } else {
                response::header(&mut self.kept, name, value);
            }
        }
    }

    pub fn note_try(&mut self, peer: &str, now_ms: u64, status: u16) {
        self.tries.push(Try {
            peer: peer.into(),
            started_ms: now_ms,
            status,
            ..Try::default()
        });
    }

    pub fn end_try(&mut self, now_ms: u64, status: u16) {
        if let Some(last) = self.tries.last_mut() {
            last.ended_ms = Some(now_ms);
            last.status = status;
        }
    }

    /// The media type of a file with this extension, or the default one.
    pub fn type_of<'a>(&self, snapshot: &'a Snapshot, extension: Option<&[u8]>) -> &'a str {
        let location = self.location_of(snapshot);
        let types = location.and_then(|location| location.types.as_ref());
        let found = extension.and_then(|ending| types.unwrap_or(&snapshot.types).get(ending));
        let default = location.and_then(|location| location.default_type.as_ref());
        found.or(default).unwrap_or(&snapshot.default_type)
    }
}

impl Client {
    /// A whole head is here: choose who answers.
    pub fn begin(&mut self, core: &mut Core, mut exchange: Box<Exchange>) -> Step {
        let snapshot = core.snapshot.clone();
        self.phase = Phase::Serving;
        if snapshot.wants_connections {
            self.count_as(core, At::Writing);
        }
        if self.inner.is_some() {
            self.begin_inner(core, &mut exchange);
            self.exchange = Some(exchange);
            return Step::Again;
        }
        let matched = Matched {
            captures: &mut exchange.captures,
            slots: &mut exchange.slots,
        };
        let host = &exchange.request.host;
        exchange.server = snapshot.server(&self.local, host, Some(matched));
        exchange.started_ms = core.now_ms;
        exchange.incoming = Incoming::new(exchange.request.body);
        exchange.id = core.request_id();
        let server = &snapshot.servers[exchange.server];
        self.keepalive_ms = server.keepalive_timeout_ms;
        exchange.keep = exchange.request.keepalive && !core.stopping;
        if snapshot.wants_connections {
            exchange.connections = status::connections(&core.shared);
        }
        self.read_real_address(&mut exchange, &server.locations[0]);
        exchange.snapshot = Some(snapshot);
        self.route(core, &mut exchange);
        self.exchange = Some(exchange);
        Step::Again
    }

    /// A head that is refused: no location, no log of its words, and the connection ends.
    pub fn refuse(&mut self, core: &mut Core, refusal: Refusal) {
        let mut exchange = core.exchange();
        let request = &mut exchange.request;
        *request = Request::default();
        request.minor = 1;
        let line = self
            .buffer
            .iter()
            .position(|byte| matches!(byte, b'\r' | b'\n'));
        request.head = self.buffer[..line.unwrap_or(self.buffer.len()).min(1024)].to_vec();
        request.line_end = request.head.len() as u32;
        exchange.server = core.snapshot.server(&self.local, b"", None);
        exchange.snapshot = Some(core.snapshot.clone());
        // Whatever follows is not to be trusted as a request: never read, lingered away.
        exchange.incoming = Incoming::Length(u64::MAX);
        self.phase = Phase::Serving;
        exchange.location = Some(0);
        exchange.started_ms = core.now_ms;
        self.note(&exchange, INFO, || {
            format!("client sent a bad request: {}", refusal.1)
        });
        self.fail(core, &mut exchange, refusal.0);
        self.exchange = Some(exchange);
    }

    /// Count the exchange and log it.
    pub fn account(&mut self, core: &mut Core, exchange: &mut Exchange) {
        if exchange.status == 0 {
            exchange.status = 499; // the client left before any answer
        }
        if let Some(last) = exchange.tries.last_mut() {
            last.ended_ms.get_or_insert(core.now_ms);
        }
        if self.inner.is_some() {
            self.tell_asker(core, exchange);
            exchange.snapshot = None;
            return;
        }
        core.shared.counters.count(exchange.status);
        let Some(snapshot) = exchange.snapshot.take() else {
            return;
        };
        exchange.places.clear();
        let own = exchange.location_of(&snapshot);
        let logs = own.and_then(|location| location.logs.as_ref());
        for log in logs.unwrap_or(&snapshot.servers[exchange.server].logs) {
            if log.format.is_none() && log.condition.is_none() {
                let line = Line {
                    client: exchange.address.as_ref().unwrap_or(&self.address),
                    request: Some(&exchange.request),
                    status: exchange.status,
                    body_bytes: exchange.body_bytes,
                };
                core.logs.write(&log.file, &line, core.wall_s);
                continue;
            }
            let context = exchange.context(self, &snapshot, "");
            let condition = log.condition.as_ref().map(|test| test.value(&context));
            if condition.is_some_and(|value| value.is_empty() || value == b"0") {
                continue;
            }
            match &log.format {
                Some(format) => core.logs.write_formatted(&log.file, format, &context),
                None => {
                    let line = Line {
                        client: &self.address,
                        request: Some(&exchange.request),
                        status: exchange.status,
                        body_bytes: exchange.body_bytes,
                    };
                    core.logs.write(&log.file, &line, core.wall_s);
                }
            }
        }
    }
}
