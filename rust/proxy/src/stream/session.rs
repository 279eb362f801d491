//! One connection that is passed on: access, limits, a peer, bytes both ways, a line in the log.
//!
//! ```text
//!     begin --refused--> over
//!       \--return--> Answering --sent--> over
//!       \--pass--> Connecting --connected--> Passing --one side ended--> over
//!                     \--failed--> the next peer, or over
//! ```

use super::compile::{Action, Pass, To};
use super::pump::{Moved, Pump, Ready};
use super::{token, Core};
use crate::address::Address;
use crate::balance::{Change, Group, Keepalive, Lease, Peer};
use crate::limits::Place;
use crate::manner::size;
use crate::request::Request;
use crate::rewrite::Target;
use crate::snapshot::Snapshot;
use crate::sys;
use crate::vars::{Captures, Context, More, Template, Try};
use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

const ROUNDS: usize = 32;

#[derive(PartialEq, Eq, Clone, Copy)]
enum Phase {
    Answering,
    Connecting,
    Passing,
}

pub struct Session {
    client: OwnedFd,
    index: u32,
    generation: u32,
    snapshot: Arc<Snapshot>,
    server: usize,
    pub address: SocketAddr,
    pub local: SocketAddr,
    pub serial: u64,
    pub started_ms: u64,
    phase: Phase,
    peer: Option<OwnedFd>,
    group: Option<Arc<Group>>,
    lease: Option<Lease>,
    tried: Vec<usize>,
    key: Vec<u8>,
    up: Pump,
    down: Pump,
    at_client: Ready,
    at_peer: Ready,
    deadline_ms: u64,
    status: u16,
    tries: Vec<Try>,
    slots: Vec<Option<Vec<u8>>>,
    mapped: RefCell<Vec<Option<Vec<u8>>>>,
    captures: Captures,
    places: Vec<Place>,
    verdict: &'static str,
    request: Request,
}

impl Session {
    pub fn new(
        client: OwnedFd,
        index: u32,
        generation: u32,
        snapshot: Arc<Snapshot>,
        server: usize,
    ) -> Session {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Session {
            client,
            index,
            generation,
            snapshot,
            server,
            address: nowhere,
            local: nowhere,
            serial: 0,
            started_ms: 0,
            phase: Phase::Answering,
            peer: None,
            group: None,
            lease: None,
            tried: Vec::new(),
            key: Vec::new(),
            up: Pump::default(),
            down: Pump::default(),
            at_client: Ready {
                read: true,
                write: true,
            },
            at_peer: Ready::default(),
            deadline_ms: 0,
            status: 0,
            tries: Vec::new(),
            slots: Vec::new(),
            mapped: RefCell::default(),
            captures: Captures::default(),
            places: Vec::new(),
            verdict: "",
            request: Request::default(),
        }
    }

    fn context<'a>(&'a self, snapshot: &'a Snapshot) -> Context<'a> {
        Context {
            request: &self.request,
            client: &self.address,
            server: self.local,
            server_name: "",
            proxy_host: "",
            request_id: 0,
            more: More {
                slots: &self.slots,
                captures: Some(&self.captures),
                maps: &snapshot.maps,
                mapped: Some(&self.mapped),
                status: self.status,
                body_bytes: self.down.went,
                received: self.up.came,
                tries: &self.tries,
                started_ms: self.started_ms,
                since_ms: self.started_ms,
                connection: self.serial,
                requests: 1,
                real: Some(&self.address),
                count_verdict: self.verdict,
                ..More::default()
            },
        }
    }

    fn value(&self, template: &Template) -> Vec<u8> {
        template.value(&self.context(&self.snapshot))
    }

    /// The other side of an event: what the sockets are ready for.
    pub fn note(&mut self, peer: bool, events: u32) {
        let ready = if peer {
            &mut self.at_peer
        } else {
            &mut self.at_client
        };
        ready.read |= events & (sys::READ | sys::READ_END | sys::BROKEN) != 0;
        ready.write |= events & (sys::WRITE | sys::BROKEN) != 0;
    }

