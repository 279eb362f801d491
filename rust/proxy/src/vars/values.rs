//! The values of variables.

use super::context::{Context, More, Try};
use super::lines::{argument, cookie, forwarded_for, head_line, header, joined, set_cookie};
use super::names::{Part, Variable};
use crate::{spool, sys};
use std::io::Write;
use std::net::IpAddr;

impl Variable {
    /// Whether the value is a part of the request's path, percent-decoded.
    pub fn is_decoded(&self) -> bool {
        matches!(self, Variable::Uri | Variable::Capture(_))
    }

    /// Write the value; false: there is none.
    pub fn write(&self, context: &Context, out: &mut Vec<u8>) -> bool {
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
            Variable::Protocol => out.extend_from_slice(b"TCP"),
            Variable::SessionTime => seconds(out, sys::now_ms().saturating_sub(more.started_ms)),
            Variable::BytesReceived => show(out, more.received),
            Variable::UpstreamFirstByte => {
                return tries(more, out, |each, out| elapsed(each, each.header_ms, out))
            }
            Variable::UpstreamSessionTime => {
                let end = sys::now_ms();
                return tries(more, out, |each, out| {
                    elapsed(each, each.ended_ms.or(Some(end)), out);
                });
            }
            Variable::RealAddr => show(out, more.real.unwrap_or(context.client).ip()),
            Variable::RealPort => show(out, more.real.unwrap_or(context.client).port()),
            Variable::ConnectionTime => seconds(out, sys::now_ms().saturating_sub(more.since_ms)),
            Variable::Connections(which) => show(out, more.connections[*which]),
            Variable::RateVerdict => return known(more.rate_verdict, out),
            Variable::CountVerdict => return known(more.count_verdict, out),
            Variable::Rate => show(out, more.rate),
            Variable::SentTrailer(name) => return head_line(more.trailers, name, out),
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
            Variable::ContentType => return joined(request, b"content-type", out),
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
            Variable::Pipe => out.push(if more.pipelined { b'p' } else { b'.' }),
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
                return tries(more, out, |each, out| elapsed(each, each.ended_ms, out));
            }
            Variable::UpstreamLength => {
                return tries(more, out, |each, out| show(out, each.length))
            }
            Variable::UpstreamSent => return tries(more, out, |each, out| show(out, each.sent)),
            Variable::UpstreamReceived => {
                return tries(more, out, |each, out| show(out, each.received))
            }
            Variable::Proxied(part) => {
                let Some(proxied) = more.proxied else {
                    return false;
                };
                match part {
                    Part::Address => show(out, proxied.source.ip()),
                    Part::Port => show(out, proxied.source.port()),
                    Part::ServerAddress => show(out, proxied.destination.ip()),
                    Part::ServerPort => show(out, proxied.destination.port()),
                }
            }
            Variable::ProxiedExtra(name) => {
                return some(more.proxied.and_then(|it| it.extra(name)), out);
            }
            Variable::RequestBody => {
                let body = more.body.map(spool::Body::in_memory);
                return some(body.filter(|body| !body.is_empty()), out);
            }
            Variable::RequestBodyFile => {
                let path = more.body.and_then(spool::Body::path);
                return some(path.map(|path| path.as_os_str().as_encoded_bytes()), out);
            }
            Variable::ReplyCookie(name) => return set_cookie(more.reply, name, out),
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
            Variable::Map(index) => write_map(*index, context, out),
        }
        true
    }
}

pub fn some(value: Option<impl AsRef<[u8]>>, out: &mut Vec<u8>) -> bool {
    let found = value.is_some();
    if let Some(value) = value {
        out.extend_from_slice(value.as_ref());
    }
    found
}

/// A map's value is made once for a request, unless it is volatile.
fn write_map(index: usize, context: &Context, out: &mut Vec<u8>) {
    let Some(map) = context.more.maps.get(index) else {
        return;
    };
    let Some(known) = context.more.mapped.filter(|_| !map.volatile) else {
        return map.write(context, out);
    };
    if let Some(Some(value)) = known.borrow().get(index) {
        return out.extend_from_slice(value);
    }
    let start = out.len();
    map.write(context, out);
    let mut known = known.borrow_mut();
    if known.len() <= index {
        known.resize(index + 1, None);
    }
    known[index] = Some(out[start..].to_vec());
}

fn known(word: &str, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(word.as_bytes());
    !word.is_empty()
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
