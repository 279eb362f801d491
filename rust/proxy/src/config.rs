//! The snapshot as it crosses the border, JSON made by `trimaran.proxy.snapshot`. Durations are in
//! milliseconds, sizes in bytes.

mod manner;
mod stream;
mod upstreams;

pub use manner::*;
pub use stream::*;
pub use upstreams::*;

use serde::Deserialize;
use std::collections::HashMap;

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub servers: Vec<Server>,
    pub upstreams: Vec<Upstream>,
    pub types: HashMap<String, String>,
    pub default_type: String,
    pub limits: Limits,
    #[serde(default)]
    pub stream: Stream,
    /// How long connections from before a reload may go on; None: for ever.
    #[serde(default)]
    pub shutdown_timeout_ms: Option<u64>,
    /// Where relative paths that requests name begin.
    #[serde(default)]
    pub directory: String,
    /// error_log: (path, level).
    #[serde(default)]
    pub errors: Vec<(String, String)>,
    /// What answers call us, without and with its version.
    #[serde(default = "product")]
    pub product: (String, String),
    /// Variables that requests carry values of: those of `set` and of named groups.
    #[serde(default)]
    pub variables: Vec<String>,
    #[serde(default)]
    pub maps: Vec<Map>,
    #[serde(default)]
    pub rate_zones: Vec<RateZone>,
    #[serde(default)]
    pub count_zones: Vec<CountZone>,
}

/// A variable made of another: kind 'map', 'geo' or 'split' (keys are hundredths of a percent).
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Map {
    pub variable: String,
    pub kind: String,
    pub source: String,
    pub entries: Vec<(String, String)>,
    pub default: String,
    #[serde(default)]
    pub hostnames: bool,
    #[serde(default)]
    pub volatile: bool,
    /// geo: keys are ranges, of which the later counts.
    #[serde(default)]
    pub ranges: bool,
    /// geo: `proxy` and `proxy_recursive`.
    #[serde(default)]
    pub trusted: Vec<String>,
    #[serde(default)]
    pub recursive: bool,
}

/// limit_req_zone: `rate` is requests per 1000 seconds.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct RateZone {
    pub name: String,
    pub key: String,
    pub rate: u64,
    pub most: usize,
}

/// limit_conn_zone.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct CountZone {
    pub name: String,
    pub key: String,
    pub most: usize,
}

/// What the rewrite module does, in order.
#[derive(Deserialize, Clone)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Code {
    Set {
        variable: String,
        value: String,
    },
    Rewrite {
        pattern: String,
        replacement: String,
        flag: String,
    },
    Return {
        status: u16,
        text: String,
    },
    Break,
    /// `test` is '', '=', '!=', '~', '~*', '!~', '!~*', '-f', '!-f' and so on.
    If {
        test: String,
        left: String,
        right: String,
        then: Vec<Code>,
        location: Option<Box<Location>>,
    },
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct AddHeader {
    pub name: String,
    pub value: String,
    pub always: bool,
}

/// `expires`: the word or the seconds; `modified`: counted from Last-Modified.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Expires {
    pub value: String,
    pub modified: bool,
}

/// One access_log; `format` None is the combined one.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub path: String,
    pub format: Option<String>,
    pub escape: String,
    pub condition: Option<String>,
    /// buffer=…: lines may be written a second late.
    #[serde(default)]
    pub held: bool,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    pub realm: String,
    pub file: String,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    pub zone: String,
    pub burst: u64,
    /// Requests in the burst that are not delayed.
    pub delay: u64,
    pub dry_run: bool,
    #[serde(default = "error_level")]
    pub level: String,
    pub status: u16,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct CountLimit {
    pub zone: String,
    pub count: u64,
    pub dry_run: bool,
    #[serde(default = "error_level")]
    pub level: String,
    pub status: u16,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The longest request body; 0 is without limit.
    pub body_size: u64,
    /// The longest request line or header line.
    pub header_line: usize,
    /// All lines together may be so many times that.
    #[serde(default = "header_buffers")]
    pub header_buffers: usize,
    #[serde(default = "max_headers")]
    pub max_headers: usize,
    #[serde(default = "yes")]
    pub merge_slashes: bool,
    #[serde(default = "yes")]
    pub ignore_invalid_headers: bool,
    #[serde(default)]
    pub underscores_in_headers: bool,
    pub header_timeout_ms: u64,
    pub body_timeout_ms: u64,
    pub send_timeout_ms: u64,
}

fn product() -> (String, String) {
    ("trimaran".into(), "trimaran".into())
}

fn error_level() -> String {
    "error".into()
}

fn header_buffers() -> usize {
    4
}

fn max_headers() -> usize {
    1000
}

fn yes() -> bool {
    true
}

#[cfg(test)]
impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body_size: 0,
            header_line: 8192,
            header_buffers: 4,
            max_headers: 1000,
            merge_slashes: true,
            ignore_invalid_headers: true,
            underscores_in_headers: false,
            header_timeout_ms: 1,
            body_timeout_ms: 1,
            send_timeout_ms: 1,
        }
    }
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// None: those of the whole configuration. Those of an address's default server count.
    #[serde(default)]
    pub limits: Option<Limits>,
    pub listen: Vec<Listen>,
    pub names: Vec<String>,
    pub locations: Vec<Location>,
    pub keepalive_timeout_ms: u64,
    pub access_log: Option<String>,
    #[serde(default)]
    pub rewrite: Vec<Code>,
    /// What answers where no location fits.
    #[serde(default)]
    pub rest: Option<Location>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    pub address: String,
    pub port: u16,
    pub default_server: bool,
    #[serde(default)]
    pub proxy_protocol: bool,
}

