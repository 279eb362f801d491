//! A request's head: parsed once, strictly, as ranges of the connection's buffer.
//!
//! Refused with 400: what a backend might read differently than we do (RFC 9112 §5-6, §11.2).

use crate::config::Limits;
use std::mem::MaybeUninit;
use std::ops::Range;

pub const MOST_HEADERS: usize = 128;

pub type Span = Range<u32>;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Method {
    #[default]
    Get,
    Head,
    /// May change something each time it is sent: never sent twice.
    Once,
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Body {
    #[default]
    None,
    Length(u64),
    Chunked,
}

#[derive(Clone, Debug)]
pub struct Header {
    pub name: Span,
    pub value: Span,
}

/// What the status is, and whose words explain it in the log.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal(pub u16, pub &'static str);

const BAD: fn(&'static str) -> Refusal = |why| Refusal(400, why);

#[derive(Default, Debug)]
pub struct Request {
    /// The head's own bytes, up to and with the empty line.
    pub head: Vec<u8>,
    pub method: Method,
    pub method_name: Span,
    /// The target as it came, from the path on ('/a%20b?c'), and its parts.
    pub target: Span,
    pub args: Option<Span>,
    pub line_start: u32,
    pub line_end: u32,
    /// Of the head as it came.
    pub length: usize,
    pub minor: u8,
    pub headers: Vec<Header>,
    /// The path decoded, without '.', '..' and doubled slashes.
    pub uri: Vec<u8>,
    /// Host in lower case, without port and trailing dot; empty if there is none.
    pub host: Vec<u8>,
    pub host_header: Option<Span>,
    pub body: Body,
    pub keepalive: bool,
    pub expect_continue: bool,
    /// There is a Connection header, which may name headers that end here.
    pub has_connection: bool,
}

impl Request {
    pub fn at(&self, span: &Span) -> &[u8] {
        &self.head[span.start as usize..span.end as usize]
    }

    /// The first header of this name (any case).
    pub fn header(&self, name: &[u8]) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|header| self.at(&header.name).eq_ignore_ascii_case(name))
            .map(|header| self.at(&header.value))
    }

    /// Other arguments than those that came; the text goes behind the head's.
    pub fn set_args(&mut self, args: &[u8]) {
        let start = self.head.len() as u32;
        self.head.extend_from_slice(args);
        self.args = (!args.is_empty()).then_some(start..start + args.len() as u32);
    }

    /// For an internal redirect, which asks by GET whatever the client asked by.
    pub fn become_get(&mut self) {
        if self.method != Method::Head {
            let start = self.head.len() as u32;
            self.head.extend_from_slice(b"GET");
            self.method = Method::Get;
            self.method_name = start..start + 3;
        }
    }

    pub fn request_line(&self) -> &[u8] {
        &self.head[self.line_start as usize..self.line_end as usize]
    }

    /// Whether Connection names this header as one that ends at this hop.
    pub fn ends_here(&self, name: &[u8]) -> bool {
        let named = |header: &Header| {
            is(self.at(&header.name), b"connection") && has_token(self.at(&header.value), name)
        };
        self.has_connection && self.headers.iter().any(named)
    }

    /// Whether the client would speak another protocol on this connection (RFC 9110 §7.8).
    pub fn asks_to_switch(&self) -> bool {
        let bare = self.has_connection && self.minor == 1 && self.body == Body::None;
        bare && self.ends_here(b"upgrade") && self.header(b"upgrade").is_some()
    }

    /// Parse the head at the start of `input`: its length, or None while it is not whole.
    pub fn parse(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        let mut slots = [const { MaybeUninit::uninit() }; MOST_HEADERS];
        let mut parsed = httparse::Request::new(&mut []);
        let mut result = parsed.parse_with_uninit_headers(input, &mut slots);
        let mut many = Vec::new();
        if matches!(result, Err(httparse::Error::TooManyHeaders)) {
            many.resize_with(
                limits.max_headers.max(MOST_HEADERS) + 1,
                MaybeUninit::uninit,
            );
            parsed = httparse::Request::new(&mut []);
            result = parsed.parse_with_uninit_headers(input, &mut many);
        }
        let length = match result {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return still_within(input, limits).map(|()| None),
            Err(httparse::Error::Version) => return Err(bad_version(input)),
            Err(httparse::Error::TooManyHeaders) => return Err(BAD("too many headers")),
            Err(_) => return Err(BAD("malformed head")),
        };
        if parsed.headers.len() > limits.max_headers {
            return Err(BAD("too many headers"));
        }
        let base = input.as_ptr() as usize;
        let span = |part: &[u8]| {
            let start = (part.as_ptr() as usize - base) as u32;
            start..start + part.len() as u32
        };
        self.head.clear();
        self.head.extend_from_slice(&input[..length]);
        self.length = length;
        let (method, path) = (parsed.method.unwrap_or(""), parsed.path.unwrap_or(""));
        self.minor = parsed.version.unwrap_or(1);
        self.method = method_kind(method)?;
        self.method_name = span(method.as_bytes());
        self.line_start = self.method_name.start;
        self.target = span(path.as_bytes());
        self.line_end = self.target.end + 9; // ' HTTP/1.x'
        self.headers.clear();
        for header in parsed.headers.iter() {
            if header.name.len() + header.value.len() > limits.header_line {
                return Err(BAD("header line too long"));
            }
            let name = header.name.as_bytes();
            let good = |byte: &u8| {
                byte.is_ascii_alphanumeric()
                    || *byte == b'-'
                    || *byte == b'_' && limits.underscores_in_headers
            };
            // A backend may read X_Real_IP as X-Real-IP: such names are dropped, as in nginx.
            if limits.ignore_invalid_headers && !name.iter().all(good) {
                continue;
            }
            self.headers.push(Header {
                name: span(header.name.as_bytes()),
                value: span(header.value.trim_ascii()),
            });
        }
        if path.len() > limits.header_line {
            return Err(Refusal(414, "request line too long"));
        }
        self.read_headers()?;
        self.read_target(limits)?;
        Ok(Some(length))
    }

    fn read_headers(&mut self) -> Result<(), Refusal> {
        self.host_header = None;
        self.has_connection = false;
        self.expect_continue = false;
        self.keepalive = self.minor == 1;
        let (mut length, mut chunked, mut closes) = (None, false, false);
        let mut seen = 0u8;
        for index in 0..self.headers.len() {
            let Header { name, value } = self.headers[index].clone();
            let (name, content) = (self.at(&name), self.at(&value));
            if let Some(bit) = unique(name) {
                if seen & bit != 0 {
                    return Err(BAD("a header twice that may be there once"));
                }
                seen |= bit;
            }
            if is(name, b"host") {
                if self.host_header.replace(value).is_some() {
                    return Err(BAD("two Host headers"));
                }
            } else if is(name, b"content-length") {
                if length.replace(number(content)?).is_some() {
                    return Err(BAD("two Content-Length headers"));
                }
            } else if is(name, b"transfer-encoding") {
                if chunked || self.minor == 0 || !is(content, b"chunked") {
                    return Err(BAD("Transfer-Encoding other than one 'chunked'"));
                }
                chunked = true;
            } else if is(name, b"connection") {
                let (close, keep) = (
                    has_token(content, b"close"),
                    has_token(content, b"keep-alive"),
                );
                closes |= close;
                self.keepalive |= keep;
                self.has_connection = true;
            } else if is(name, b"expect") {
                self.expect_continue = self.minor == 1 && is(content, b"100-continue");
            }
        }
        self.keepalive &= !closes;
        self.body = match (length, chunked) {
            (Some(_), true) => return Err(BAD("Content-Length and Transfer-Encoding")),
            (None, true) => Body::Chunked,
            (None | Some(0), false) => Body::None,
            (Some(length), false) => Body::Length(length),
        };
        Ok(())
    }

    fn read_target(&mut self, limits: &Limits) -> Result<(), Refusal> {
        let whole = self.target.clone();
        let mut authority = None;
        if self.at(&self.method_name) == b"CONNECT" {
            return Err(self.connect());
        }
        if !self.at(&whole).starts_with(b"/") {
            authority = Some(self.absolute_form()?);
        }
        if self.host_header.is_none() && self.minor == 1 {
            return Err(BAD("no Host header"));
        }
        // A fragment is the client's own: what it asks for ends before.
        if let Some(at) = self.at(&self.target).iter().position(|byte| *byte == b'#') {
            self.target.end = self.target.start + at as u32;
        }
        let target = self.at(&self.target);
        let question = target.iter().position(|byte| *byte == b'?');
        let path_end = question.unwrap_or(target.len());
        let mut uri = std::mem::take(&mut self.uri);
        uri.clear();
        let path = &self.at(&self.target)[..path_end];
        let normal = normalise(path, limits.merge_slashes, &mut uri);
        self.uri = uri;
        normal?;
        self.args = question.map(|at| self.target.start + at as u32 + 1..self.target.end);
        let mut host = std::mem::take(&mut self.host);
        host.clear();
        let named = authority.or_else(|| self.host_header.clone());
        let valid = match named {
            Some(span) => read_host(self.at(&span), &mut host),
            None => Ok(()),
        };
        self.host = host;
        valid
    }

    /// 'http://host/path': the target becomes the path, and the host beats the Host header
    /// (RFC 9112 §3.2.2).
    fn absolute_form(&mut self) -> Result<Span, Refusal> {
        let target = self.at(&self.target);
        let scheme = [b"http://".as_slice(), b"https://"]
            .into_iter()
            .find(|scheme| {
                target.len() > scheme.len() && target[..scheme.len()].eq_ignore_ascii_case(scheme)
            })
            .ok_or(BAD("malformed request target"))?;
        let rest = &target[scheme.len()..];
        let path = |byte: &u8| matches!(byte, b'/' | b'?' | b'#');
        let end = rest.iter().position(path).unwrap_or(rest.len());
        let start = self.target.start + scheme.len() as u32;
        let host = start..start + end as u32;
        if rest.get(end) == Some(&b'/') {
            self.target.start = host.end;
            return Ok(host);
        }
        // No path: '/' stands for it, behind the head.
        let tail = host.end as usize..self.target.end as usize;
        self.target.start = self.head.len() as u32;
        self.head.push(b'/');
        self.head.extend_from_within(tail);
        self.target.end = self.head.len() as u32;
        Ok(host)
    }

    /// CONNECT asks for a tunnel: not here, and 400 where it does not even name a host and a port.
    fn connect(&self) -> Refusal {
        let target = self.at(&self.target);
        let colon = target.iter().rposition(|byte| *byte == b':');
        let named = colon.is_some_and(|at| {
            at > 0 && at + 1 < target.len() && target[at + 1..].iter().all(u8::is_ascii_digit)
        });
        if named {
            Refusal(405, "CONNECT")
        } else {
            BAD("CONNECT without host and port")
        }
    }
}

