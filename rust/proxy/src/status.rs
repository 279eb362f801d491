//! Counters, events, and the status as docs/decisions/0002 has it.

use crate::balance::{Group, Peer, State, Told};
use crate::{sys, Shared};
use serde_json::{json, Map, Value};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What one worker's connections are at: written by that worker alone.
#[derive(Default)]
pub struct Gauge {
    reading: AtomicU64,
    writing: AtomicU64,
}

/// What a connection counts as in a `Gauge`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum At {
    #[default]
    Waiting,
    Reading,
    Writing,
}

impl Gauge {
    pub fn moved(&self, from: At, to: At) {
        let of = |at| match at {
            At::Waiting => None,
            At::Reading => Some(&self.reading),
            At::Writing => Some(&self.writing),
        };
        if let Some(from) = of(from) {
            from.store(from.load(Relaxed).saturating_sub(1), Relaxed);
        }
        if let Some(to) = of(to) {
            to.store(to.load(Relaxed) + 1, Relaxed);
        }
    }
}

/// Connections: open, reading, writing, waiting.
pub(crate) fn connections(shared: &Shared) -> [u64; 4] {
    let counters = &shared.counters;
    let closed = counters.closed.load(Relaxed);
    let live = counters.connections.load(Relaxed).saturating_sub(closed);
    let sum = |of: fn(&Gauge) -> &AtomicU64| -> u64 {
        shared
            .gauges
            .iter()
            .map(|gauge| of(gauge).load(Relaxed))
            .sum()
    };
    let (reading, writing) = (sum(|gauge| &gauge.reading), sum(|gauge| &gauge.writing));
    [
        live,
        reading,
        writing,
        live.saturating_sub(reading + writing),
    ]
}

#[derive(Default)]
pub struct Counters {
    pub connections: AtomicU64,
    pub panics: AtomicU64,
    pub closed: AtomicU64,
    requests: AtomicU64,
    classes: [AtomicU64; 5],
}

impl Counters {
    pub fn count(&self, status: u16) {
        self.requests.fetch_add(1, Relaxed);
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.classes[class].fetch_add(1, Relaxed);
    }
}

/// nginx's stub_status.
pub(crate) fn stub(shared: &Shared) -> String {
    let accepted = shared.counters.connections.load(Relaxed);
    let requests = shared.counters.requests.load(Relaxed) + 1;
    let [live, reading, writing, waiting] = connections(shared);
    format!(
        "Active connections: {live} \nserver accepts handled requests\n {accepted} {accepted} {requests} \n\
         Reading: {reading} Writing: {writing} Waiting: {waiting} \n"
    )
}

pub struct Event {
    pub up: bool,
    pub upstream: String,
    pub peer: String,
    pub cause: String,
}

impl Event {
    pub fn json(&self) -> String {
        let name = if self.up {
            "proxy.peer_up"
        } else {
            "proxy.peer_down"
        };
        json!({"name": name, "upstream": self.upstream, "peer": self.peer, "cause": self.cause})
            .to_string()
    }
}

pub(crate) fn status(shared: &Shared) -> String {
    let snapshot = shared.snapshot();
    let now_ms = sys::now_ms();
    let counters = &shared.counters;
    let mut responses = Map::new();
    for (index, count) in counters.classes.iter().enumerate() {
        let count = count.load(Relaxed);
        if count > 0 {
            responses.insert(format!("{}xx", index + 1), count.into());
        }
    }
    let (doors, more) = (shared.doors(), shared.stream_doors());
    let every = doors.iter().chain(more.iter());
    let listeners: Vec<String> = every.map(|door| door.address.to_string()).collect();
    let upstreams: Vec<Value> = snapshot
        .groups
        .iter()
        .map(|group| upstream(group, now_ms))
        .collect();
    json!({
        "listeners": listeners,
        "requests": counters.requests.load(Relaxed),
        "connections": counters.connections.load(Relaxed),
        "responses": responses,
        "panics": counters.panics.load(Relaxed),
        "upstreams": upstreams,
    })
    .to_string()
}

/// 'up', 'draining', 'unhealthy' (its probes say so), 'unavailable' (its answers say so), 'full' or
/// 'down' (the configuration says so).
fn condition(peer: &Peer, state: &State, now_ms: u64) -> &'static str {
    match state.told {
        _ if peer.down => "down",
        Told::Down => "unhealthy",
        Told::Drain => "draining",
        Told::Up if peer.drain => "draining",
        Told::Up if Group::is_well(peer, state, now_ms) => "up",
        Told::Up if peer.max_conns > 0 && state.live >= peer.max_conns => "full",
        Told::Up => "unavailable",
    }
}

fn upstream(group: &Group, now_ms: u64) -> Value {
    let states = group.states();
    let peers = group.peers.iter().zip(&states).map(|(peer, state)| {
        json!({
            "address": peer.name,
            "weight": peer.weight,
            "well": Group::is_well(peer, state, now_ms),
            "fails": state.fails,
            "requests": state.requests,
            "failures": state.failures,
            "active": state.live,
            "state": condition(peer, state, now_ms),
            "header_time_ms": state.header_ms,
            "response_time_ms": state.answer_ms,
        })
    });
    json!({"name": group.name, "peers": peers.collect::<Vec<_>>()})
}
