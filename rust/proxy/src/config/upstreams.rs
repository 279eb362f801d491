//! Where requests are forwarded to: upstreams and their peers.

use serde::Deserialize;

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    pub name: String,
    pub peers: Vec<Peer>,
    pub keepalive: usize,
    pub keepalive_timeout_ms: u64,
    #[serde(default = "thousand")]
    pub keepalive_requests: u64,
    #[serde(default = "hour")]
    pub keepalive_time_ms: u64,
    #[serde(default)]
    pub balance: Balance,
    #[serde(default)]
    pub sticky: Option<Sticky>,
    /// How many requests wait for a peer, and for how many ms.
    #[serde(default)]
    pub queue: Option<(usize, u64)>,
    /// Retries, in percent of the requests.
    #[serde(default)]
    pub retry_percent: Option<u32>,
}

fn thousand() -> u64 {
    1000
}

fn hour() -> u64 {
    3_600_000
}

/// `sticky`: what of a request names its session, and how sessions come to be.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Sticky {
    pub lookup: Vec<String>,
    pub cookie: Option<StickyCookie>,
    pub learn: Option<StickyLearn>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct StickyCookie {
    pub name: String,
    /// Seconds; the largest number is 'max', None is until the browser ends.
    pub expires: Option<u64>,
    pub domain: String,
    pub path: String,
    pub samesite: String,
    pub httponly: bool,
    pub secure: bool,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct StickyLearn {
    pub zone: String,
    /// How many sessions are remembered.
    pub most: usize,
    pub create: Vec<String>,
    pub timeout_ms: u64,
    pub at_head: bool,
}

/// '' (weighted turn), 'least_conn', 'least_time', 'ip_hash', 'hash', 'consistent' or 'random'.
#[derive(Deserialize, Default, Clone)]
#[serde(deny_unknown_fields)]
pub struct Balance {
    pub method: String,
    #[serde(default)]
    pub key: String,
    /// random: of two, the one with fewer connections, or (with `time`) the faster one.
    #[serde(default)]
    pub two: bool,
    /// What time is least: to the 'header' or to the 'last_byte'.
    #[serde(default)]
    pub time: String,
    #[serde(default)]
    pub inflight: bool,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    pub address: String,
    pub weight: u32,
    pub max_fails: u32,
    pub fail_timeout_ms: u64,
    pub backup: bool,
    pub down: bool,
    #[serde(default)]
    pub max_conns: u64,
    #[serde(default)]
    pub route: String,
    #[serde(default)]
    pub drain: bool,
    #[serde(default)]
    pub slow_start_ms: u64,
}