fn is(left: &[u8], right: &[u8]) -> bool {
    left.eq_ignore_ascii_case(right)
}

/// A bit for each header that a request may have once only (those of framing apart).
fn unique(name: &[u8]) -> Option<u8> {
    const NAMES: [&[u8]; 8] = [
        b"if-modified-since",
        b"if-unmodified-since",
        b"if-match",
        b"if-none-match",
        b"content-range",
        b"if-range",
        b"expect",
        b"authorization",
    ];
    let at = NAMES
        .iter()
        .position(|each| each.len() == name.len() && is(name, each))?;
    Some(1 << at)
}

pub fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',')
        .any(|word| word.trim_ascii().eq_ignore_ascii_case(token))
}

/// Content-Length: digits and nothing else.
pub fn number(text: &[u8]) -> Result<u64, Refusal> {
    let digits = !text.is_empty() && text.len() <= 18 && text.iter().all(u8::is_ascii_digit);
    if !digits {
        return Err(BAD("Content-Length is not a number"));
    }
    Ok(text
        .iter()
        .fold(0, |sum, byte| sum * 10 + u64::from(byte - b'0')))
}

/// 505 only for what is a request line but for its version's number.
fn bad_version(input: &[u8]) -> Refusal {
    let line = input.trim_ascii_start().split(|byte| *byte == b'\n').next();
    let mut words = line.unwrap_or_default().split(|byte| *byte == b' ').skip(2);
    match (words.next(), words.next()) {
        (Some(version), None) if version.starts_with(b"HTTP/") => Refusal(505, "HTTP version"),
        _ => BAD("malformed request line"),
    }
}

