//! Templates with nginx's $variables, compiled when the snapshot is, evaluated per request.

use crate::maps::Map;
use crate::request::Request;
use crate::snapshot::Location;
use crate::sys;
use std::cell::Cell;
use std::collections::HashMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

#[derive(Debug, Clone, PartialEq)]
enum Variable {
    Host,
    HttpHost,
    ProxyHost,
    ProxyPort,
    RemoteAddr,
    BinaryRemoteAddr,
    RemotePort,
    RemoteUser,
    AddForwardedFor,
    Scheme,
    RequestUri,
    Uri,
    Args,
    IsArgs,
    RequestMethod,
    RequestLine,
    RequestLength,
    RequestTime,
    ServerAddr,
    ServerPort,
    ServerName,
    ServerProtocol,
    ContentLength,
    ContentType,
    RequestId,
    DocumentRoot,
    RequestFilename,
    Status,
    BodyBytesSent,
    BytesSent,
    Connection,
    ConnectionRequests,
    TimeLocal,
    TimeIso,
    Msec,
    Pid,
    Hostname,
    Version,
    Pipe,
    RequestCompletion,
    Empty,
    UpstreamAddr,
    UpstreamStatus,
    UpstreamConnectTime,
    UpstreamHeaderTime,
    UpstreamResponseTime,
    UpstreamLength,
    Header(Vec<u8>),
    Argument(Vec<u8>),
    Cookie(Vec<u8>),
    Sent(Vec<u8>),
    Reply(Vec<u8>),
    Capture(usize),
    Slot(usize),
    Map(usize),
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(Vec<u8>),
    Variable(Variable),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Template(Vec<Part>);

/// Which names there are besides the built-in ones, and what the templates made so far look at.
#[derive(Default)]
pub struct Scope {
    pub slots: HashMap<String, usize>,
    pub maps: HashMap<String, usize>,
    pub wants_sent: Cell<bool>,
    pub wants_reply: Cell<bool>,
}

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
    pub sent: &'a [u8],
    pub reply: &'a [u8],
    pub tries: &'a [Try],
    pub started_ms: u64,
    pub connection: u64,
    pub requests: u64,
    pub complete: bool,
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

/// How a value is written where it comes from a variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Escape {
    #[default]
    None,
    /// nginx's log format: control characters, quotes and bytes above 126 as \xNN, '-' for none.
    Log,
    Json,
    /// As an argument of a URI.
    Argument,
}

