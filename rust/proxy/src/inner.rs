//! Requests that a request makes within this process: auth_request asks one for leave, mirror sends
//! copies away. Each is served as any request is, by a client without a connection: its answer goes
//! nowhere but for its head.

use crate::conn::{Client, Incoming};
use crate::core::Core;
use crate::exchange::{Answer, Exchange};
use crate::request::Request;
use crate::route::{set_uri, Next};
use crate::snapshot::{Location, Snapshot};
use crate::spool::Body;
use std::net::SocketAddr;
use std::sync::Arc;

/// What an inner request is.
pub struct Inner {
    snapshot: Arc<Snapshot>,
    server: usize,
    uri: Vec<u8>,
    id: u128,
    body: Body,
    slots: Vec<Option<Vec<u8>>>,
    /// Who waits for the answer: its slot and its serial number.
    asker: Option<(u32, u64)>,
}

/// One that a worker is to serve.
pub struct Birth {
    pub inner: Box<Inner>,
    pub head: Vec<u8>,
    pub address: SocketAddr,
    pub local: SocketAddr,
}

/// What came of it. `sent` and `reply` are the head that a client would have got, and the peer's.
pub struct Verdict {
    pub asker: (u32, u64),
    status: u16,
    sent: Vec<u8>,
    reply: Vec<u8>,
}

impl Inner {
    #[cfg(test)]
    pub fn asked_by(asker: (u32, u64)) -> Inner {
        Inner {
            snapshot: Arc::new(Snapshot::compile(crate::worker::tests::SNAPSHOT, None).unwrap()),
            server: 0,
            uri: b"/".to_vec(),
            id: 0,
            body: Body::default(),
            slots: Vec::new(),
            asker: Some(asker),
        }
    }

    /// What whoever asked is told when this request ends without an answer.
    pub fn broken(&self) -> Option<Verdict> {
        self.asker.map(|asker| Verdict {
            asker,
            status: 500,
            sent: Vec::new(),
            reply: Vec::new(),
        })
    }
}

impl Client {
    /// Ask the location's auth_request for leave, unless it was given.
    pub fn ask_leave(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        location: &Location,
    ) -> bool {
        let given = exchange.authorized.is_some() && exchange.authorized == exchange.location;
        let Some(uri) = location
            .auth
            .as_ref()
            .filter(|_| !given && self.inner.is_none())
        else {
            return false;
        };
        let Some(snapshot) = &exchange.snapshot else {
            return false;
        };
        let uri = uri.value(&exchange.context(self, snapshot, ""));
        let asker = Some((self.index, self.serial));
        let head = inner_head(&exchange.request, b"GET");
        self.bear(core, exchange, uri, head, Body::default(), asker);
        exchange.answer = Answer::Inner;
        true
    }

    /// Send copies of the request to where the location says.
    pub fn mirror(&mut self, core: &mut Core, exchange: &mut Exchange, location: &Location) {
        exchange.mirrored = true;
        for uri in &location.mirrors {
            let Some(snapshot) = &exchange.snapshot else {
                return;
            };
            let mut target = uri.value(&exchange.context(self, snapshot, ""));
            if let (Some(args), false) = (&exchange.request.args, target.contains(&b'?')) {
                target.push(b'?');
                target.extend_from_slice(exchange.request.at(args));
            }
            let request = &exchange.request;
            let head = inner_head(request, request.at(&request.method_name));
            let body = if location.mirror_body {
                exchange.body.share()
            } else {
                Body::default()
            };
            self.bear(core, exchange, target, head, body, None);
        }
    }

    fn bear(
        &self,
        core: &mut Core,
        exchange: &Exchange,
        uri: Vec<u8>,
        head: Vec<u8>,
        body: Body,
        asker: Option<(u32, u64)>,
    ) {
        let Some(snapshot) = exchange.snapshot.clone() else {
            return;
        };
        core.births.push(Birth {
            inner: Box::new(Inner {
                snapshot,
                server: exchange.server,
                uri,
                id: exchange.id,
                body,
                slots: exchange.slots.clone(),
                asker,
            }),
            head,
            address: *exchange.address.as_ref().unwrap_or(&self.address),
            local: self.local,
        });
    }