    /// Accepted: what is to become of it. False: it is over.
    pub fn begin(&mut self, core: &mut Core) -> bool {
        let snapshot = self.snapshot.clone();
        let server = &snapshot.stream.servers[self.server];
        for limit in &server.counts {
            match limit.enter(&self.context(&snapshot)) {
                Ok(None) => {}
                Ok(place) => {
                    self.verdict = "PASSED";
                    self.places.extend(place);
                }
                Err(()) if limit.dry_run => self.verdict = "REJECTED_DRY_RUN",
                Err(()) => {
                    self.verdict = "REJECTED";
                    self.status = 503;
                    return false;
                }
            }
        }
        let address = self.address.ip();
        let rule = server
            .access
            .iter()
            .find(|(_, network)| network.has(&address));
        if rule.is_some_and(|(allowed, _)| !allowed) {
            self.status = 403;
            return false;
        }
        for (target, value) in &server.sets {
            let value = self.value(value);
            let (values, index) = match target {
                Target::Map(map) => (self.mapped.get_mut(), *map),
                Target::Slot(slot) => (&mut self.slots, *slot),
                Target::Args | Target::Rate => continue,
            };
            if values.len() <= index {
                values.resize(index + 1, None);
            }
            values[index] = Some(value);
        }
        match &server.action {
            Action::Return(text) => {
                let text = self.value(text);
                self.down.put(&text);
                self.status = 200;
                self.deadline_ms = core.now_ms + 60_000;
                self.drive(core)
            }
            Action::Pass(pass) => self.pass(core, pass) && self.drive(core),
        }
    }

    fn pass(&mut self, core: &mut Core, pass: &Pass) -> bool {
        let rate = |template: &Option<Template>| {
            let value = template.as_ref().map(|template| self.value(template));
            value.and_then(|value| size(&value)).unwrap_or(0)
        };
        let (upload, download) = (rate(&pass.upload_rate), rate(&pass.download_rate));
        (self.up.rate, self.down.rate) = (upload, download);
        let group = match &pass.to {
            To::Group(group) => Some(group.clone()),
            To::Named(name) => self.named(&self.value(name)),
        };
        let Some(group) = group else {
            self.status = 500;
            return false;
        };
        self.key = group.method.key(&self.context(&self.snapshot));
        self.group = Some(group);
        self.next_peer(core, pass)
    }

    /// The group that a variable names, or one of its own for an address.
    fn named(&self, name: &[u8]) -> Option<Arc<Group>> {
        let name = std::str::from_utf8(name).ok()?;
        let groups = &self.snapshot.groups;
        let full = format!("stream/{name}");
        if let Some(group) = groups.iter().find(|group| group.name == full) {
            return Some(group.clone());
        }
        let address = Address::parse(name)?;
        let keepalive = Keepalive {
            most: 0,
            timeout_ms: 0,
            requests: 0,
            time_ms: 0,
        };
        let peers = vec![Peer::new(name, address)];
        Some(Arc::new(Group::new(u32::MAX, full, peers, keepalive)))
    }

    /// Choose a peer and connect to it. False: there is none.
    fn next_peer(&mut self, core: &mut Core, pass: &Pass) -> bool {
        let Some(group) = self.group.clone() else {
            return false;
        };
        let until_ms = match pass.next_timeout_ms {
            0 => u64::MAX,
            ms => self.started_ms + ms,
        };
        let most = match (pass.next, pass.tries) {
            (false, _) => 1,
            (true, 0) => group.tries(),
            (true, tries) => tries.min(group.tries()),
        };
        while self.tried.is_empty() || self.tried.len() < most && core.now_ms < until_ms {
            let Some(index) = group.pick(&self.tried, core.now_ms, &self.key, b"") else {
                self.note_try(
                    core,
                    &group.name[group.name.find('/').map_or(0, |at| at + 1)..],
                );
                break;
            };
            self.lease = Some(Lease::new(group.clone(), index, core.now_ms));
            let peer = &group.peers[index];
            self.note_try(core, &peer.address.to_string());
            let connected = sys::connect(&peer.address, None).and_then(|fd| {
                let token = token(self.generation, self.index, true);
                sys::epoll_add(&core.epoll, fd.as_raw_fd(), token, sys::CONNECTION)?;
                Ok(fd)
            });
            match connected {
                Ok(fd) => {
                    self.peer = Some(fd);
                    self.at_peer = Ready::default();
                    self.phase = Phase::Connecting;
                    self.deadline_ms = core.now_ms + pass.connect_timeout_ms;
                    return true;
                }
                Err(error) => self.failed(core, &error.to_string()),
            }
        }
        self.status = 502;
        false
    }

