//! Answers made here: returned texts, redirects, files, error pages.

use crate::chunked;
use crate::conn::{Client, Incoming};
use crate::core::Core;
use crate::errors::ERROR;
use crate::exchange::{Answer, Exchange};
use crate::files::{self, Found, Open};
use crate::ranges::{self, Body};
use crate::request::Method;
use crate::response;
use crate::route::set_uri;
use crate::snapshot::{Files, Location, Snapshot};
use crate::sys;

/// An answer made here.
pub struct Local<'a> {
    pub status: u16,
    pub kind: &'a str,
    pub body: &'a [u8],
    pub headers: Vec<(&'static str, Vec<u8>)>,
}

impl Client {
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
            let target = if value.starts_with(b"/") {
                self.absolute(exchange, &value)
            } else {
                value
            };
            if exchange.error.is_none() && self.page_of(exchange, status).is_some() {
                exchange.target = Some(target);
                return self.fail(core, exchange, status);
            }
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
        let manner = exchange.manner();
        let name = manner.filter(|manner| manner.server_name_in_redirect);
        match (name, &exchange.snapshot) {
            (Some(_), Some(snapshot)) => {
                out.extend_from_slice(snapshot.servers[exchange.server].name.as_bytes());
            }
            _ if exchange.request.host.is_empty() => {
                out.extend_from_slice(self.local.ip().to_string().as_bytes());
            }
            _ => out.extend_from_slice(&exchange.request.host),
        }
        if self.local.port() != 80 && manner.is_none_or(|manner| manner.port_in_redirect) {
            out.extend_from_slice(format!(":{}", self.local.port()).as_bytes());
        }
        out.extend_from_slice(path);
        out
    }

    fn redirect(&mut self, core: &mut Core, exchange: &mut Exchange, status: u16, to: Vec<u8>) {
        let local = Local {
            status,
            kind: "text/html",
            body: &response::error_page(status, self.product(exchange)),
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
            Found::Status(status) => {
                self.note_missing(exchange, files, uri, status);
                self.fail(core, exchange, status);
            }
            Found::Slash => self.redirect_to_slash(core, exchange),
            Found::File(open) => self.answer_open(core, exchange, open),
        }
    }

    fn note_missing(&self, exchange: &Exchange, files: &Files, path: &[u8], status: u16) {
        let snapshot = exchange.snapshot.as_deref();
        let location = snapshot.and_then(|snapshot| exchange.location_of(snapshot));
        let quiet = status == 404 && location.is_some_and(|location| !location.log_not_found);
        let (root, path) = (&files.path, String::from_utf8_lossy(path));
        match status {
            404 | 403 if !quiet => self.note(exchange, ERROR, || {
                if path.ends_with('/') && status == 403 {
                    return format!("directory index of \"{root}{path}\" is forbidden");
                }
                let why = if status == 404 {
                    "2: No such file or directory"
                } else {
                    "13: Permission denied"
                };
                format!("open() \"{root}{path}\" failed ({why})")
            }),
            _ => {}
        }
    }

    fn answer_open(&mut self, core: &mut Core, exchange: &mut Exchange, open: Open) {
        let Some(snapshot) = exchange.snapshot.clone() else {
            return;
        };
        let Some(location) = exchange.location_of(&snapshot) else {
            return;
        };
        let manner = &location.manner;
        let mut headers = vec![("Last-Modified", open.last_modified().into_bytes())];
        if manner.etag {
            headers.push(("ETag", open.etag().into_bytes()));
        }
        let mut status = 200;
        let mut parts = Vec::new();
        if let Some((_, answer)) = exchange.error {
            status = if answer == 0 { 200 } else { answer };
        } else {
            match open.conditions(&exchange.request, manner.modified) {
                200 => {}
                412 => return self.fail(core, exchange, 412),
                other => status = other,
            }
            let range = exchange
                .request
                .header(b"range")
                .filter(|_| manner.max_ranges > 0);
            if let (200, Some(range)) = (status, range) {
                let modified = self.modified_of(exchange, &snapshot, location, open.modified);
                if open.range_applies(&exchange.request, modified) {
                    match ranges::parse(range, open.size, manner.max_ranges) {
                        Ok(found) => parts = found,
                        Err(()) => return self.range_not_satisfiable(core, exchange, open.size),
                    }
                }
            }
            if manner.max_ranges > 0 {
                headers.push(("Accept-Ranges", b"bytes".to_vec()));
            }
        }
        let kind = exchange.type_of(&snapshot, open.extension().as_deref());
        let mut body = Body::whole(open.size);
        if !parts.is_empty() {
            status = 206;
            let boundary = format!("{:020}", exchange.id as u64);
            body = Body::of(&parts, open.size, kind, &boundary, &mut headers);
        }
        let kind = body.kind.clone().unwrap_or_else(|| kind.into());
        let bodiless = response::is_bodiless(status);
        let trailers = self.wants_trailers(exchange, status);
        self.settle(exchange);
        let kept_type = exchange.kept_type.take();
        self.local_head(core, exchange, status, &headers, |out| {
            if bodiless {
                return;
            }
            let kind = kept_type.as_deref().unwrap_or(kind.as_bytes());
            response::header(out, b"Content-Type", kind);
            if trailers {
                response::header(out, b"Transfer-Encoding", b"chunked");
            } else {
                response::header_shown(out, "Content-Length", body.length);
            }
        });
        let (mut from, mut left) = (0, 0);
        if !bodiless && exchange.request.method != Method::Head {
            exchange.body_bytes = body.length;
            if trailers {
                response::chunk_start(&mut self.out, body.length);
                exchange.chunked_end = true;
            }
            let (head, first, count) = body.parts.pop_front().unwrap_or_default();
            self.out.extend_from_slice(&head);
            (from, left) = (first, count);
            exchange.parts = body.parts;
            exchange.tail = body.tail;
        }
        if left > 0 && self.rate == 0 && self.inner.is_none() {
            let result = sys::send(&self.fd, &self.out, true);
            self.out_at = self.note_sent(result).unwrap_or(0);
        }
        exchange.answer = Answer::File {
            fd: open.fd,
            offset: from,
            left,
        };
    }

    /// What Last-Modified will say, in seconds.
    fn modified_of(
        &self,
        exchange: &Exchange,
        snapshot: &Snapshot,
        location: &Location,
        modified: u64,
    ) -> Option<u64> {
        let mut lines = location.headers.iter();
        let own = lines.find(|(name, _, _)| name.eq_ignore_ascii_case(b"last-modified"));
        match own {
            None => Some(modified),
            Some((_, value, _)) => files::date(&value.value(&exchange.context(self, snapshot, ""))),
        }
    }

    fn range_not_satisfiable(&mut self, core: &mut Core, exchange: &mut Exchange, size: u64) {
        let local = Local {
            status: 416,
            kind: "text/html",
            body: &response::error_page(416, self.product(exchange)),
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
            response::error_page(status, self.product(exchange))
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
        let kept_type = exchange.kept_type.take();
        let bodiless = response::is_bodiless(status);
        let trailers = self.wants_trailers(exchange, status);
        self.local_head(core, exchange, status, &local.headers, |out| {
            if bodiless {
                return;
            }
            let kind = kept_type.as_deref().unwrap_or(local.kind.as_bytes());
            response::header(out, b"Content-Type", kind);
            if trailers {
                response::header(out, b"Transfer-Encoding", b"chunked");
            } else {
                response::header_shown(out, "Content-Length", local.body.len());
            }
        });
        if !bodiless && exchange.request.method != Method::Head {
            exchange.body_bytes = local.body.len() as u64;
            if trailers {
                chunked::encode(&mut self.out, local.body);
                self.end_chunks(exchange);
            } else {
                self.out.extend_from_slice(local.body);
            }
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
        exchange.keep &= !core.stopping;
        let begin = self.out.len();
        let server = self.product(exchange);
        let out = &mut self.out;
        let reason = response::reason(status).as_bytes();
        response::start(out, status, reason, server, &core.date);
        framing(out);
        if status == 405 {
            response::header(out, b"Allow", b"GET, HEAD");
        }
        let own = headers.iter().any(|(name, _)| *name == "Location");
        let shown = (300..400).contains(&status) && !own;
        if let Some(target) = exchange.target.take().filter(|_| shown) {
            response::header(out, b"Location", &target);
        }
        for (name, value) in headers {
            response::header(out, name.as_bytes(), value);
        }
        if let (401, Some(challenge)) = (status, &exchange.challenge) {
            response::header(out, b"WWW-Authenticate", challenge);
        }
        out.extend_from_slice(&exchange.kept);
        self.add_headers(exchange, begin);
        self.hold(exchange);
        self.set_rate(exchange);
        self.end_head(exchange);
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
