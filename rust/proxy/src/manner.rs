//! What few locations say of how they answer, compiled.

use crate::chunked;
use crate::config;
use crate::conn::Client;
use crate::exchange::Exchange;
use crate::request::{Method, Request};
use crate::response;
use crate::sys;
use crate::vars::{Scope, Template};

pub struct Manner {
    /// The value of Server.
    pub server: String,
    pub server_name_in_redirect: bool,
    pub port_in_redirect: bool,
    pub modified: Modified,
    pub etag: bool,
    pub max_ranges: u32,
    pub chunked: bool,
    /// (name, value, also for errors)
    pub trailers: Vec<(Vec<u8>, Template, bool)>,
    pub auth_delay_ms: u64,
    pub rate: Option<Template>,
    pub rate_after: Option<Template>,
    keepalive_timeout_ms: Option<u64>,
    keepalive_header: Option<u64>,
    keepalive_requests: u64,
    keepalive_time_ms: u64,
    not_msie6: bool,
    not_safari: bool,
}

/// How If-Modified-Since is compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Modified {
    Exact,
    Before,
    Off,
}

impl Manner {
    pub fn compile(
        manner: config::Manner,
        product: &(String, String),
        scope: &Scope,
    ) -> Result<Manner, String> {
        let template =
            |text: Option<String>| text.map(|text| Template::compile(&text, scope)).transpose();
        let mut trailers = Vec::new();
        for each in manner.trailers {
            let value = Template::compile(&each.value, scope)?;
            trailers.push((each.name.into_bytes(), value, each.always));
        }
        let disabled = |name: &str| manner.keepalive_disable.iter().any(|each| each == name);
        Ok(Manner {
            server: match manner.server_tokens.as_str() {
                "on" => product.1.clone(),
                _ => product.0.clone(),
            },
            server_name_in_redirect: manner.server_name_in_redirect,
            port_in_redirect: manner.port_in_redirect,
            modified: match manner.if_modified_since.as_str() {
                "before" => Modified::Before,
                "off" => Modified::Off,
                _ => Modified::Exact,
            },
            etag: manner.etag,
            max_ranges: manner.max_ranges.unwrap_or(u32::MAX),
            chunked: manner.chunked,
            trailers,
            auth_delay_ms: manner.auth_delay_ms,
            not_msie6: disabled("msie6"),
            not_safari: disabled("safari"),
            rate: template(manner.limit_rate)?,
            rate_after: template(manner.limit_rate_after)?,
            keepalive_timeout_ms: manner.keepalive_timeout_ms,
            keepalive_header: manner.keepalive_header,
            keepalive_requests: manner.keepalive_requests.unwrap_or(u64::MAX),
            keepalive_time_ms: manner.keepalive_time_ms.unwrap_or(u64::MAX),
        })
    }
}

impl Client {
    /// Whether and how long the connection is kept, by the word of the location that answers.
    pub fn hold(&mut self, exchange: &mut Exchange) {
        let Some(snapshot) = exchange.snapshot.clone() else {
            return;
        };
        let server = &snapshot.servers[exchange.server];
        let Some(location) = server.locations.get(exchange.location.unwrap_or(0)) else {
            return;
        };
        let manner = &location.manner;
        let own = manner.keepalive_timeout_ms;
        self.keepalive_ms = own.unwrap_or(server.keepalive_timeout_ms);
        let old = manner.keepalive_time_ms < u64::MAX
            && sys::now_ms().saturating_sub(self.since_ms) > manner.keepalive_time_ms;
        exchange.keep &= self.keepalive_ms > 0
            && !old
            && self.served + 1 < manner.keepalive_requests
            && !(manner.not_msie6 && is_msie6(&exchange.request))
            && !(manner.not_safari && is_safari(&exchange.request));
    }

    /// Connection and Keep-Alive, and the end of the head.
    pub fn end_head(&mut self, exchange: &Exchange) {
        let snapshot = exchange.snapshot.as_deref();
        let location = snapshot.and_then(|snapshot| exchange.location_of(snapshot));
        let header = location.and_then(|location| location.manner.keepalive_header);
        if let Some(seconds) = header.filter(|_| exchange.keep) {
            self.out.extend_from_slice(b"Connection: keep-alive\r\n");
            response::header_shown(
                &mut self.out,
                "Keep-Alive",
                format_args!("timeout={seconds}"),
            );
            self.out.extend_from_slice(b"\r\n");
            return;
        }
        response::end(&mut self.out, exchange.keep);
    }

