//! From a request's path to who answers it: nginx's phases in nginx's order.
//!
//! server rewrite -> location -> its rewrite -> limits -> access -> try_files -> content. A changed
//! path starts anew, a bounded number of times.

use crate::access;
use crate::answer::Local;
use crate::conn::Client;
use crate::core::Core;
use crate::errors::ERROR;
use crate::exchange::{Answer, Exchange};
use crate::files;
use crate::limits::Verdict;
use crate::locations::{Found, Matched};
use crate::request::{Body, Method};
use crate::rewrite::{self, Code, Outcome, View};
use crate::snapshot::{Action, Location, Snapshot};
use crate::status;
use crate::vars::Context;
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

const MOST_CYCLES: u8 = 10;

pub enum Next {
    Again,
    Done,
}

impl Client {
    /// Find who answers for the exchange's path, and let it.
    pub fn route(&mut self, core: &mut Core, exchange: &mut Exchange) {
        let Some(snapshot) = exchange.snapshot.clone() else {
            return;
        };
        loop {
            if exchange.cycles > MOST_CYCLES {
                exchange.error = Some((500, 500));
                return self.answer_error(core, exchange, 500);
            }
            exchange.cycles += 1;
            if let Next::Done = self.route_once(core, exchange, &snapshot) {
                return;
            }
        }
    }

    fn route_once(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        snapshot: &Arc<Snapshot>,
    ) -> Next {
        let server = &snapshot.servers[exchange.server];
        let index = match exchange.named.take() {
            Some(index) => index,
            None => {
                exchange.location = Some(0);
                exchange.unlocated = false;
                if !server.rewrite.is_empty() {
                    if let Some(next) = self.rewrite(core, exchange, snapshot, &server.rewrite) {
                        return next;
                    }
                }
                let mut matched = Matched {
                    captures: &mut exchange.captures,
                    slots: &mut exchange.slots,
                };
                match server.find(&exchange.request.uri, &mut matched) {
                    Found::Location(index) => index,
                    Found::Nothing => 0,
                    Found::Slashless(index) => {
                        exchange.location = Some(index);
                        self.redirect_to_slash(core, exchange);
                        return Next::Done;
                    }
                }
            }
        };
        exchange.location = Some(index);
        let location = &server.locations[index];
        if location.internal && !exchange.internal {
            exchange.location = Some(0);
            self.fail(core, exchange, 404);
            return Next::Done;
        }
        if !location.rewrite.is_empty() {
            if let Some(next) = self.rewrite(core, exchange, snapshot, &location.rewrite) {
                return next;
            }
        }
        // An `if` may have put another in its place.
        let mut location = &server.locations[exchange.location.unwrap_or(index)];
        if let Some((methods, other)) = &location.except {
            let request = &exchange.request;
            let method = request.at(&request.method_name);
            if !methods.iter().any(|each| each == method) {
                exchange.location = Some(*other);
                location = &server.locations[*other];
            }
        }
        self.enter(core, exchange, snapshot, location)
    }

    fn rewrite(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        snapshot: &Arc<Snapshot>,
        codes: &[Code],
    ) -> Option<Next> {
        let mut view = View {
            client: self,
            snapshot,
        };
        let outcome = rewrite::run(codes, exchange, &mut view);
        match outcome {
            Outcome::Go => None,
            // After the server's own codes the location is still to be chosen.
            Outcome::Again if exchange.location == Some(0) => None,
            Outcome::Again => Some(Next::Again),
            Outcome::Return(status, text) => {
                self.answer_return(core, exchange, status, text);
                Some(Next::Done)
            }
        }
    }

    /// What stands between the choice of a location and its content.
    fn enter(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        snapshot: &Arc<Snapshot>,
        location: &Location,
    ) -> Next {
        let most = location.body_size.unwrap_or(snapshot.limits.body_size);
        if matches!(exchange.request.body, Body::Length(n) if most > 0 && n > most) {
            self.fail(core, exchange, 413);
            return Next::Done;
        }
        if let Some(real) = &location.real_ip {
            if exchange.address.is_none() {
                exchange.address = real_address(self, real, exchange);
            }
        }
        if let Some(status) = self.limited(core, exchange, snapshot, location) {
            if status > 0 {
                self.fail(core, exchange, status);
            }
            return Next::Done;
        }
        let refused = match self.inner {
            Some(_) => None, // who asked was judged
            None => self.refused(exchange, snapshot, location),
        };
        let ruled = !location.access.is_empty() || location.basic.is_some();
        let settled = match location.satisfy_any {
            true => refused.is_none() && ruled,
            false => refused.is_some(),
        };
        if !settled && self.ask_leave(core, exchange, location) {
            return Next::Done;
        }
        let leave = location.satisfy_any && exchange.authorized == exchange.location;
        if let Some(status) = refused.filter(|_| !leave) {
            let delay_ms = location.manner.auth_delay_ms;
            if status == 401 && delay_ms > 0 && !exchange.challenged {
                exchange.challenged = true;
                exchange.answer = Answer::Delay(delay_ms);
            } else if status == 401 {
                self.challenge(core, exchange, snapshot, location);
            } else {
                self.fail(core, exchange, status);
            }
            return Next::Done;
        }
        if !location.try_files.is_empty() {
            if let Some(next) = self.try_files(core, exchange, snapshot, location) {
                return next;
            }
        }
        self.content(core, exchange, snapshot, location)
    }

