//! Heads of responses: our own, and those of a peer read strictly and passed on.

use crate::filters::{Line, Options};
use crate::request::{has_token, number, MOST_HEADERS};
use crate::vars::Context;
use std::io::Write;
use std::mem::MaybeUninit;

pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Time-out",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        415 => "Unsupported Media Type",
        416 => "Requested Range Not Satisfiable",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

/// Whether a response of this status has no body, whatever its headers say (RFC 9112 §6.3).
pub fn is_bodiless(status: u16) -> bool {
    status < 200 || status == 204 || status == 304
}

pub fn start(out: &mut Vec<u8>, status: u16, reason: &[u8], server: &str, date: &str) {
    let _ = write!(out, "HTTP/1.1 {status:03} ");
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\nServer: ");
    out.extend_from_slice(server.as_bytes());
    out.extend_from_slice(b"\r\nDate: ");
    out.extend_from_slice(date.as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub fn header(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

pub fn chunk_start(out: &mut Vec<u8>, length: u64) {
    let _ = write!(out, "{length:x}\r\n");
}

pub fn header_shown(out: &mut Vec<u8>, name: &str, value: impl std::fmt::Display) {
    let _ = write!(out, "{name}: {value}\r\n");
}

/// What the connection does after this response, and the empty line. HTTP/1.1 keeps it unless
/// told otherwise; that it is kept is told all the same, as nginx does.
pub fn end(out: &mut Vec<u8>, keep: bool) {
    match keep {
        false => out.extend_from_slice(b"Connection: close\r\n\r\n"),
        true => out.extend_from_slice(b"Connection: keep-alive\r\n\r\n"),
    }
}

pub fn error_page(status: u16, server: &str) -> Vec<u8> {
    let title = format!("{status} {}", reason(status));
    format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1>\
         </center>\r\n<hr><center>{server}</center>\r\n</body>\r\n</html>\r\n"
    )
    .into_bytes()
}

/// 101: what follows the head is no HTTP any more.
pub const SWITCHING: u16 = 101;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

#[derive(Debug)]
pub struct PeerHead {
    pub status: u16,
    pub length: usize,
    pub framing: Framing,
    /// The peer's connection may serve another request after this response.
    pub reusable: bool,
}

/// How the head of a peer's response is passed on.
pub struct Passing<'a> {
    pub date: &'a str,
    pub server: &'a str,
    /// The client asked for another protocol: 101 is an answer.
    pub upgrade: bool,
    /// The Location prefix that means ourselves, and what replaces it (proxy_redirect default).
    pub redirect: (&'a [u8], &'a [u8]),
    /// Makes a path of ours a whole URL.
    pub absolute: &'a dyn Fn(&[u8]) -> Vec<u8>,
    /// The location's own rules.
    pub rules: Option<(&'a Options, Context<'a>)>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct BadHead(pub &'static str);

/// Read a peer's head at the start of `input` and write it to `out` without its hop-by-hop
/// headers and its framing (the caller adds framing and `end`). None while it is not whole.
pub fn pass_head(
    input: &[u8],
    to_head: bool,
    passing: &Passing,
    out: &mut Vec<u8>,
) -> Result<Option<PeerHead>, BadHead> {
    let mut slots = [const { MaybeUninit::uninit() }; MOST_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, input, &mut slots) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(BadHead("malformed head")),
    };
    let (status, minor) = (parsed.code.unwrap_or(0), parsed.version.unwrap_or(0));
    if !(100..=999).contains(&status) || status == SWITCHING && !passing.upgrade {
        return Err(BadHead("status"));
    }
    let (framing, keep) = framing(parsed.headers, status, minor, to_head)?;
    let head = PeerHead {
        status,
        length,
        framing,
        reusable: keep && framing != Framing::UntilClose,
    };
    if status < 200 && status != SWITCHING {
        return Ok(Some(head)); // interim: dropped
    }
    let named = |name: &[u8]| {
        let mut lists = parsed.headers.iter();
        lists
            .any(|line| line.name.eq_ignore_ascii_case("connection") && has_token(line.value, name))
    };
    start(
        out,
        status,
        parsed.reason.unwrap_or("").as_bytes(),
        passing.server,
        passing.date,
    );
    let mut lines = parsed.headers.iter();
    let names_any = lines.any(|line| line.name.eq_ignore_ascii_case("connection"));
    for (index, line) in parsed.headers.iter().enumerate() {
        let name = line.name.as_bytes();
        let value = line.value.trim_ascii();
        if is_single(name) {
            let mut before = parsed.headers[..index].iter();
            if before.any(|other| other.name.eq_ignore_ascii_case(line.name)) {
                continue; // the first counts, as in nginx
            }
        }
        if let Some((options, context)) = &passing.rules {
            match options.line(name, value, context) {
                Line::Drop => continue,
                Line::Keep if !names_any || !named(name) => {
                    header(out, name, value);
                    continue;
                }
                Line::As(value) => {
                    header(out, name, &value);
                    continue;
                }
                Line::Redirect(value) => {
                    let ours = value.starts_with(b"/");
                    let value = if ours {
                        (passing.absolute)(&value)
                    } else {
                        value
                    };
                    header(out, name, &value);
                    continue;
                }
                Line::Keep | Line::Usual => {}
            }
        }
        let switches = status == SWITCHING && name.eq_ignore_ascii_case(b"upgrade");
        if !switches && (ends_here(name) || names_any && named(name)) {
            continue;
        }
        if name.eq_ignore_ascii_case(b"location") && !passing.redirect.0.is_empty() {
            if let Some(rest) = value.strip_prefix(passing.redirect.0) {
                let path = [passing.redirect.1, rest].concat();
                header(out, name, &(passing.absolute)(&path));
                continue;
            }
        }
        if name.eq_ignore_ascii_case(b"refresh") && !passing.redirect.0.is_empty() {
            let at = value
                .windows(4)
                .position(|part| part.eq_ignore_ascii_case(b"url="));
            let (head, url) = value.split_at(at.map_or(value.len(), |at| at + 4));
            if let Some(rest) = url.strip_prefix(passing.redirect.0) {
                header(out, name, &[head, passing.redirect.1, rest].concat());
                continue;
            }
        }
        header(out, name, value);
    }
    if let (Framing::None, true) = (framing, to_head || status == 304) {
        let length = parsed.headers.iter();
        for line in length.filter(|line| line.name.eq_ignore_ascii_case("content-length")) {
            header(out, b"Content-Length", line.value); // says what a GET would have got
        }
    }
    Ok(Some(head))
}

/// The end of the head of a 101.
pub fn end_switching(out: &mut Vec<u8>) {
    out.extend_from_slice(b"Connection: upgrade\r\n\r\n");
}

fn is_single(name: &[u8]) -> bool {
    let single: &[&[u8]] = match name.len() {
        4 => &[b"etag"],
        7 => &[b"expires", b"refresh"],
        8 => &[b"location"],
        13 => &[b"last-modified"],
        _ => &[],
    };
    single.iter().any(|each| name.eq_ignore_ascii_case(each))
}

/// The lines of a head, (name, value) each.
pub fn lines(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    head.split(|byte| *byte == b'\n')
        .skip(1)
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
}

/// Never passed on: hop-by-hop, framing, and what nginx keeps to itself (Server, Date, X-Accel-*).
fn ends_here(name: &[u8]) -> bool {
    let own = |prefix: &[u8]| name[..prefix.len()].eq_ignore_ascii_case(prefix);
    match name.len() {
        8.. if own(b"x-accel-") => true,
        4 => name.eq_ignore_ascii_case(b"date"),
        5 => name.eq_ignore_ascii_case(b"x-pad"),
        6 => name.eq_ignore_ascii_case(b"server"),
        7 => name.eq_ignore_ascii_case(b"upgrade"),
        10 => name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"keep-alive"),
        14 => name.eq_ignore_ascii_case(b"content-length"),
        16 => name.eq_ignore_ascii_case(b"proxy-connection"),
        17 => name.eq_ignore_ascii_case(b"transfer-encoding"),
        _ => false,
    }
}

fn framing(
    headers: &[httparse::Header],
    status: u16,
    minor: u8,
    to_head: bool,
) -> Result<(Framing, bool), BadHead> {
    let (mut length, mut chunked, mut keep) = (None, false, minor == 1);
    for header in headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let bad = BadHead("Content-Length");
            let value = number(header.value.trim_ascii()).map_err(|_| BadHead("Content-Length"))?;
            if length.replace(value).is_some() {
                return Err(bad);
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if chunked || !header.value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err(BadHead("Transfer-Encoding"));
            }
            chunked = true;
        } else if header.name.eq_ignore_ascii_case("connection") {
            let keeps = has_token(header.value, b"keep-alive");
            keep = (keep || keeps) && !has_token(header.value, b"close");
        }
    }
    if chunked && length.is_some() {
        return Err(BadHead("Content-Length and Transfer-Encoding"));
    }
    let framing = match length {
        _ if to_head || is_bodiless(status) => Framing::None,
        _ if chunked => Framing::Chunked,
        Some(0) => Framing::None,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    Ok((framing, keep))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(input: &str, to_head: bool) -> Result<(PeerHead, String), BadHead> {
        let mut out = Vec::new();
        let passing = Passing {
            server: "trimaran",
            date: "D",
            upgrade: false,
            redirect: (b"http://up/", b"/x/"),
            absolute: &|path| path.to_vec(),
            rules: None,
        };
        let head = pass_head(input.as_bytes(), to_head, &passing, &mut out)?;
        Ok((head.unwrap(), String::from_utf8(out).unwrap()))
    }

    #[test]
    fn hop_by_hop_and_own_headers_stay_behind() {
        let (head, out) = pass(
            "HTTP/1.1 200 Fine\r\nServer: s\r\nDate: d\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\
             Keep-Alive: 1\r\nX-Accel-Redirect: /\r\nA: b\r\nLocation: http://up/c\r\n\
             Content-Length: 3\r\n\r\n",
            false,
        )
        .unwrap();
        assert_eq!(head.framing, Framing::Length(3));
        assert!(head.reusable);
        assert_eq!(
            out,
            "HTTP/1.1 200 Fine\r\nServer: trimaran\r\nDate: D\r\nA: b\r\nLocation: /x/c\r\n"
        );
    }

    #[test]
    fn framing_follows_the_rules() {
        let framing = |text: &str, to_head| pass(text, to_head).unwrap().0.framing;
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\n\r\n", false),
            Framing::UntilClose
        );
        assert_eq!(framing("HTTP/1.1 204 OK\r\n\r\n", false), Framing::None);
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", true),
            Framing::None
        );
        assert_eq!(
            framing(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                false
            ),
            Framing::Chunked
        );
    }

    #[test]
    fn doubtful_framing_is_refused() {
        for lines in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip\r\n",
            "Content-Length: +1\r\n",
        ] {
            assert!(
                pass(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n"), false).is_err(),
                "{lines}"
            );
        }
    }
}