impl Template {
    /// `text` with `$name` or `${name}`; an unknown name is an error that tells it.
    pub fn compile(text: &str, scope: &Scope) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            if dollar > 0 {
                parts.push(Part::Text(rest[..dollar].into()));
            }
            rest = &rest[dollar + 1..];
            let braces = rest.starts_with('{');
            let body = if braces { &rest[1..] } else { rest };
            let end = if !braces && body.starts_with(|letter: char| letter.is_ascii_digit()) {
                1
            } else {
                body.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                    .unwrap_or(body.len())
            };
            let name = &body[..end];
            rest = &body[end..];
            if braces {
                rest = rest
                    .strip_prefix('}')
                    .ok_or_else(|| format!("the variable '${{{name}' lacks its closing brace"))?;
            }
            let variable = Variable::named(name, scope)
                .ok_or_else(|| format!("unknown variable '${name}'"))?;
            parts.push(Part::Variable(variable));
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Template(parts))
    }

    pub fn write(&self, context: &Context, out: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(variable) => {
                    variable.write(context, out);
                }
            }
        }
    }

    pub fn write_escaped(&self, context: &Context, escape: Escape, out: &mut Vec<u8>) {
        let mut value = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Variable(variable) => {
                    value.clear();
                    if !variable.write(context, &mut value) && escape == Escape::Log {
                        value.push(b'-');
                    }
                    escape_into(&value, escape, out);
                }
            }
        }
    }

    pub fn value(&self, context: &Context) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(context, &mut out);
        out
    }

    /// The text, when there is no variable in it.
    pub fn constant(&self) -> Option<&[u8]> {
        match self.0.as_slice() {
            [] => Some(b""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

pub fn escape_into(value: &[u8], escape: Escape, out: &mut Vec<u8>) {
    for byte in value {
        match (escape, byte) {
            (Escape::Log, b'"' | b'\\' | 0..=0x1f | 0x7f..) => {
                let _ = write!(out, "\\x{byte:02X}");
            }
            (Escape::Json, b'"' | b'\\') => out.extend_from_slice(&[b'\\', *byte]),
            (Escape::Json, b'\n') => out.extend_from_slice(b"\\n"),
            (Escape::Json, b'\r') => out.extend_from_slice(b"\\r"),
            (Escape::Json, b'\t') => out.extend_from_slice(b"\\t"),
            (Escape::Json, 8) => out.extend_from_slice(b"\\b"),
            (Escape::Json, 12) => out.extend_from_slice(b"\\f"),
            (Escape::Json, 0..=0x1f) => {
                let _ = write!(out, "\\u{byte:04X}");
            }
            (
                Escape::Argument,
                b' ' | b'#' | b'%' | b'&' | b'+' | b';' | b'?' | 0..=0x1f | 0x7f..,
            ) => {
                let _ = write!(out, "%{byte:02X}");
            }
            _ => out.push(*byte),
        }
    }
}

const PLAIN: &[(&str, Variable)] = &[
    ("host", Variable::Host),
    ("http_host", Variable::HttpHost),
    ("proxy_host", Variable::ProxyHost),
    ("proxy_port", Variable::ProxyPort),
    ("remote_addr", Variable::RemoteAddr),
    ("binary_remote_addr", Variable::BinaryRemoteAddr),
    ("remote_port", Variable::RemotePort),
    ("remote_user", Variable::RemoteUser),
    ("realip_remote_addr", Variable::RemoteAddr),
    ("proxy_add_x_forwarded_for", Variable::AddForwardedFor),
    ("scheme", Variable::Scheme),
    ("https", Variable::Empty),
    ("limit_rate", Variable::Empty),
    ("proxy_protocol_addr", Variable::Empty),
    ("request_uri", Variable::RequestUri),
    ("uri", Variable::Uri),
    ("document_uri", Variable::Uri),
    ("args", Variable::Args),
    ("query_string", Variable::Args),
    ("is_args", Variable::IsArgs),
    ("request_method", Variable::RequestMethod),
    ("request", Variable::RequestLine),
    ("request_length", Variable::RequestLength),
    ("request_time", Variable::RequestTime),
    ("request_completion", Variable::RequestCompletion),
    ("server_addr", Variable::ServerAddr),
    ("server_port", Variable::ServerPort),
    ("server_name", Variable::ServerName),
    ("server_protocol", Variable::ServerProtocol),
    ("content_length", Variable::ContentLength),
    ("content_type", Variable::ContentType),
    ("request_id", Variable::RequestId),
    ("document_root", Variable::DocumentRoot),
    ("realpath_root", Variable::DocumentRoot),
    ("request_filename", Variable::RequestFilename),
    ("status", Variable::Status),
    ("body_bytes_sent", Variable::BodyBytesSent),
    ("bytes_sent", Variable::BytesSent),
    ("connection", Variable::Connection),
    ("connection_requests", Variable::ConnectionRequests),
    ("time_local", Variable::TimeLocal),
    ("time_iso8601", Variable::TimeIso),
    ("msec", Variable::Msec),
    ("pid", Variable::Pid),
    ("hostname", Variable::Hostname),
    ("nginx_version", Variable::Version),
    ("pipe", Variable::Pipe),
    ("upstream_addr", Variable::UpstreamAddr),
    ("upstream_status", Variable::UpstreamStatus),
    ("upstream_connect_time", Variable::UpstreamConnectTime),
    ("upstream_header_time", Variable::UpstreamHeaderTime),
    ("upstream_response_time", Variable::UpstreamResponseTime),
    ("upstream_response_length", Variable::UpstreamLength),
    ("upstream_bytes_received", Variable::UpstreamLength),
];

impl Variable {
    fn named(name: &str, scope: &Scope) -> Option<Variable> {
        if let Some(map) = scope.maps.get(name) {
            return Some(Variable::Map(*map));
        }
        if let Some(slot) = scope.slots.get(name) {
            return Some(Variable::Slot(*slot));
        }
        if let Ok(number) = name.parse::<usize>() {
            return Some(Variable::Capture(number));
        }
        if let Some((_, variable)) = PLAIN.iter().find(|(known, _)| *known == name) {
            return Some(variable.clone());
        }
        let rest = |prefix| {
            name.strip_prefix(prefix)
                .filter(|rest: &&str| !rest.is_empty())
        };
        let dashed = |rest: &str| rest.replace('_', "-").into_bytes();
        if let Some(rest) = rest("http_") {
            return Some(Variable::Header(dashed(rest)));
        }
        if let Some(rest) = rest("arg_") {
            return Some(Variable::Argument(rest.into()));
        }
        if let Some(rest) = rest("cookie_") {
            return Some(Variable::Cookie(rest.into()));
        }
        if let Some(rest) = rest("sent_http_") {
            scope.wants_sent.set(true);
            return Some(Variable::Sent(dashed(rest)));
        }
        if let Some(rest) = rest("upstream_http_") {
            scope.wants_reply.set(true);
            return Some(Variable::Reply(dashed(rest)));
        }
        None
    }

    /// Write the value; false: there is none.
    fn write(&self, context: &Context, out: &mut Vec<u8>) -> bool {
        let request = context.request;
        let more = &context.more;
        match self {
            Variable::Host if request.host.is_empty() => {
                out.extend_from_slice(context.server_name.as_bytes());
            }
            Variable::Host => out.extend_from_slice(&request.host),
            Variable::HttpHost => return header(request, b"host", out),
            Variable::ProxyHost => out.extend_from_slice(context.proxy_host.as_bytes()),
            Variable::ProxyPort => {
                let port = context
                    .proxy_host
                    .rsplit_once(':')
                    .map_or("80", |pair| pair.1);
                out.extend_from_slice(port.as_bytes());
            }
            Variable::RemoteAddr => show(out, context.client.ip()),
            Variable::BinaryRemoteAddr => match context.client.ip() {
                IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
            },
            Variable::RemotePort => show(out, context.client.port()),
            Variable::RemoteUser => return some(crate::access::user(request), out),
            Variable::AddForwardedFor => {
                forwarded_for(request, out);
                show(out, context.client.ip());
            }
            Variable::Scheme => out.extend_from_slice(b"http"),
            Variable::RequestUri => out.extend_from_slice(request.at(&request.target)),
            Variable::Uri => out.extend_from_slice(&request.uri),
            Variable::Args => return some(request.args.as_ref().map(|args| request.at(args)), out),
            Variable::IsArgs => {
                if request.args.as_ref().is_some_and(|args| !args.is_empty()) {
                    out.push(b'?');
                }
            }
            Variable::RequestMethod => out.extend_from_slice(request.at(&request.method_name)),
            Variable::RequestLine => out.extend_from_slice(request.request_line()),
            Variable::RequestLength => show(out, request.length as u64 + more.received),
            Variable::RequestTime => seconds(out, sys::now_ms().saturating_sub(more.started_ms)),
            Variable::RequestCompletion => {
                if !more.complete {
                    return false;
                }
                out.extend_from_slice(b"OK");
            }
            Variable::ServerAddr => show(out, context.server.ip()),
            Variable::ServerPort => show(out, context.server.port()),
            Variable::ServerName => out.extend_from_slice(context.server_name.as_bytes()),
            Variable::ServerProtocol => show(out, format_args!("HTTP/1.{}", request.minor)),
            Variable::ContentLength => return header(request, b"content-length", out),
            Variable::ContentType => return header(request, b"content-type", out),
            Variable::RequestId => show(out, format_args!("{:032x}", context.request_id)),
            Variable::DocumentRoot => return write_root(context, out),
            Variable::RequestFilename => {
                let known = write_root(context, out);
                let skip = more.location.map_or(0, |location| location.skipped());
                out.extend_from_slice(request.uri.get(skip..).unwrap_or_default());
                return known;
            }
            Variable::Status => show(out, format_args!("{:03}", more.status)),
            Variable::BodyBytesSent => show(out, more.body_bytes),
            Variable::BytesSent => show(out, more.body_bytes + more.head_bytes),
            Variable::Connection => show(out, more.connection),
            Variable::ConnectionRequests => show(out, more.requests),
            Variable::TimeLocal => out.extend_from_slice(sys::log_time().as_bytes()),
            Variable::TimeIso => out.extend_from_slice(sys::iso_time().as_bytes()),
            Variable::Msec => seconds(out, sys::wall_ms()),
            Variable::Pid => show(out, std::process::id()),
            Variable::Hostname => out.extend_from_slice(sys::hostname().as_bytes()),
            Variable::Version => out.extend_from_slice(b"1.31.4"),
            Variable::Pipe => out.push(b'.'),
            Variable::Empty => return false,
            Variable::UpstreamAddr => return tries(more, out, |each, out| show(out, &each.peer)),
            Variable::UpstreamStatus => {
                return tries(more, out, |each, out| match each.status {
                    0 => out.push(b'-'),
                    status => show(out, format_args!("{status:03}")),
                });
            }
            Variable::UpstreamConnectTime => {
                return tries(more, out, |each, out| elapsed(each, each.connected_ms, out))
            }
            Variable::UpstreamHeaderTime => {
                return tries(more, out, |each, out| elapsed(each, each.header_ms, out))
            }
            Variable::UpstreamResponseTime => {
                let end = sys::now_ms();
                return tries(more, out, |each, out| {
                    elapsed(each, each.ended_ms.or(Some(end)), out);
                });
            }
            Variable::UpstreamLength => {
                return tries(more, out, |each, out| show(out, each.length))
            }
            Variable::Header(name) => return joined(request, name, out),
            Variable::Argument(name) => {
                let args = request.args.as_ref().map(|args| request.at(args));
                return some(args.and_then(|args| argument(args, name)), out);
            }
            Variable::Cookie(name) => return some(cookie(request, name), out),
            Variable::Sent(name) => return head_line(more.sent, name, out),
            Variable::Reply(name) => return head_line(more.reply, name, out),
            Variable::Capture(index) => {
                return some(more.captures.and_then(|found| found.get(*index)), out)
            }
            Variable::Slot(index) => {
                let value = more.slots.get(*index).and_then(|value| value.as_deref());
                return some(value, out);
            }
            Variable::Map(index) => {
                if let Some(map) = more.maps.get(*index) {
                    map.write(context, out);
                }
            }
        }
        true
    }
}

fn some(value: Option<impl AsRef<[u8]>>, out: &mut Vec<u8>) -> bool {
    let found = value.is_some();
    if let Some(value) = value {
        out.extend_from_slice(value.as_ref());
    }
    found
}

fn show(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    let _ = write!(out, "{value}"); // writing to memory does not fail
}

fn seconds(out: &mut Vec<u8>, ms: u64) {
    show(out, format_args!("{}.{:03}", ms / 1000, ms % 1000));
}

fn elapsed(each: &Try, until: Option<u64>, out: &mut Vec<u8>) {
    match until {
        Some(until) => seconds(out, until.saturating_sub(each.started_ms)),
        None => out.push(b'-'),
    }
}

fn tries(more: &More, out: &mut Vec<u8>, write: impl Fn(&Try, &mut Vec<u8>)) -> bool {
    for (index, each) in more.tries.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        write(each, out);
    }
    !more.tries.is_empty()
}

fn write_root(context: &Context, out: &mut Vec<u8>) -> bool {
    let root = context
        .more
        .location
        .and_then(|location| location.root.as_ref());
    if let Some(root) = root {
        root.write(context, out);
    }
    root.is_some()
}

fn header(request: &Request, name: &[u8], out: &mut Vec<u8>) -> bool {
    some(request.header(name), out)
}

/// Headers that came more than once, in one value as nginx has it.
fn joined(request: &Request, name: &[u8], out: &mut Vec<u8>) -> bool {
    let between: &[u8] = if name == b"cookie" { b"; " } else { b", " };
    let mut found = false;
    for header in &request.headers {
        let known = request.at(&header.name);
        let same = known.len() == name.len()
            && known.iter().zip(name).all(|(left, right)| {
                left.eq_ignore_ascii_case(right) || *left == b'_' && *right == b'-'
            });
        if same {
            if found {
                out.extend_from_slice(between);
            }
            out.extend_from_slice(request.at(&header.value));
            found = true;
        }
    }
    found
}

/// The value of `name=` among arguments.
pub fn argument<'a>(args: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    args.split(|byte| *byte == b'&').find_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        pair[..at]
            .eq_ignore_ascii_case(name)
            .then(|| &pair[at + 1..])
    })
}