    pub fn content(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        snapshot: &Arc<Snapshot>,
        location: &Location,
    ) -> Next {
        let mirrors = !location.mirrors.is_empty() && self.inner.is_none() && !exchange.mirrored;
        let buffers =
            matches!(&location.action, Action::Proxy(proxy) if proxy.options.request_buffering);
        if !exchange.incoming.done() && (buffers || mirrors && location.mirror_body) {
            self.ask_for_body(exchange);
            exchange.answer = Answer::Body;
            return Next::Done;
        }
        if mirrors {
            self.mirror(core, exchange, location);
        }
        match &location.action {
            Action::Proxy(proxy) => self.forward_to(core, exchange, snapshot, proxy, location),
            Action::Files(files) => {
                let uri = exchange.request.uri.clone();
                if uri.ends_with(b"/") {
                    if let Some((found, elsewhere)) =
                        self.index(exchange, snapshot, files, location, &uri)
                    {
                        exchange.request.uri = found;
                        exchange.internal = true;
                        if elsewhere {
                            return Next::Again;
                        }
                        let mut matched = Matched {
                            captures: &mut exchange.captures,
                            slots: &mut exchange.slots,
                        };
                        let server = &snapshot.servers[exchange.server];
                        let here = exchange.location;
                        match server.find(&exchange.request.uri, &mut matched) {
                            Found::Location(index) if Some(index) == here => {}
                            Found::Nothing if here == Some(0) => {}
                            _ => return Next::Again,
                        }
                        let uri = std::mem::take(&mut exchange.request.uri);
                        self.file(core, exchange, snapshot, files, location, uri);
                        return Next::Done;
                    }
                }
                self.file(core, exchange, snapshot, files, location, uri);
            }
            Action::Return(status, text) => {
                let text = text.value(&exchange.context(self, snapshot, ""));
                self.answer_return(core, exchange, *status, text);
            }
            Action::Status => {
                if !matches!(exchange.request.method, Method::Get | Method::Head) {
                    self.fail(core, exchange, 405);
                    return Next::Done;
                }
                let body = status::stub(&core.shared);
                let local = Local {
                    status: 200,
                    kind: "text/plain",
                    body: body.as_bytes(),
                    headers: Vec::new(),
                };
                self.answer(core, exchange, local);
            }
        }
        Next::Done
    }

    fn file(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        snapshot: &Snapshot,
        files: &crate::snapshot::Files,
        location: &Location,
        uri: Vec<u8>,
    ) {
        let context = exchange.context(self, snapshot, "");
        let path = path_of(files, location, &uri, &context, exchange.alias_uri).into_owned();
        exchange.request.uri = uri;
        self.answer_file(core, exchange, files, &path);
    }

    /// The path of a directory's index file; true: an absolute one, looked for anew.
    fn index(
        &self,
        exchange: &Exchange,
        snapshot: &Snapshot,
        files: &crate::snapshot::Files,
        location: &Location,
        uri: &[u8],
    ) -> Option<(Vec<u8>, bool)> {
        let context = exchange.context(self, snapshot, "");
        files.index.iter().find_map(|name| {
            let name = name.value(&context);
            if name.starts_with(b"/") {
                return Some((name, true));
            }
            let whole = [uri, &name].concat();
            let path = path_of(files, location, &whole, &context, false);
            files::is_there(files, &path, false).then_some((whole, false))
        })
    }

