//! How a location answers, apart from what.

use super::AddHeader;
use serde::Deserialize;

/// What few locations say of how they answer.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, default)]
pub struct Manner {
    /// server_tokens: 'on', 'off', or a text.
    pub server_tokens: String,
    pub server_name_in_redirect: bool,
    pub port_in_redirect: bool,
    /// if_modified_since: 'exact', 'before' or 'off'.
    pub if_modified_since: String,
    pub etag: bool,
    pub max_ranges: Option<u32>,
    pub chunked: bool,
    pub trailers: Vec<AddHeader>,
    pub auth_delay_ms: u64,
    pub limit_rate: Option<String>,
    pub limit_rate_after: Option<String>,
    pub keepalive_timeout_ms: Option<u64>,
    /// Seconds, told in a header.
    pub keepalive_header: Option<u64>,
    pub keepalive_requests: Option<u64>,
    pub keepalive_time_ms: Option<u64>,
    /// Browsers that are not to be kept: 'msie6', 'safari'.
    pub keepalive_disable: Vec<String>,
}

impl Default for Manner {
    fn default() -> Manner {
        Manner {
            server_tokens: "on".into(),
            server_name_in_redirect: false,
            port_in_redirect: true,
            if_modified_since: "exact".into(),
            etag: true,
            max_ranges: None,
            chunked: true,
            trailers: Vec::new(),
            auth_delay_ms: 0,
            limit_rate: None,
            limit_rate_after: None,
            keepalive_timeout_ms: None,
            keepalive_header: None,
            keepalive_requests: None,
            keepalive_time_ms: None,
            keepalive_disable: Vec::new(),
        }
    }
}
