//! Counters, events, and the status as docs/decisions/0002 has it.

use crate::balance::{Group, Peer, State, Told};
use crate::{sys, Shared};
use serde_json::{json, Map, Value};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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

/// nginx's stub_status. Connections that are open are not counted apart from those that work.
pub fn stub(counters: &Counters) -> String {
    let accepted = counters.connections.load(Relaxed);
    let live = accepted.saturating_sub(counters.closed.load(Relaxed));
    let requests = counters.requests.load(Relaxed) + 1;
    format!(
        "Active connections: {live} \nserver accepts handled requests\n {accepted} {accepted} {requests} \n\
         Reading: 0 Writing: 1 Waiting: {} \n",
        live.saturating_sub(1)
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
    let doors = shared.doors();
    let listeners: Vec<String> = doors.iter().map(|door| door.address.to_string()).collect();
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
