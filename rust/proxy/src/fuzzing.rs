//! What must hold for any bytes at all, as functions for the fuzz targets (rust/proxy/fuzz) and for
//! the seeded mutations of `cargo test`. Each panics when it does not hold, and tells whether the
//! input meant anything.

use crate::chunked::Chunked;
use crate::config::Limits;
use crate::proxied;
use crate::request::Request;
use crate::response::{self, Passing};
use crate::vars::{Scope, Template};

const LIMITS: Limits = Limits {
    body_size: 1000,
    header_line: 8192,
    header_buffers: 4,
    max_headers: 1000,
    merge_slashes: true,
    ignore_invalid_headers: true,
    underscores_in_headers: false,
    header_timeout_ms: 1,
    body_timeout_ms: 1,
    send_timeout_ms: 1,
};

/// A request is refused, or framed without doubt.
pub fn request(input: &[u8]) -> bool {
    let mut request = Request::default();
    let Ok(Some(length)) = request.parse(input, &LIMITS) else {
        return false;
    };
    assert!(length <= input.len());
    let named = |name: &[u8]| {
        let lines = request.headers.iter();
        let found = lines.filter(|line| request.at(&line.name).eq_ignore_ascii_case(name));
        found.count()
    };
    let (lengths, codings) = (named(b"content-length"), named(b"transfer-encoding"));
    assert!(lengths + codings <= 1, "two framings");
    assert!(named(b"host") <= 1, "two hosts");
    assert!(request.uri.starts_with(b"/"), "no path");
    let mut parts = request.uri.split(|byte| *byte == b'/');
    assert!(!parts.any(|part| part == b".."), "a way up");
    for line in &request.headers {
        let breaks = |byte: &u8| matches!(byte, b'\r' | b'\n' | 0);
        assert!(!request.at(&line.value).iter().any(breaks), "a broken line");
    }
    true
}

/// A peer's head is refused, or passed on as one head.
pub fn answer(input: &[u8], upgrade: bool) -> bool {
    let passing = Passing {
        server: "trimaran",
        date: "D",
        upgrade,
        redirect: (b"http://up/", b"/"),
        absolute: &|path| path.to_vec(),
        rules: None,
    };
    let mut out = Vec::new();
    let Ok(Some(head)) = response::pass_head(input, false, &passing, &mut out) else {
        return false;
    };
    assert!(head.length <= input.len());
    let text = String::from_utf8_lossy(&out);
    assert!(!text.contains("\r\n\r\n"), "two heads: {text}");
    let bare = text.replace("\r\n", "");
    assert!(!bare.contains(['\r', '\n', '\0']), "a broken line: {text}");
    true
}

/// Chunks mean the same however they are cut; `size` gives the length of each piece.
pub fn chunks(input: &[u8], mut size: impl FnMut() -> usize) -> bool {
    let read = |size: &mut dyn FnMut() -> usize| {
        let (mut decoder, mut body, mut at) = (Chunked::default(), Vec::new(), 0);
        while at < input.len() && !decoder.done() {
            let end = (at + size().max(1)).min(input.len());
            let used = decoder.decode(&input[at..end], |part| body.extend_from_slice(part));
            at += used.ok()?;
        }
        Some((body, at, decoder.done()))
    };
    let whole = read(&mut || input.len());
    assert_eq!(whole, read(&mut size));
    whole.is_some()
}

/// A PROXY header is refused, not whole, or of a length that is there; a shorter piece of a whole one
/// is never taken for whole.
pub fn proxy_header(input: &[u8]) -> bool {
    let Ok(Some((length, found))) = proxied::parse(input) else {
        return false;
    };
    assert!(0 < length && length <= input.len());
    assert_eq!(proxied::parse(&input[..length]), Ok(Some((length, found))));
    assert_eq!(proxied::parse(&input[..length - 1]), Ok(None));
    true
}

/// A template is refused, or compiled.
pub fn template(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input);
    Template::compile(&text, &Scope::default()).is_ok()
}