    /// How fast the answer may go, by the location's word unless `set` has said it.
    pub fn set_rate(&mut self, exchange: &Exchange) {
        let Some(snapshot) = exchange.snapshot.as_deref() else {
            return;
        };
        let Some(location) = exchange.location_of(snapshot) else {
            return;
        };
        let manner = &location.manner;
        let size = |text: &Option<Template>| {
            let value = text.as_ref()?.value(&exchange.context(self, snapshot, ""));
            size(&value)
        };
        if manner.rate.is_none() && self.rate == 0 {
            return;
        }
        let (rate, after) = (size(&manner.rate), size(&manner.rate_after));
        if !self.rate_set {
            self.rate = rate.unwrap_or(0);
        }
        if self.rate > 0 {
            self.rate_after = after.unwrap_or(0);
            self.rate_from_ms = exchange.started_ms;
            self.rate_sent = 0;
        }
    }

    /// How many bytes may go now; none: `pause_ms` says for how long.
    pub fn allowance(&mut self) -> usize {
        if self.rate == 0 {
            return usize::MAX;
        }
        let seconds = sys::now_ms().saturating_sub(self.rate_from_ms) / 1000 + 1;
        let most = self
            .rate
            .saturating_mul(seconds)
            .saturating_add(self.rate_after);
        if self.rate_sent < most {
            return usize::try_from(most - self.rate_sent).unwrap_or(usize::MAX);
        }
        self.pause_ms = (self.rate_sent - most) * 1000 / self.rate + 1;
        0
    }

    pub fn wants_trailers(&self, exchange: &Exchange, status: u16) -> bool {
        let Some(manner) = exchange.manner() else {
            return false;
        };
        let may = manner.chunked
            && exchange.request.minor == 1
            && exchange.request.method != Method::Head
            && !response::is_bodiless(status);
        let usual = is_usual(status);
        may && manner
            .trailers
            .iter()
            .any(|(_, _, always)| usual || *always)
    }

    /// The last chunk, and the location's trailers.
    pub fn end_chunks(&mut self, exchange: &mut Exchange) {
        let Some(snapshot) = exchange.snapshot.clone() else {
            return self.out.extend_from_slice(chunked::END);
        };
        self.out.extend_from_slice(b"0\r\n");
        let usual = is_usual(exchange.status);
        let location = exchange.location_of(&snapshot);
        let trailers = location.map(|location| &location.manner.trailers[..]);
        exchange.trailers.clear();
        for (name, value, always) in trailers.unwrap_or_default() {
            if !usual && !always {
                continue;
            }
            let value = value.value(&exchange.context(self, &snapshot, ""));
            if !value.is_empty() && !value.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
                response::header(&mut self.out, name, &value);
                exchange.trailers.push(b'\n');
                exchange.trailers.extend_from_slice(name);
                exchange.trailers.extend_from_slice(b": ");
                exchange.trailers.extend_from_slice(&value);
            }
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// The value of Server.
    pub fn product<'a>(&self, exchange: &'a Exchange) -> &'a str {
        let snapshot = exchange.snapshot.as_deref();
        let location = snapshot.and_then(|snapshot| {
            let server = &snapshot.servers[exchange.server];
            server.locations.get(exchange.location.unwrap_or(0))
        });
        location.map_or("trimaran", |location| &location.manner.server)
    }
}

/// Whether what a location adds is added without 'always'.
pub fn is_usual(status: u16) -> bool {
    matches!(
        status,
        200 | 201 | 204 | 206 | 301 | 302 | 303 | 304 | 307 | 308
    )
}

/// '12k' in bytes; None where it is no size.
pub fn size(text: &[u8]) -> Option<u64> {
    let (digits, unit) = match text.split_last()? {
        (b'k' | b'K', digits) => (digits, 10),
        (b'm' | b'M', digits) => (digits, 20),
        (b'g' | b'G', digits) => (digits, 30),
        _ => (text, 0),
    };
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    number.checked_mul(1 << unit)
}

fn is_msie6(request: &Request) -> bool {
    let agent = request.header(b"user-agent").unwrap_or_default();
    let at = agent.windows(5).position(|part| part == b"MSIE ");
    // Old ones lose the answer to a POST on a kept connection.
    request.method == Method::Once
        && at.is_some_and(|at| {
            matches!(agent.get(at + 5), Some(b'4' | b'5' | b'6'))
                && agent.get(at + 6) == Some(&b'.')
        })
}

fn is_safari(request: &Request) -> bool {
    let agent = request.header(b"user-agent").unwrap_or_default();
    let has = |word: &[u8]| agent.windows(word.len()).any(|part| part == word);
    has(b"Mac OS X") && has(b"Safari/") && !has(b"Chrome/")
}
