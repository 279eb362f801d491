//! The snapshot as it crosses the border, JSON made by `trimaran.proxy.snapshot`. Durations are in
//! milliseconds, sizes in bytes.

use serde::Deserialize;
use std::collections::HashMap;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub servers: Vec<Server>,
    pub upstreams: Vec<Upstream>,
    pub types: HashMap<String, String>,
    pub default_type: String,
    pub limits: Limits,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The longest request body; 0 is without limit.
    pub body_size: u64,
    /// The longest request line or header line; all lines together may be four times that.
    pub header_line: usize,
    pub header_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub send_timeout_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub listen: Vec<Listen>,
    pub names: Vec<String>,
    pub locations: Vec<Location>,
    pub keepalive_timeout_ms: u64,
    pub access_log: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    pub address: String,
    pub port: u16,
    pub default_server: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Location {
    #[serde(rename = "match")]
    pub matching: String,
    pub path: String,
    pub internal: bool,
    pub action: Action,
    pub error_pages: Vec<ErrorPage>,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Action {
    Proxy {
        upstream: String,
        uri: Option<String>,
        set_headers: Vec<(String, String)>,
        connect_timeout_ms: u64,
        send_timeout_ms: u64,
        read_timeout_ms: u64,
    },
    Files {
        root: String,
        index: Vec<String>,
    },
    Return {
        status: u16,
        text: String,
    },
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct ErrorPage {
    pub statuses: Vec<u16>,
    pub uri: String,
    pub answer: Option<u16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    pub name: String,
    pub peers: Vec<Peer>,
    pub keepalive: usize,
    pub keepalive_timeout_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    pub address: String,
    pub weight: u32,
    pub max_fails: u32,
    pub fail_timeout_ms: u64,
    pub backup: bool,
    pub down: bool,
}