fn cookie<'a>(request: &'a Request, name: &[u8]) -> Option<&'a [u8]> {
    let lines = request
        .headers
        .iter()
        .filter(|header| request.at(&header.name).eq_ignore_ascii_case(b"cookie"));
    lines
        .flat_map(|header| {
            request
                .at(&header.value)
                .split(|byte| matches!(byte, b';' | b','))
        })
        .find_map(|pair| {
            let pair = pair.trim_ascii_start();
            let at = pair.iter().position(|byte| *byte == b'=')?;
            pair[..at]
                .eq_ignore_ascii_case(name)
                .then(|| &pair[at + 1..])
        })
}

/// The values of one header in the text of a head.
fn head_line(head: &[u8], name: &[u8], out: &mut Vec<u8>) -> bool {
    let mut found = false;
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        if line[..colon].eq_ignore_ascii_case(name) {
            if found {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(line[colon + 1..].trim_ascii());
            found = true;
        }
    }
    found
}

/// Every X-Forwarded-For that came, each with a comma behind.
fn forwarded_for(request: &Request, out: &mut Vec<u8>) {
    for header in &request.headers {
        if request
            .at(&header.name)
            .eq_ignore_ascii_case(b"x-forwarded-for")
        {
            out.extend_from_slice(request.at(&header.value));
            out.extend_from_slice(b", ");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    #[test]
    fn evaluates_what_it_compiled() {
        let mut request = Request::default();
        let limits = Limits {
            body_size: 0,
            header_line: 8192,
            header_timeout_ms: 1,
            body_timeout_ms: 1,
            send_timeout_ms: 1,
        };
        let head = b"GET /a?b=c HTTP/1.1\r\nHost: W:81\r\nX-Forwarded-For: 1.1.1.1\r\nX-Some-Name: v\r\n\r\n";
        request.parse(head, &limits).unwrap();
        let context = Context {
            request: &request,
            client: &"127.0.0.9:5".parse().unwrap(),
            server: "127.0.0.1:80".parse().unwrap(),
            server_name: "name",
            proxy_host: "up:8080",
            request_id: 10,
            more: More::default(),
        };
        let cases = [
            ("plain", "plain"),
            ("$host $http_host", "w W:81"),
            ("${scheme}://$server_name$request_uri", "http://name/a?b=c"),
            ("$uri$is_args$args", "/a?b=c"),
            ("$proxy_add_x_forwarded_for", "1.1.1.1, 127.0.0.9"),
            (
                "$proxy_host|$proxy_port|$remote_port|$server_port",
                "up:8080|8080|5|80",
            ),
            ("$http_x_some_name$http_absent", "v"),
            ("$request", "GET /a?b=c HTTP/1.1"),
            ("$request_id", "0000000000000000000000000000000a"),
        ];
        for (text, wanted) in cases {
            let mut out = Vec::new();
            Template::compile(text, &Scope::default())
                .unwrap()
                .write(&context, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
    }

    #[test]
    fn unknown_and_broken_names_are_refused() {
        for text in ["$nothing", "a$", "${host", "$http_", "$ x"] {
            assert!(
                Template::compile(text, &Scope::default()).is_err(),
                "{text}"
            );
        }
    }
}
