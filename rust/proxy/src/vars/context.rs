//! What the variables stand for while one request is served.

use crate::maps::Map;
use crate::proxied::Proxied;
use crate::request::Request;
use crate::snapshot::Location;
use crate::spool::Body;
use std::cell::RefCell;
use std::net::SocketAddr;

/// The parentheses of the regular expression that matched last.
#[derive(Default, Clone, Debug)]
pub struct Captures {
    text: Vec<u8>,
    spans: Vec<Option<(u32, u32)>>,
}

impl Captures {
    pub fn set(&mut self, subject: &[u8], found: &pcre2::bytes::CaptureLocations) {
        self.text.clear();
        self.text.extend_from_slice(subject);
        let spans = (0..found.len()).map(|at| found.get(at));
        self.spans.clear();
        self.spans
            .extend(spans.map(|span| span.map(|(from, to)| (from as u32, to as u32))));
    }

    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let (from, to) = (*self.spans.get(index)?)?;
        self.text.get(from as usize..to as usize)
    }
}

/// One try of a peer, for $upstream_*. Times in ms since the request began to be forwarded.
#[derive(Clone, Debug, Default)]
pub struct Try {
    pub peer: String,
    pub status: u16,
    pub started_ms: u64,
    pub connected_ms: Option<u64>,
    pub header_ms: Option<u64>,
    pub ended_ms: Option<u64>,
    pub length: u64,
    pub sent: u64,
    pub received: u64,
}

/// What the less common variables look at.
#[derive(Clone, Copy, Default)]
pub struct More<'a> {
    pub slots: &'a [Option<Vec<u8>>],
    pub captures: Option<&'a Captures>,
    pub maps: &'a [Map],
    pub location: Option<&'a Location>,
    pub status: u16,
    pub body_bytes: u64,
    pub head_bytes: u64,
    pub received: u64,
    pub body: Option<&'a Body>,
    pub proxied: Option<&'a Proxied>,
    pub sent: &'a [u8],
    pub reply: &'a [u8],
    pub tries: &'a [Try],
    pub started_ms: u64,
    pub connection: u64,
    pub requests: u64,
    pub complete: bool,
    pub pipelined: bool,
    /// Values of `maps` that are known already.
    pub mapped: Option<&'a RefCell<Vec<Option<Vec<u8>>>>>,
    pub trailers: &'a [u8],
    pub rate_verdict: &'a str,
    pub count_verdict: &'a str,
    pub connections: [u64; 4],
    /// The connection's own address, and since when it is.
    pub real: Option<&'a SocketAddr>,
    pub since_ms: u64,
    pub rate: u64,
}

/// What the variables stand for while one request is served.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub request: &'a Request,
    pub client: &'a SocketAddr,
    pub server: SocketAddr,
    pub server_name: &'a str,
    pub proxy_host: &'a str,
    pub request_id: u128,
    pub more: More<'a>,
}