#[derive(Deserialize, Default, Clone)]
#[serde(deny_unknown_fields)]
pub struct Location {
    #[serde(rename = "match")]
    pub matching: String,
    pub path: String,
    pub internal: bool,
    pub action: Action,
    pub error_pages: Vec<ErrorPage>,
    #[serde(default)]
    pub recursive_error_pages: bool,
    #[serde(default)]
    pub locations: Vec<Location>,
    #[serde(default)]
    pub rewrite: Vec<Code>,
    #[serde(default)]
    pub headers: Vec<AddHeader>,
    #[serde(default)]
    pub expires: Option<Expires>,
    /// None: those of the server.
    #[serde(default)]
    pub logs: Option<Vec<Log>>,
    #[serde(default)]
    pub body_size: Option<u64>,
    #[serde(default)]
    pub default_type: Option<String>,
    #[serde(default)]
    pub types: Option<HashMap<String, String>>,
    /// (allowed, network), the first that fits decides.
    #[serde(default)]
    pub access: Vec<(bool, String)>,
    #[serde(default)]
    pub basic: Option<Basic>,
    #[serde(default)]
    pub satisfy_any: bool,
    #[serde(default)]
    pub rates: Vec<RateLimit>,
    #[serde(default)]
    pub counts: Vec<CountLimit>,
    /// Candidates, and what comes when none is there: a URI, '@name' or '=STATUS'.
    #[serde(default)]
    pub try_files: Vec<String>,
    #[serde(default)]
    pub root: Option<String>,
    #[serde(default)]
    pub alias: bool,
    #[serde(default)]
    pub real_ip: Option<RealIp>,
    #[serde(default)]
    pub absolute_redirect: Option<bool>,
    /// (path, level); None: those of the whole configuration.
    #[serde(default)]
    pub errors: Option<Vec<(String, String)>>,
    #[serde(default = "yes")]
    pub log_not_found: bool,
    /// Of paths that alias replaces: how many bytes; None: it stands for the whole path.
    #[serde(default)]
    pub alias_skip: Option<usize>,
    /// auth_request: the path that is asked for leave.
    #[serde(default)]
    pub auth: Option<String>,
    /// (variable, value)
    #[serde(default)]
    pub auth_sets: Vec<(String, String)>,
    #[serde(default)]
    pub mirrors: Vec<String>,
    #[serde(default)]
    pub mirror_body: bool,
    #[serde(default)]
    pub manner: Box<Manner>,
    /// limit_except: the methods that it lets pass, and what holds for the others.
    #[serde(default)]
    pub except: Option<(Vec<String>, Box<Location>)>,
    #[serde(default)]
    pub body_timeout_ms: Option<u64>,
    #[serde(default)]
    pub send_timeout_ms: Option<u64>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct RealIp {
    pub from: Vec<String>,
    pub header: String,
    pub recursive: bool,
}

#[derive(Deserialize, Clone)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Action {
    Proxy {
        upstream: String,
        uri: Option<String>,
        set_headers: Vec<(String, String)>,
        connect_timeout_ms: u64,
        send_timeout_ms: u64,
        read_timeout_ms: u64,
        #[serde(default)]
        options: Box<ProxyOptions>,
    },
    Files {
        root: String,
        index: Vec<String>,
    },
    Status,
    Return {
        status: u16,
        text: String,
    },
}

/// The proxy_* directives that few locations have.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyOptions {
    pub method: Option<String>,
    pub body: Option<String>,
    pub pass_headers: bool,
    pub pass_body: bool,
    pub http_1_0: bool,
    /// Values of `proxy_redirect`: (from, to); None is 'default'.
    pub redirects: Option<Vec<(String, String)>>,
    pub hide: Vec<String>,
    pub pass: Vec<String>,
    pub intercept_errors: bool,
    /// Words of proxy_next_upstream; None is 'error timeout'.
    pub next: Option<Vec<String>>,
    pub next_tries: usize,
    pub next_timeout_ms: u64,
    /// (domain or path, from, to)
    pub cookies: Vec<(String, String, String)>,
    /// proxy_bind; '' is none.
    pub bind: String,
    /// Bytes per second that a peer is read at; 0: no limit.
    pub limit_rate: u64,
    /// Headers of a peer's answer that change nothing, in lower case.
    pub ignore: Vec<String>,
    /// The whole body is here before a peer is asked.
    pub request_buffering: bool,
    /// A longer body is kept in a file.
    pub body_memory: usize,
    /// 'off', 'on' (every body; the file stays) or 'clean' (it goes).
    pub body_in_file: String,
    pub body_directory: String,
    /// What of an answer is kept for a slow client, in memory and on disk; 0: none.
    pub buffers: usize,
    pub temp_most: u64,
    pub temp_directory: String,
}

impl Default for ProxyOptions {
    fn default() -> ProxyOptions {
        ProxyOptions {
            method: None,
            body: None,
            pass_headers: true,
            pass_body: true,
            http_1_0: false,
            redirects: None,
            hide: Vec::new(),
            pass: Vec::new(),
            intercept_errors: false,
            next: None,
            next_tries: 0,
            next_timeout_ms: 0,
            cookies: Vec::new(),
            bind: String::new(),
            limit_rate: 0,
            ignore: Vec::new(),
            request_buffering: false,
            body_memory: 16 << 10,
            body_in_file: "off".into(),
            body_directory: String::new(),
            buffers: 64 << 10,
            temp_most: 1 << 30,
            temp_directory: String::new(),
        }
    }
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct ErrorPage {
    pub statuses: Vec<u16>,
    pub uri: String,
    pub answer: Option<u16>,
}

impl Default for Action {
    fn default() -> Action {
        Action::Return {
            status: 404,
            text: String::new(),
        }
    }
}