    fn note_try(&mut self, core: &Core, peer: &str) {
        self.tries.push(Try {
            peer: peer.into(),
            started_ms: core.now_ms,
            ..Try::default()
        });
    }

    /// The peer is not to be had.
    fn failed(&mut self, core: &mut Core, cause: &str) {
        self.peer = None;
        if let Some(last) = self.tries.last_mut() {
            last.ended_ms = Some(core.now_ms);
        }
        let Some(lease) = self.lease.take() else {
            return;
        };
        if let Change::Down = lease.group.failed(lease.peer, core.now_ms) {
            let peer = &lease.group.peers[lease.peer].name;
            core.shared.event(false, &lease.group.name, peer, cause);
        }
        self.tried.push(lease.peer);
    }

    /// Do all that can be done now. False: it is over.
    pub fn drive(&mut self, core: &mut Core) -> bool {
        let snapshot = self.snapshot.clone();
        let going = match (&snapshot.stream.servers[self.server].action, self.phase) {
            (Action::Pass(pass), Phase::Connecting) => {
                self.connecting(core, pass) && self.passing(core, pass)
            }
            (Action::Pass(pass), Phase::Passing) => self.passing(core, pass),
            _ => self.answering(),
        };
        if going {
            core.wheel.set(self.index, self.deadline_ms);
        }
        going
    }

    fn answering(&mut self) -> bool {
        while let Ok(Moved::Some) = self.down.give(&self.client, &mut self.at_client) {}
        if !self.down.is_empty() {
            return !self.at_client.write;
        }
        sys::shutdown_write(&self.client);
        false
    }

    /// Whether the connection is there; what a failure brings.
    fn connecting(&mut self, core: &mut Core, pass: &Pass) -> bool {
        while self.phase == Phase::Connecting && (self.at_peer.read || self.at_peer.write) {
            let Some(peer) = &self.peer else {
                return false;
            };
            let mut scratch = std::mem::take(&mut core.scratch);
            let result = sys::recv(peer, &mut scratch[..pass.buffer.min(16 << 10)]);
            if let Ok(count) = result {
                self.down.put(&scratch[..count]);
                self.down.came += count as u64;
                self.down.ended = count == 0;
            }
            core.scratch = scratch;
            match result {
                Err(error) if error.kind() != ErrorKind::WouldBlock => {
                    self.failed(core, &format!("connect: {error}"));
                    if !self.next_peer(core, pass) {
                        return false;
                    }
                }
                _ => self.connected(core, pass),
            }
        }
        true
    }

    fn connected(&mut self, core: &mut Core, pass: &Pass) {
        self.phase = Phase::Passing;
        self.deadline_ms = core.now_ms + pass.timeout_ms;
        if let Some(last) = self.tries.last_mut() {
            last.connected_ms = Some(core.now_ms);
        }
        if let Some(lease) = &self.lease {
            if let Change::Up = lease.group.succeeded(lease.peer, core.now_ms) {
                let peer = &lease.group.peers[lease.peer].name;
                let cause = "a connection to it succeeded";
                core.shared.event(true, &lease.group.name, peer, cause);
            }
        }
    }