    /// The head of an inner request is read: go where it was sent.
    pub fn begin_inner(&mut self, core: &mut Core, exchange: &mut Exchange) {
        let Some(inner) = &mut self.inner else {
            return;
        };
        exchange.server = inner.server;
        exchange.started_ms = core.now_ms;
        exchange.incoming = Incoming::Done;
        exchange.id = inner.id;
        exchange.body = std::mem::take(&mut inner.body);
        exchange.slots = std::mem::take(&mut inner.slots);
        exchange.snapshot = Some(inner.snapshot.clone());
        let uri = std::mem::take(&mut inner.uri);
        exchange.request.args = None;
        set_uri(exchange, &uri);
        self.route(core, exchange);
    }

    /// It is answered: tell whoever asked.
    pub fn tell_asker(&self, core: &mut Core, exchange: &mut Exchange) {
        if let Some(asker) = self.inner.as_ref().and_then(|inner| inner.asker) {
            core.verdicts.push(Verdict {
                asker,
                status: exchange.status,
                sent: std::mem::take(&mut exchange.sent),
                reply: std::mem::take(&mut exchange.reply),
            });
        }
    }

    /// auth_request answered. False: the connection is over.
    pub fn judged(&mut self, core: &mut Core, verdict: Verdict) -> bool {
        let Some(mut exchange) = self.exchange.take() else {
            return false;
        };
        if matches!(exchange.answer, Answer::Inner) {
            exchange.answer = Answer::Memory;
            self.heed(core, &mut exchange, verdict);
        }
        self.exchange = Some(exchange);
        self.drive(core)
    }

    fn heed(&mut self, core: &mut Core, exchange: &mut Exchange, verdict: Verdict) {
        let Some(snapshot) = exchange.snapshot.clone() else {
            return;
        };
        let Some(location) = exchange.location_of(&snapshot) else {
            return;
        };
        for (slot, template) in &location.auth_sets {
            let mut context = exchange.context(self, &snapshot, "");
            context.more.reply = &verdict.reply;
            context.more.sent = &verdict.sent;
            context.more.status = verdict.status;
            let value = template.value(&context);
            let Some(slot) = *slot else {
                exchange.request.set_args(&value);
                exchange.rewritten = true;
                continue;
            };
            if exchange.slots.len() <= slot {
                exchange.slots.resize(slot + 1, None);
            }
            exchange.slots[slot] = Some(value);
        }
        match verdict.status {
            200..=299 => {
                exchange.authorized = exchange.location;
                self.resume(core, exchange);
            }
            // Who owes a password is told so, not that it is forbidden.
            403 if location.satisfy_any
                && self.refused(exchange, &snapshot, location) == Some(401) =>
            {
                self.challenge(core, exchange, &snapshot, location);
            }
            status @ (401 | 403) => {
                if status == 401 {
                    exchange.keep_lines(&verdict.sent, &[b"www-authenticate"]);
                }
                self.fail(core, exchange, status);
            }
            _ => self.fail(core, exchange, 500),
        }
    }

    /// The request's body is here: go on with what the location is for.
    pub fn body_is_here(&mut self, core: &mut Core, exchange: &mut Exchange) {
        let Some(snapshot) = exchange.snapshot.clone() else {
            return;
        };
        exchange.answer = Answer::Memory;
        let Some(location) = exchange.location_of(&snapshot) else {
            return;
        };
        if let Next::Again = self.content(core, exchange, &snapshot, location) {
            self.route(core, exchange);
        }
    }
}

/// The head of a request without what is between this client and us, and without its body.
fn inner_head(request: &Request, method: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(request.head.len());
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(request.at(&request.target));
    out.extend_from_slice(b" HTTP/1.");
    out.push(b'0' + request.minor);
    out.extend_from_slice(b"\r\n");
    for header in &request.headers {
        let name = request.at(&header.name);
        let left: &[&[u8]] = &[
            b"connection",
            b"content-length",
            b"expect",
            b"keep-alive",
            b"transfer-encoding",
            b"upgrade",
        ];
        if !left.iter().any(|each| name.eq_ignore_ascii_case(each)) {
            out.extend_from_slice(name);
            out.extend_from_slice(b": ");
            out.extend_from_slice(request.at(&header.value));
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}