fn method_kind(name: &str) -> Result<Method, Refusal> {
    match name {
        "GET" => Ok(Method::Get),
        "HEAD" => Ok(Method::Head),
        "POST" | "PATCH" | "LOCK" => Ok(Method::Once),
        "TRACE" => Err(Refusal(405, "method")),
        _ => Ok(Method::Other),
    }
}

/// Whether a head that is not whole yet may still grow.
fn still_within(input: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let text = &input[input
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))
        .unwrap_or(input.len())..];
    if text.len() > limits.header_line && !text[..limits.header_line].contains(&b'\n') {
        return Err(Refusal(414, "request line too long"));
    }
    if input.len() > limits.header_line * limits.header_buffers {
        return Err(BAD("request head too long"));
    }
    Ok(())
}

/// Percent-decoding, then '.', '..' and doubled slashes, in one pass over '/'-separated parts.
pub fn normalise(path: &[u8], merge: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let plain = !path.contains(&b'%')
        && !path
            .windows(2)
            .any(|pair| merge && pair == b"//" || pair == b"/.");
    if plain {
        out.extend_from_slice(path);
        return Ok(());
    }
    let mut decoded = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        if path[at] == b'%' {
            let hex = path.get(at + 1..at + 3).and_then(|pair| {
                let text = std::str::from_utf8(pair).ok()?;
                let digits = pair.iter().all(u8::is_ascii_hexdigit);
                digits.then(|| u8::from_str_radix(text, 16).ok())?
            });
            match hex {
                None | Some(0) => return Err(BAD("bad percent-encoding")),
                Some(byte) => decoded.push(byte),
            }
            at += 3;
        } else {
            decoded.push(path[at]);
            at += 1;
        }
    }
    let start = out.len();
    let last = decoded.split(|byte| *byte == b'/').count() - 1;
    for (index, part) in decoded.split(|byte| *byte == b'/').enumerate() {
        match part {
            b"" if index == 0 || merge || index == last => {}
            b"." => {}
            b"" => out.push(b'/'),
            b".." => {
                if out.len() == start {
                    return Err(BAD("path climbs above the root"));
                }
                let slash = out[start..].iter().rposition(|byte| *byte == b'/');
                out.truncate(start + slash.unwrap_or(0));
            }
            _ => {
                out.push(b'/');
                out.extend_from_slice(part);
            }
        }
        if index == last && matches!(part, b"" | b"." | b"..") {
            out.push(b'/');
        }
    }
    Ok(())
}

