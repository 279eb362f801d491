//! TCP connections that are passed on as they are.

use super::{CountLimit, Log};
use serde::Deserialize;

/// `stream`.
#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    pub servers: Vec<StreamServer>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct StreamServer {
    pub listen: Vec<StreamListen>,
    pub action: StreamAction,
    pub access: Vec<(bool, String)>,
    pub counts: Vec<CountLimit>,
    pub sets: Vec<(String, String)>,
    pub logs: Vec<Log>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct StreamListen {
    pub address: String,
    pub port: u16,
}

#[derive(Deserialize, Clone)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum StreamAction {
    Return { text: String },
    Pass(StreamPass),
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct StreamPass {
    /// 'stream/NAME' of an upstream, or a text with variables.
    pub upstream: String,
    pub connect_timeout_ms: u64,
    pub timeout_ms: u64,
    pub next: bool,
    pub tries: usize,
    pub next_timeout_ms: u64,
    pub half_close: bool,
    pub buffer: usize,
    pub upload_rate: Option<String>,
    pub download_rate: Option<String>,
}
