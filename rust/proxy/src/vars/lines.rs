//! Values looked up in a request's lines: headers, arguments, cookies; and in the text of a head.

use super::values::some;
use crate::request::Request;

pub fn header(request: &Request, name: &[u8], out: &mut Vec<u8>) -> bool {
    some(request.header(name), out)
}

/// Headers that came more than once, in one value as nginx has it.
pub fn joined(request: &Request, name: &[u8], out: &mut Vec<u8>) -> bool {
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

pub fn cookie<'a>(request: &'a Request, name: &[u8]) -> Option<&'a [u8]> {
    let lines = request
        .headers
        .iter()
        .filter(|header| request.at(&header.name).eq_ignore_ascii_case(b"cookie"));
    lines
        .flat_map(|header| request.at(&header.value).split(|byte| *byte == b';'))
        .find_map(|pair| {
            let pair = pair.trim_ascii_start();
            let at = pair.iter().position(|byte| *byte == b'=')?;
            pair[..at]
                .eq_ignore_ascii_case(name)
                .then(|| &pair[at + 1..])
        })
}

/// The values of one header in the text of a head.
pub fn head_line(head: &[u8], name: &[u8], out: &mut Vec<u8>) -> bool {
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
pub fn forwarded_for(request: &Request, out: &mut Vec<u8>) {
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

fn bare(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != b' ');
    &text[..end.map_or(0, |end| end + 1)]
}

/// The value that a peer's answer gives a cookie.
pub fn set_cookie(head: &[u8], name: &[u8], out: &mut Vec<u8>) -> bool {
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let value = line[colon + 1..].trim_ascii();
        let Some(equals) = value.iter().position(|byte| *byte == b'=') else {
            continue;
        };
        if line[..colon].eq_ignore_ascii_case(b"set-cookie") && bare(&value[..equals]) == name {
            let rest = &value[equals + 1..];
            let end = rest.iter().position(|byte| *byte == b';');
            out.extend_from_slice(rest[..end.unwrap_or(rest.len())].trim_ascii());
            return true;
        }
    }
    false
}