fn read_host(text: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    let name = if text.starts_with(b"[") {
        let end = text.iter().position(|byte| *byte == b']');
        let end = end.ok_or(BAD("malformed Host"))?;
        port(&text[end + 1..])?;
        &text[..=end]
    } else {
        let end = text.iter().position(|byte| *byte == b':');
        port(&text[end.unwrap_or(text.len())..])?;
        &text[..end.unwrap_or(text.len())]
    };
    let dots = name.windows(2).any(|pair| pair == b"..");
    let name = name.strip_suffix(b".").unwrap_or(name);
    let good = |byte: &u8| {
        byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%[]:".contains(byte) || *byte >= 0x80
    };
    if name.is_empty() || dots || !name.iter().all(good) {
        return Err(BAD("malformed Host"));
    }
    out.extend(name.iter().map(u8::to_ascii_lowercase));
    Ok(())
}

fn port(text: &[u8]) -> Result<(), Refusal> {
    match text {
        [] => Ok(()),
        [b':'] => Ok(()),
        [b':', digits @ ..] if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => {
            let value = digits
                .iter()
                .fold(0, |sum, each| sum * 10 + u32::from(each - b'0'));
            if value <= 65535 {
                return Ok(());
            }
            Err(BAD("malformed Host"))
        }
        _ => Err(BAD("malformed Host")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Request, u16> {
        let mut request = Request::default();
        let limits = Limits {
            header_line: 200,
            ..Limits::default()
        };
        match request.parse(text.as_bytes(), &limits) {
            Ok(Some(length)) => {
                assert_eq!(length, text.len());
                Ok(request)
            }
            Ok(None) => Err(0),
            Err(Refusal(status, _)) => Err(status),
        }
    }

    #[test]
    fn reads_what_the_proxy_needs() {
        let request = parse(
            "POST /a/./b%20c?d=e HTTP/1.1\r\nHost: Example.COM:80\r\nContent-Length: 5\r\n\r\n",
        )
        .unwrap();
        assert_eq!(request.uri, b"/a/b c");
        assert_eq!(request.at(&request.target), b"/a/./b%20c?d=e");
        assert_eq!(request.at(&request.args.clone().unwrap()), b"d=e");
        assert_eq!(request.host, b"example.com");
        assert_eq!(request.body, Body::Length(5));
        assert_eq!(request.method, Method::Once);
        assert_eq!(request.request_line(), b"POST /a/./b%20c?d=e HTTP/1.1");
        assert!(request.keepalive);
    }

    #[test]
    fn the_absolute_form_beats_host() {
        let request = parse("GET http://A.b/c HTTP/1.1\r\nHost: other\r\n\r\n").unwrap();
        assert_eq!(
            (request.host.as_slice(), request.uri.as_slice()),
            (b"a.b".as_slice(), b"/c".as_slice())
        );
    }

    #[test]
    fn paths_become_normal_or_are_refused() {
        let cases = [
            ("/", "/"),
            ("/a//b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/%2e%2e%2fa/", ""),
            ("/..", ""),
            ("/a%", ""),
            ("/a%0", ""),
            ("/a%00", ""),
            ("/a/%2e%2e/b", "/b"),
            ("/a%2Fb", "/a/b"),
            ("/...", "/..."),
            ("//", "/"),
            ("/a%+1", ""),
        ];
        for (path, wanted) in cases {
            let mut out = Vec::new();
            match normalise(path.as_bytes(), true, &mut out) {
                Ok(()) => assert_eq!(String::from_utf8(out).unwrap(), wanted, "{path}"),
                Err(Refusal(status, _)) => assert_eq!((status, wanted), (400, ""), "{path}"),
            }
        }
    }

    #[test]
    fn long_lines_are_refused_before_they_end() {
        let long = "x".repeat(300);
        assert_eq!(parse(&format!("GET /{long}")).unwrap_err(), 414);
        assert_eq!(
            parse(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n")).unwrap_err(),
            400
        );
        let many = "X: abcdefgh\r\n".repeat(100);
        assert_eq!(
            parse(&format!("GET / HTTP/1.1\r\n{many}")).unwrap_err(),
            400
        );
        assert_eq!(parse("GET / HTTP/1.1\r\nHost:").unwrap_err(), 0);
    }
}
