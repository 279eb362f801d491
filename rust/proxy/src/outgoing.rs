//! The request as a peer gets it: target, headers, framing.

use crate::answer::escape_uri;
use crate::balance::Group;
use crate::conn::Client;
use crate::core::Core;
use crate::exchange::Exchange;
use crate::request::{Body, Method, Request};
use crate::response;
use crate::snapshot::{Location, Proxy, Snapshot, Upstream};
use crate::vars::Context;
use std::io::Write;
use std::sync::Arc;

/// The group that forwards, and the URI to replace the location's part with.
pub fn destination(
    core: &mut Core,
    snapshot: &Arc<Snapshot>,
    exchange: &Exchange,
    client: &Client,
    proxy: &Proxy,
) -> Option<(Arc<Group>, Option<Vec<u8>>)> {
    let context = exchange.context(client, snapshot, "");
    match &proxy.upstream {
        Upstream::Group(index) => {
            let uri = proxy.uri.as_ref().map(|uri| uri.value(&context));
            Some((snapshot.groups[*index].clone(), uri))
        }
        Upstream::Named(name) => {
            let text = name.value(&context);
            let rest = text.strip_prefix(b"http://").unwrap_or(&text);
            let (host, uri) = if rest.starts_with(b"unix:") {
                let colon = rest[5..].iter().position(|byte| *byte == b':');
                let end = colon.map_or(rest.len(), |at| at + 5);
                (&rest[..end], rest.get(end + 1..).unwrap_or_default())
            } else {
                let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
                rest.split_at(end.unwrap_or(rest.len()))
            };
            let host = std::str::from_utf8(host).ok()?;
            let known = snapshot.groups.iter().find(|group| group.name == host);
            let group = match known {
                Some(group) => group.clone(),
                None => core.group_of(host)?,
            };
            let mut target = uri.to_vec();
            if target.starts_with(b"?") {
                target.insert(0, b'/');
            }
            Some((group, (!target.is_empty()).then_some(target)))
        }
    }
}

pub fn write_target(
    proxy: &Proxy,
    location: &Location,
    base: Option<&[u8]>,
    exchange: &Exchange,
    context: &Context,
    out: &mut Vec<u8>,
) {
    let request = &exchange.request;
    match &proxy.options.method {
        Some(method) => method.write(context, out),
        None => out.extend_from_slice(request.at(&request.method_name)),
    }
    out.push(b' ');
    let whole = matches!(proxy.upstream, Upstream::Named(_));
    match base {
        Some(base) if whole => out.extend_from_slice(base),
        Some(_) if exchange.unlocated => {
            escape_uri(&request.uri, out);
            if let Some(args) = &request.args {
                out.push(b'?');
                out.extend_from_slice(request.at(args));
            }
        }
        None if !exchange.rewritten => out.extend_from_slice(request.at(&request.target)),
        _ => {
            let rest = match base {
                Some(_) => request
                    .uri
                    .strip_prefix(&location.path[..])
                    .unwrap_or(&request.uri),
                None => &request.uri,
            };
            out.extend_from_slice(base.unwrap_or_default());
            escape_uri(rest, out);
            if let Some(args) = &request.args {
                out.push(b'?');
                out.extend_from_slice(request.at(args));
            }
        }
    }
    let version: &[u8] = if proxy.options.http_1_0 {
        b" HTTP/1.0\r\n"
    } else {
        b" HTTP/1.1\r\n"
    };
    out.extend_from_slice(version);
}

pub fn write_headers(
    proxy: &Proxy,
    proxy_host: &str,
    exchange: &Exchange,
    context: &Context,
    body: Option<&[u8]>,
    out: &mut Vec<u8>,
) {
    let request = &exchange.request;
    if !proxy.sets_host {
        response::header(out, b"Host", proxy_host.as_bytes());
    }
    if proxy.options.http_1_0 {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    for (name, value) in &proxy.set_headers {
        let line = out.len();
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        let start = out.len();
        value.write(context, out);
        if out.len() == start || is_framing(name) {
            out.truncate(line); // an empty value removes the header
        } else {
            out.extend_from_slice(b"\r\n");
        }
    }
    for header in request
        .headers
        .iter()
        .filter(|_| proxy.options.pass_headers)
    {
        let name = request.at(&header.name);
        if passes(proxy, request, name) {
            response::header(out, name, request.at(&header.value));
        }
    }
    if let Some(body) = body {
        let _ = write!(out, "Content-Length: {}\r\n\r\n", body.len());
        return;
    }
    let whole = exchange.body.length();
    match request.body {
        _ if !proxy.options.pass_body => {}
        _ if exchange.error.is_some() => {}
        _ if exchange.body.whole && whole > 0 => {
            let _ = write!(out, "Content-Length: {whole}\r\n");
        }
        Body::Chunked if !exchange.body.whole => {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n")
        }
        Body::Length(length) => {
            let _ = write!(out, "Content-Length: {length}\r\n");
        }
        Body::Chunked | Body::None if request.method == Method::Once => {
            out.extend_from_slice(b"Content-Length: 0\r\n");
        }
        Body::Chunked | Body::None => {}
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
    let replaced = || {
        proxy
            .set_headers
            .iter()
            .any(|set| set.0.eq_ignore_ascii_case(name))
    };
    !ends_here && !replaced() && !request.ends_here(name)
}
