//! The request as a peer gets it: target, headers, framing.

use crate::conn::Client;
use crate::exchange::{escape_uri, Exchange};
use crate::request::{Body, Method, Request};
use crate::response;
use crate::snapshot::{Proxy, Snapshot};
use std::io::Write;

pub fn write_target(
    proxy: &Proxy,
    path: &[u8],
    exchange: &Exchange,
    uri: &[u8],
    out: &mut Vec<u8>,
) {
    let request = &exchange.request;
    let method = match exchange.error {
        Some(_) if request.method != Method::Head => b"GET",
        _ => request.at(&request.method_name),
    };
    out.extend_from_slice(method);
    out.push(b' ');
    if proxy.uri.is_none() && exchange.error.is_none() {
        out.extend_from_slice(request.at(&request.target));
    } else {
        let (base, rest) = match &proxy.uri {
            Some(base) => (base.as_slice(), uri.strip_prefix(path).unwrap_or(uri)),
            None => (b"".as_slice(), uri),
        };
        out.extend_from_slice(base);
        escape_uri(rest, out);
        if let Some(args) = &request.args {
            out.push(b'?');
            out.extend_from_slice(request.at(args));
        }
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

pub fn write_headers(
    proxy: &Proxy,
    proxy_host: &str,
    snapshot: &Snapshot,
    exchange: &Exchange,
    client: &Client,
    out: &mut Vec<u8>,
) {
    let request = &exchange.request;
    if !proxy.sets_host {
        response::header(out, b"Host", proxy_host.as_bytes());
    }
    let context = exchange.context(client, snapshot, proxy_host);
    for (name, value) in &proxy.set_headers {
        let line = out.len();
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        let start = out.len();
        value.write(&context, out);
        if out.len() == start || is_framing(name) {
            out.truncate(line); // an empty value removes the header
        } else {
            out.extend_from_slice(b"\r\n");
        }
    }
    for header in &request.headers {
        let name = request.at(&header.name);
        if passes(proxy, request, name) {
            response::header(out, name, request.at(&header.value));
        }
    }
    match request.body {
        _ if exchange.error.is_some() => {}
        Body::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Body::Length(length) => {
            let _ = write!(out, "Content-Length: {length}\r\n");
        }
        Body::None if request.method == Method::Once => {
            out.extend_from_slice(b"Content-Length: 0\r\n");
        }
        Body::None => {}
    }
    out.extend_from_slice(b"\r\n");
}

/// What the body's framing needs is ours alone to write.
fn is_framing(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
}

/// Whether a client's header goes to the peer.
fn passes(proxy: &Proxy, request: &Request, name: &[u8]) -> bool {
    let ends_here = match name.len() {
        2 => name.eq_ignore_ascii_case(b"te"),
        4 => name.eq_ignore_ascii_case(b"host"),
        6 => name.eq_ignore_ascii_case(b"expect"),
        7 => name.eq_ignore_ascii_case(b"upgrade") || name.eq_ignore_ascii_case(b"trailer"),
        10 => name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"keep-alive"),
        14 | 17 => is_framing(name),
        16 => name.eq_ignore_ascii_case(b"proxy-connection"),
        _ => false,
    };
    // A backend may read X_Real_IP as X-Real-IP: names with underscores are dropped, as in nginx.
    let odd = name
        .iter()
        .any(|byte| !byte.is_ascii_alphanumeric() && *byte != b'-');
    let replaced = || {
        proxy
            .set_headers
            .iter()
            .any(|set| set.0.eq_ignore_ascii_case(name))
    };
    !ends_here && !odd && !replaced() && !request.ends_here(name)
}
