//! One request and its answer: routing, local answers, error pages, the log.

use crate::conn::{Client, Incoming, Phase, Step};
use crate::core::Core;
use crate::files::{self, Found, Open};
use crate::forward::Forward;
use crate::log::Line;
use crate::request::{Body, Method, Refusal, Request};
use crate::response;
use crate::snapshot::{Action, Files, Snapshot};
use crate::sys;
use crate::vars::Context;
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
        *self = Exchange {
            request,
            ..Exchange::default()
        };
    }

    pub fn context<'a>(
        &'a self,
        client: &'a Client,
        snapshot: &'a Snapshot,
        proxy_host: &'a str,
    ) -> Context<'a> {
        Context {
            request: &self.request,
            client: &client.address,
            server: client.local,
            server_name: &snapshot.servers[self.server].name,
            proxy_host,
            request_id: self.id,
        }
    }
}

impl Client {
    /// A whole head is here: choose who answers.
    pub fn begin(&mut self, core: &mut Core, mut exchange: Box<Exchange>) -> Step {
        let snapshot = core.snapshot.clone();
        self.phase = Phase::Serving;
        exchange.server = snapshot.server(&self.local, &exchange.request.host);
        exchange.incoming = Incoming::new(exchange.request.body);
        exchange.id = core.request_id();
        let server = &snapshot.servers[exchange.server];
        self.keepalive_ms = server.keepalive_timeout_ms;
        exchange.keep =
            exchange.request.keepalive && server.keepalive_timeout_ms > 0 && !core.stopping;
        let most = snapshot.limits.body_size;
        let too_long = matches!(exchange.request.body, Body::Length(n) if most > 0 && n > most);
        exchange.snapshot = Some(snapshot);
        if too_long {
            self.fail(core, &mut exchange, 413);
        } else {
            let uri = std::mem::take(&mut exchange.request.uri);
            self.route(core, &mut exchange, &uri);
            exchange.request.uri = uri;
        }
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
        exchange.server = core.snapshot.server(&self.local, b"");
        exchange.snapshot = Some(core.snapshot.clone());
        // Whatever follows is not to be trusted as a request: never read, lingered away.
        exchange.incoming = Incoming::Length(u64::MAX);
        self.phase = Phase::Serving;
        self.answer_error(core, &mut exchange, refusal.0);
        self.exchange = Some(exchange);
    }

    fn route(&mut self, core: &mut Core, exchange: &mut Exchange, uri: &[u8]) {
        let Some(snapshot) = exchange.snapshot.clone() else {
            return;
        };
        let server = &snapshot.servers[exchange.server];
        let found = server.location(uri);
        let hidden = |index: &usize| server.locations[*index].internal && exchange.error.is_none();
        exchange.location = found.filter(|index| !hidden(index));
        let Some(index) = exchange.location else {
            return self.fail(core, exchange, 404);
        };
        match &server.locations[index].action {
            Action::Proxy(_) => {
                exchange.answer = Answer::Forward;
                self.forward = Some(Box::new(Forward::new(&snapshot, exchange, self, uri)));
                self.choose_peer(core, exchange);
            }
            Action::Files(files) => self.answer_file(core, exchange, files, uri),
            Action::Return(status, text) => {
                let mut value = Vec::new();
                text.write(&exchange.context(self, &snapshot, ""), &mut value);
                self.answer_return(core, exchange, *status, value, &snapshot);
            }
        }
    }

    fn answer_return(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        status: u16,
        value: Vec<u8>,
        snapshot: &Snapshot,
    ) {
        if status == 444 {
            self.broken = true; // nginx's word for closing without an answer
            return;
        }
        if matches!(status, 301 | 302 | 303 | 307 | 308) {
            let target = if value.starts_with(b"/") {
                self.absolute(exchange, &value)
            } else {
                value
            };
            return self.redirect(core, exchange, status, target);
        }
        if value.is_empty() && status >= 300 && !response::is_bodiless(status) {
            return self.fail(core, exchange, status);
        }
        let local = Local {
            status,
            kind: &snapshot.default_type,
            body: &value,
            headers: Vec::new(),
        };
        self.answer(core, exchange, local);
    }

    /// 'http://host[:port]/path' for a path of our own.
    fn absolute(&self, exchange: &Exchange, path: &[u8]) -> Vec<u8> {
        let mut out = b"http://".to_vec();
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

    fn answer_file(&mut self, core: &mut Core, exchange: &mut Exchange, files: &Files, uri: &[u8]) {
        let internal = exchange.error.is_some();
        match files::find(files, &exchange.request, uri, internal) {
            Found::Status(status) => self.fail(core, exchange, status),
            Found::Slash => {
                let mut path = Vec::with_capacity(uri.len() + 1);
                escape_uri(uri, &mut path);
                path.push(b'/');
                if let Some(args) = &exchange.request.args {
                    path.push(b'?');
                    path.extend_from_slice(exchange.request.at(args));
                }
                let target = self.absolute(exchange, &path);
                self.redirect(core, exchange, 301, target);
            }
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
        let kind = open
            .extension()
            .and_then(|ending| snapshot.types.get(&ending));
        let kind = kind.unwrap_or(&snapshot.default_type);
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
            return self.answer_error(core, exchange, if answer == 0 { own } else { answer });
        }
        let locations = &snapshot.servers[exchange.server].locations;
        let page = exchange
            .location
            .or_else(|| snapshot.servers[exchange.server].location(b"/"))
            .and_then(|index| locations[index].error_page(status));
        let Some(page) = page else {
            return self.answer_error(core, exchange, status);
        };
        if !page.uri.starts_with(['/', '@']) {
            let code = page
                .answer
                .filter(|code| matches!(code, 301 | 303 | 307 | 308));
            let target = page.uri.clone().into_bytes();
            return self.redirect(core, exchange, code.unwrap_or(302), target);
        }
        exchange.error = Some((status, page.answer.unwrap_or(status)));
        self.settle(exchange);
        self.route(core, exchange, page.uri.as_bytes());
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

    fn answer(&mut self, core: &mut Core, exchange: &mut Exchange, local: Local) {
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
        let out = &mut self.out;
        response::start(out, status, response::reason(status).as_bytes(), &core.date);
        framing(out);
        if status == 405 {
            response::header(out, b"Allow", b"GET, HEAD");
        }
        for (name, value) in headers {
            response::header(out, name.as_bytes(), value);
        }
        response::end(out, exchange.request.minor, exchange.keep);
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
        if let Some(log) = &snapshot.servers[exchange.server].log {
            let line = Line {
                client: &self.address,
                request: Some(&exchange.request),
                status: exchange.status,
                body_bytes: exchange.body_bytes,
            };
            core.logs.write(log, &line, core.wall_s);
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