    fn try_files(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        snapshot: &Arc<Snapshot>,
        location: &Location,
    ) -> Option<Next> {
        let (last, candidates) = location.try_files.split_last()?;
        let files = match &location.action {
            Action::Files(files) => Some(files),
            _ => None,
        };
        for candidate in candidates {
            let context = exchange.context(self, snapshot, "");
            let mut path = candidate.value(&context);
            let directory = path.ends_with(b"/");
            if !path.starts_with(b"/") {
                path.insert(0, b'/');
            }
            let found = match files {
                Some(files) => {
                    let mut whole = path.clone();
                    if location.alias {
                        // What the alias stands for is put before, unless the path has it.
                        let before = &exchange.request.uri[..location.skipped()];
                        whole = [before, &path[usize::from(location.skipped() > 0)..]].concat();
                        if location.skipped() > 0 && path.starts_with(before) {
                            whole = path.clone();
                        }
                        path.clone_from(&whole);
                    }
                    let below = path_of(files, location, &whole, &context, true);
                    files::is_there(files, &below, directory)
                }
                None => location.root.as_ref().is_some_and(|root| {
                    files::exists(&[root.value(&context), path.clone()].concat(), directory)
                }),
            };
            if found {
                if directory && path.len() > 1 {
                    path.pop();
                }
                exchange.alias_uri = location.alias && location.alias_skip.is_none();
                if exchange.request.uri != path {
                    exchange.request.uri = path;
                    exchange.rewritten = true;
                }
                return None;
            }
        }
        let fallback = last.value(&exchange.context(self, snapshot, ""));
        if let Some(code) = fallback.strip_prefix(b"=") {
            let code = std::str::from_utf8(code)
                .ok()
                .and_then(|code| code.parse().ok());
            self.fail(core, exchange, code.unwrap_or(500));
            return Some(Next::Done);
        }
        self.redirect_within(core, exchange, &fallback)
    }

    /// Go on with another path, or with a named location; None is never returned.
    pub fn redirect_within(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        target: &[u8],
    ) -> Option<Next> {
        exchange.internal = true;
        let snapshot = exchange.snapshot.clone()?;
        if let Some(name) = target.strip_prefix(b"@") {
            let name = String::from_utf8_lossy(name);
            let named = snapshot.servers[exchange.server].named.get(&*name);
            let Some(index) = named else {
                exchange.error = Some((500, 500));
                self.answer_error(core, exchange, 500);
                return Some(Next::Done);
            };
            exchange.named = Some(*index);
            return Some(Next::Again);
        }
        set_uri(exchange, target);
        Some(Next::Again)
    }

    /// limit_conn and limit_req: a status when it ends here, 0 when it waits.
    fn limited(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        snapshot: &Snapshot,
        location: &Location,
    ) -> Option<u16> {
        if exchange.limited || location.counts.is_empty() && location.rates.is_empty() {
            return None;
        }
        exchange.limited = true;
        let mut places = Vec::new();
        for limit in &location.counts {
            match limit.enter(&exchange.context(self, snapshot, "")) {
                Ok(None) => {}
                Ok(place) => {
                    exchange.count_verdict = "PASSED";
                    places.extend(place);
                }
                Err(()) => {
                    self.note(exchange, limit.level, || {
                        let dry = if limit.dry_run { ", dry run," } else { "" };
                        format!("limiting connections{dry} by zone \"{}\"", limit.zone())
                    });
                    if !limit.dry_run {
                        exchange.count_verdict = "REJECTED";
                        return Some(limit.status);
                    }
                    exchange.count_verdict = "REJECTED_DRY_RUN";
                    break;
                }
            }
        }
        exchange.places = places;
        let mut longest = 0;
        for limit in &location.rates {
            let verdict = limit.judge(&exchange.context(self, snapshot, ""), core.now_ms);
            match (verdict, limit.dry_run) {
                (Verdict::Free, _) => {}
                (Verdict::Pass, _) => {
                    if exchange.rate_verdict.is_empty() {
                        exchange.rate_verdict = "PASSED";
                    }
                }
                (Verdict::Delay(ms), dry) => {
                    self.note(exchange, (limit.level + 1).min(7), || {
                        let dry = if dry { ", dry run" } else { "" };
                        format!("delaying request{dry}, by zone \"{}\"", limit.zone())
                    });
                    exchange.rate_verdict = if dry { "DELAYED_DRY_RUN" } else { "DELAYED" };
                    longest = longest.max(if dry { 0 } else { ms });
                }
                (Verdict::Reject, dry) => {
                    self.note(exchange, limit.level, || {
                        let dry = if dry { ", dry run" } else { "" };
                        format!("limiting requests{dry} by zone \"{}\"", limit.zone())
                    });
                    exchange.rate_verdict = if dry { "REJECTED_DRY_RUN" } else { "REJECTED" };
                    if !dry {
                        return Some(limit.status);
                    }
                    break;
                }
            }
        }
        if longest == 0 {
            return None;
        }
        exchange.answer = Answer::Delay(longest);
        Some(0)
    }

