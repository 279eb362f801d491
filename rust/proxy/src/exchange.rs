//! One request and its answer: routing, local answers, error pages, the log.

use crate::balance::Group;
use crate::conn::{Client, Incoming, Phase, Step};
use crate::core::Core;
use crate::files::{self, Found, Open};
use crate::filters;
use crate::limits::Place;
use crate::locations::Matched;
use crate::log::Line;
use crate::request::{Method, Refusal, Request};
use crate::response;
use crate::route::set_uri;
use crate::snapshot::{Action, Files, Location, Snapshot};
use crate::sys;
use crate::vars::{Captures, Context, More, Try};
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
    /// Who was asked last, for $proxy_host.
    pub group: Option<Arc<Group>>,
}

/// An answer made here.
pub struct Local<'a> {
    pub status: u16,
    pub kind: &'a str,
    pub body: &'a [u8],
    pub headers: Vec<(&'static str, Vec<u8>)>,
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
                Some(group) if proxy_host.is_empty() => &group.name,
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
                sent: &self.sent,
                reply: &self.reply,
                tries: &self.tries,
                started_ms: self.started_ms,
                connection: client.serial,
                requests: client.served + 1,
                complete: self.complete,
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
        exchange.keep =
            exchange.request.keepalive && server.keepalive_timeout_ms > 0 && !core.stopping;
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
        self.answer_error(core, &mut exchange, refusal.0);
        self.exchange = Some(exchange);
    }

    pub fn answer_return(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        status: u16,
        value: Vec<u8>,
    ) {
        let Some(snapshot) = exchange.snapshot.clone() else {
            return;
        };
        if status == 444 {
            self.broken = true; // nginx's word for closing without an answer
            return;
        }
        if matches!(status, 301 | 302 | 303 | 307 | 308) {
            if exchange.error.is_none() && self.page_of(exchange, status).is_some() {
                return self.fail(core, exchange, status);
            }
            let target = if value.starts_with(b"/") {
                self.absolute(exchange, &value)
            } else {
                value
            };
            return self.redirect(core, exchange, status, target);
        }
        let paged = status >= 400 && self.page_of(exchange, status).is_some();
        if exchange.error.is_some() && value.is_empty() && status >= 400 {
            return self.answer_error(core, exchange, status);
        }
        if (value.is_empty() || paged) && status >= 300 && !response::is_bodiless(status) {
            return self.fail(core, exchange, status);
        }
        let local = Local {
            status,
            kind: exchange.type_of(&snapshot, None),
            body: &value,
            headers: Vec::new(),
        };
        self.answer(core, exchange, local);
    }

    /// 'http://host[:port]/path' for a path of our own.
    pub fn absolute(&self, exchange: &Exchange, path: &[u8]) -> Vec<u8> {
        let mut out = b"http://".to_vec();
        let relative = exchange
            .snapshot
            .as_ref()
            .and_then(|snapshot| exchange.location_of(snapshot))
            .is_some_and(|location| !location.absolute_redirect);
        if relative {
            return path.to_vec();
        }
        if exchange.request.host.is_empty() {
            out.extend_from_slice(self.local.ip().to_string().as_bytes());
        } else {
            out.extend_from_slice(&exchange.request.host);
        }
        if self.local.port() != 80 {
            out.extend_from_slice(format!(":{}", self.local.port()).as_bytes());
        }
        out.extend_from_slice(path);
        out
    }

    fn redirect(&mut self, core: &mut Core, exchange: &mut Exchange, status: u16, to: Vec<u8>) {
        let local = Local {
            status,
            kind: "text/html",
            body: &response::error_page(status),
            headers: vec![("Location", to)],
        };
        self.answer(core, exchange, local);
    }

    /// '/path' for '/path/', kept with its arguments.
    pub fn redirect_to_slash(&mut self, core: &mut Core, exchange: &mut Exchange) {
        let request = &exchange.request;
        let mut path = Vec::with_capacity(request.uri.len() + 1);
        escape_uri(&request.uri, &mut path);
        path.push(b'/');
        if let Some(args) = &request.args {
            path.push(b'?');
            path.extend_from_slice(request.at(args));
        }
        let target = self.absolute(exchange, &path);
        self.redirect(core, exchange, 301, target);
    }

    pub fn answer_file(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        files: &Files,
        uri: &[u8],
    ) {
        let internal = exchange.error.is_some();
        match files::find(files, &exchange.request, uri, internal) {
            Found::Status(status) => self.fail(core, exchange, status),
            Found::Slash => self.redirect_to_slash(core, exchange),
            Found::File(open) => self.answer_open(core, exchange, open),
        }
    }

    fn answer_open(&mut self, core: &mut Core, exchange: &mut Exchange, open: Open) {
        let mut headers = vec![
            ("Last-Modified", open.last_modified().into_bytes()),
            ("ETag", open.etag().into_bytes()),
        ];
        let (mut status, mut first, mut left) = (200, 0, open.size);
        if let Some((_, answer)) = exchange.error {
            status = if answer == 0 { 200 } else { answer };
        } else {
            match open.conditions(&exchange.request) {
                200 => {}
                412 => return self.fail(core, exchange, 412),
                other => status = other,
            }
            if status == 200 {
                match open.range(&exchange.request) {
                    Ok(None) => {}
                    Ok(Some((from, last))) => {
                        (status, first, left) = (206, from, last - from + 1);
                        let range = format!("bytes {from}-{last}/{}", open.size);
                        headers.push(("Content-Range", range.into_bytes()));
                    }
                    Err(()) => return self.range_not_satisfiable(core, exchange, open.size),
                }
            }
            headers.push(("Accept-Ranges", b"bytes".to_vec()));
        }
        let Some(snapshot) = exchange.snapshot.clone() else {
            return;
        };
        let kind = exchange.type_of(&snapshot, open.extension().as_deref());
        let bodiless = response::is_bodiless(status);
        self.settle(exchange);
        self.local_head(core, exchange, status, &headers, |out| {
            if !bodiless {
                response::header(out, b"Content-Type", kind.as_bytes());
                response::header_shown(out, "Content-Length", left);
            }
        });
        if bodiless || exchange.request.method == Method::Head {
            left = 0;
        }
        exchange.body_bytes = left;
        if left > 0 {
            let result = sys::send(&self.fd, &self.out, true);
            self.out_at = self.note_sent(result).unwrap_or(0);
        }
        exchange.answer = Answer::File {
            fd: open.fd,
            offset: first,
            left,
        };
    }

    fn range_not_satisfiable(&mut self, core: &mut Core, exchange: &mut Exchange, size: u64) {
        let local = Local {
            status: 416,
            kind: "text/html",
            body: &response::error_page(416),
            headers: vec![("Content-Range", format!("bytes */{size}").into_bytes())],
        };
        self.answer(core, exchange, local);
    }

    /// The request failed here: the location's error page, or our own.
    pub fn fail(&mut self, core: &mut Core, exchange: &mut Exchange, status: u16) {
        let Some(snapshot) = exchange.snapshot.clone() else {
            return;
        };
        if let Some((own, answer)) = exchange.error {
            // The error page itself is missing or broken: what went wrong first is the answer.
            let again = exchange
                .location_of(&snapshot)
                .is_some_and(|location| location.recursive_error_pages);
            if !again {
                let status = if answer == 0 || own == 500 {
                    own
                } else {
                    answer
                };
                return self.answer_error(core, exchange, status);
            }
        }
        let Some((target, named, answer)) = self.page_of(exchange, status) else {
            return self.answer_error(core, exchange, status);
        };
        if named.is_none() && !target.starts_with(b"/") {
            let code = answer.filter(|code| matches!(code, 301 | 303 | 307 | 308));
            return self.redirect(core, exchange, code.unwrap_or(302), target);
        }
        exchange.error = Some((status, answer.unwrap_or(status)));
        self.settle(exchange);
        match named {
            Some(name) => {
                let named = &snapshot.servers[exchange.server].named;
                let Some(index) = named.get(&name) else {
                    return self.answer_error(core, exchange, 500);
                };
                exchange.named = Some(*index);
                exchange.internal = true;
            }
            None => {
                exchange.request.become_get();
                set_uri(exchange, &target);
            }
        }
        self.route(core, exchange);
    }

    /// The location's page for a status: its URI, the name of its location, the status to answer.
    pub fn page_of(
        &self,
        exchange: &Exchange,
        status: u16,
    ) -> Option<(Vec<u8>, Option<String>, Option<u16>)> {
        let snapshot = exchange.snapshot.as_ref()?;
        let locations = &snapshot.servers[exchange.server].locations;
        let page = locations[exchange.location.unwrap_or(0)].error_page(status)?;
        let uri = page.uri.value(&exchange.context(self, snapshot, ""));
        Some((uri, page.named.clone(), page.answer))
    }

    pub fn answer_error(&mut self, core: &mut Core, exchange: &mut Exchange, status: u16) {
        let body = if response::is_bodiless(status) {
            Vec::new()
        } else {
            response::error_page(status)
        };
        let local = Local {
            status,
            kind: "text/html",
            body: &body,
            headers: Vec::new(),
        };
        self.answer(core, exchange, local);
    }

    pub fn answer(&mut self, core: &mut Core, exchange: &mut Exchange, local: Local) {
        let status = match exchange.error {
            Some((_, answer)) if answer != 0 && local.status < 300 => answer,
            _ => local.status,
        };
        self.settle(exchange);
        exchange.answer = Answer::Memory;
        let bodiless = response::is_bodiless(status);
        self.local_head(core, exchange, status, &local.headers, |out| {
            if !bodiless {
                response::header(out, b"Content-Type", local.kind.as_bytes());
                response::header_shown(out, "Content-Length", local.body.len());
            }
        });
        if !bodiless && exchange.request.method != Method::Head {
            exchange.body_bytes = local.body.len() as u64;
            self.out.extend_from_slice(local.body);
        }
    }

    fn local_head(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        status: u16,
        headers: &[(&'static str, Vec<u8>)],
        framing: impl FnOnce(&mut Vec<u8>),
    ) {
        if self.out.capacity() == 0 {
            self.out = core.buffer();
        }
        exchange.status = status;
        let begin = self.out.len();
        let out = &mut self.out;
        response::start(out, status, response::reason(status).as_bytes(), &core.date);
        framing(out);
        if status == 405 {
            response::header(out, b"Allow", b"GET, HEAD");
        }
        for (name, value) in headers {
            response::header(out, name.as_bytes(), value);
        }
        if let (401, Some(challenge)) = (status, &exchange.challenge) {
            response::header(out, b"WWW-Authenticate", challenge);
        }
        self.add_headers(exchange, begin);
        response::end(&mut self.out, exchange.request.minor, exchange.keep);
        exchange.head_bytes = (self.out.len() - begin) as u64;
    }

    /// Before an answer of our own: take what of the body is here already. If more is to come, the
    /// connection ends after the answer.
    fn settle(&mut self, exchange: &mut Exchange) {
        match exchange.incoming.feed(&self.buffer, |_| {}) {
            Ok(used) => drop(self.buffer.drain(..used)),
            Err(_) => exchange.keep = false,
        }
        if !exchange.incoming.done() {
            exchange.incoming = Incoming::Done;
            exchange.unread = true;
            exchange.keep = false;
        }
    }

    /// Count the exchange and log it.
    pub fn account(&mut self, core: &mut Core, exchange: &mut Exchange) {
        if exchange.status == 0 {
            exchange.status = 499; // the client left before any answer
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

/// A decoded path in a request line or a Location again.
pub fn escape_uri(path: &[u8], out: &mut Vec<u8>) {
    for byte in path {
        match byte {
            0..=b' '
            | b'#'
            | b'%'
            | b'?'
            | b'"'
            | b'<'
            | b'>'
            | b'\\'
            | b'^'
            | b'`'
            | b'{'
            | b'|'
            | b'}'
            | 0x7f.. => {
                out.extend_from_slice(format!("%{byte:02X}").as_bytes());
            }
            _ => out.push(*byte),
        }
    }
}