    fn passing(&mut self, core: &mut Core, pass: &Pass) -> bool {
        if self.phase == Phase::Connecting {
            return true;
        }
        let mut scratch = std::mem::take(&mut core.scratch);
        let result = self.move_bytes(core.now_ms, pass, &mut scratch);
        core.scratch = scratch;
        let (moved, pause_ms, more) = match result {
            Ok(result) => result,
            Err(_) => {
                self.status = 200;
                return false;
            }
        };
        if self.down.came > 0 {
            if let Some(last) = self.tries.last_mut() {
                last.header_ms.get_or_insert(core.now_ms);
            }
        }
        if self.ends(pass) {
            self.status = 200;
            return false;
        }
        if more {
            core.again.push(self.index);
        }
        if moved {
            self.deadline_ms = core.now_ms + pass.timeout_ms;
        }
        if pause_ms < u64::MAX {
            self.deadline_ms = core.now_ms + pause_ms;
        }
        true
    }

    /// Whether bytes moved, for how long a rate forbids more, whether there is more to do.
    fn move_bytes(
        &mut self,
        now_ms: u64,
        pass: &Pass,
        scratch: &mut [u8],
    ) -> std::io::Result<(bool, u64, bool)> {
        let Some(peer) = &self.peer else {
            return Ok((false, u64::MAX, false));
        };
        let age_ms = now_ms.saturating_sub(self.started_ms);
        let (mut any, mut pause_ms) = (false, u64::MAX);
        for _ in 0..ROUNDS {
            let moves = [
                self.up.take(
                    &self.client,
                    &mut self.at_client,
                    scratch,
                    pass.buffer,
                    age_ms,
                )?,
                self.up.give(peer, &mut self.at_peer)?,
                self.down
                    .take(peer, &mut self.at_peer, scratch, pass.buffer, age_ms)?,
                self.down.give(&self.client, &mut self.at_client)?,
            ];
            if pass.half_close {
                half_close(&mut self.up, peer);
                half_close(&mut self.down, &self.client);
            }
            let moved = moves.contains(&Moved::Some);
            for each in moves {
                if let Moved::Pause(ms) = each {
                    pause_ms = pause_ms.min(ms);
                }
            }
            any |= moved;
            if !moved {
                return Ok((any, pause_ms, false));
            }
        }
        Ok((any, pause_ms, true))
    }

    /// One side said its last, and the other has all of it.
    fn ends(&self, pass: &Pass) -> bool {
        let over = |pump: &Pump| pump.ended && pump.is_empty();
        if pass.half_close {
            return over(&self.up) && over(&self.down);
        }
        over(&self.down) || over(&self.up)
    }

    /// The time is up, or a rate allows more. False: it is over.
    pub fn timed_out(&mut self, core: &mut Core) -> bool {
        if self.deadline_ms > core.now_ms {
            core.wheel.set(self.index, self.deadline_ms);
            return true;
        }
        let snapshot = self.snapshot.clone();
        match (&snapshot.stream.servers[self.server].action, self.phase) {
            (Action::Pass(pass), Phase::Connecting) => {
                self.failed(core, "no connection in time");
                self.next_peer(core, pass) && self.drive(core)
            }
            (Action::Pass(pass), Phase::Passing) if self.up.rate + self.down.rate > 0 => {
                self.deadline_ms = core.now_ms + pass.timeout_ms;
                self.drive(core)
            }
            _ => {
                self.status = 200;
                false
            }
        }
    }

    /// Count the session and log it.
    pub fn account(&mut self, core: &mut Core) {
        if let Some(last) = self.tries.last_mut() {
            last.ended_ms.get_or_insert(core.now_ms);
            last.sent = self.up.went;
            last.received = self.down.came;
        }
        if self.peer.is_none() {
            // A close over unread input would tell the client of an error before the answer.
            sys::shutdown_write(&self.client);
        }
        self.places.clear();
        core.shared.counters.count(self.status);
        let snapshot = self.snapshot.clone();
        let context = self.context(&snapshot);
        for log in &snapshot.stream.servers[self.server].logs {
            let condition = log.condition.as_ref().map(|test| test.value(&context));
            if condition.is_some_and(|value| value.is_empty() || value == b"0") {
                continue;
            }
            if let Some(format) = &log.format {
                core.logs.write_formatted(&log.file, format, &context);
            }
        }
    }
}

fn half_close(pump: &mut Pump, to: &OwnedFd) {
    if pump.ended && pump.is_empty() && !pump.told {
        sys::shutdown_write(to);
        pump.told = true;
    }
}