    /// The delay is over.
    pub fn resume(&mut self, core: &mut Core, exchange: &mut Exchange) {
        exchange.answer = Answer::Memory;
        exchange.named = exchange.location;
        exchange.cycles = exchange.cycles.saturating_sub(1);
        let internal = std::mem::replace(&mut exchange.internal, true);
        self.route(core, exchange);
        exchange.internal |= internal;
    }

    pub fn refused(
        &self,
        exchange: &Exchange,
        snapshot: &Snapshot,
        location: &Location,
    ) -> Option<u16> {
        if location.access.is_empty() && location.basic.is_none() || exchange.error.is_some() {
            return None;
        }
        let address = exchange.address.as_ref().unwrap_or(&self.address).ip();
        let rule = location
            .access
            .iter()
            .find(|(_, network)| network.has(&address));
        let address_ok = rule.map(|(allowed, _)| *allowed);
        if location.satisfy_any && address_ok == Some(true) {
            return None;
        }
        if address_ok == Some(false) && !(location.satisfy_any && location.basic.is_some()) {
            self.note(exchange, ERROR, || "access forbidden by rule".into());
            return Some(403);
        }
        let (realm, file) = location.basic.as_ref()?;
        let context = exchange.context(self, snapshot, "");
        if realm.constant() == Some(b"off") || realm.value(&context) == b"off" {
            return (location.satisfy_any && address_ok == Some(false)).then_some(403);
        }
        let given = access::credentials(&exchange.request);
        access::check(given.as_deref(), &snapshot.path(&file.value(&context)))
    }

    pub fn challenge(
        &mut self,
        core: &mut Core,
        exchange: &mut Exchange,
        snapshot: &Snapshot,
        location: &Location,
    ) {
        let context = exchange.context(self, snapshot, "");
        let realm = location
            .basic
            .as_ref()
            .map(|(realm, _)| realm.value(&context));
        let realm = realm.unwrap_or_default();
        exchange.challenge = Some([b"Basic realm=\"", &realm[..], b"\""].concat());
        self.fail(core, exchange, 401);
    }
}

/// Another path, with its own arguments if it has a '?'.
pub fn set_uri(exchange: &mut Exchange, target: &[u8]) {
    let question = target.iter().position(|byte| *byte == b'?');
    exchange.request.uri = target[..question.unwrap_or(target.len())].to_vec();
    if let Some(at) = question {
        exchange.request.set_args(&target[at + 1..]);
    }
    exchange.rewritten = true;
    exchange.internal = true;
}

/// A path below the directory that is open.
fn path_of<'a>(
    files: &crate::snapshot::Files,
    location: &Location,
    uri: &'a [u8],
    context: &Context,
    alias_uri: bool,
) -> Cow<'a, [u8]> {
    let Some(rest) = &files.rest else {
        return Cow::Borrowed(uri);
    };
    let mut path = rest.value(context);
    if files.appends || alias_uri {
        path.extend_from_slice(uri.get(location.skipped()..).unwrap_or_default());
    }
    Cow::Owned(path)
}

impl Client {
    /// realip at once, by the server's word: variables of its rewrite rules see the result.
    pub fn read_real_address(&self, exchange: &mut Exchange, location: &Location) {
        if let Some(real) = &location.real_ip {
            exchange.address = real_address(self, real, exchange);
        }
    }
}

fn real_address(
    client: &Client,
    real: &(Vec<access::Network>, Vec<u8>, bool),
    exchange: &Exchange,
) -> Option<SocketAddr> {
    let (from, header, recursive) = real;
    let trusted = |address: &IpAddr| from.iter().any(|network| network.has(address));
    if !trusted(&client.address.ip()) {
        return None;
    }
    if header == b"proxy_protocol" {
        return client.proxied.as_ref().map(|proxied| proxied.source);
    }
    let request = &exchange.request;
    let values: Vec<&[u8]> = request
        .headers
        .iter()
        .filter(|line| request.at(&line.name).eq_ignore_ascii_case(header))
        .map(|line| request.at(&line.value))
        .collect();
    let list = if header == b"x-forwarded-for" {
        values.join(&b',')
    } else {
        values.first()?.to_vec()
    };
    let mut found = None;
    for word in list.split(|byte| *byte == b',').rev() {
        let text = std::str::from_utf8(word.trim_ascii()).ok()?;
        let address = match (text.parse::<SocketAddr>(), text.parse::<IpAddr>()) {
            (Ok(address), _) => address,
            (_, Ok(ip)) => SocketAddr::new(ip, 0),
            _ => break,
        };
        found = Some(address);
        if !recursive || !trusted(&address.ip()) {
            break;
        }
    }
    found
}
