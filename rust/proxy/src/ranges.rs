//! Which parts of a file are asked for (RFC 9110 §14).

use std::collections::VecDeque;

/// What is sent of a file: each part with what stands before it, and what comes behind all.
#[derive(Default)]
pub struct Body {
    pub parts: VecDeque<(Vec<u8>, u64, u64)>,
    pub tail: Vec<u8>,
    pub length: u64,
    /// The media type, if it is another than the file's.
    pub kind: Option<String>,
}

impl Body {
    pub fn whole(size: u64) -> Body {
        Body {
            parts: VecDeque::from([(Vec::new(), 0, size)]),
            length: size,
            ..Body::default()
        }
    }

    /// One part as it is, several as multipart/byteranges.
    pub fn of(
        parts: &[(u64, u64)],
        size: u64,
        kind: &str,
        boundary: &str,
        headers: &mut Vec<(&'static str, Vec<u8>)>,
    ) -> Body {
        if let [(first, last)] = parts {
            let range = format!("bytes {first}-{last}/{size}");
            headers.push(("Content-Range", range.into_bytes()));
            let length = last - first + 1;
            return Body {
                parts: VecDeque::from([(Vec::new(), *first, length)]),
                length,
                ..Body::default()
            };
        }
        let mut body = Body {
            kind: Some(format!("multipart/byteranges; boundary={boundary}")),
            tail: format!("\r\n--{boundary}--\r\n").into_bytes(),
            ..Body::default()
        };
        for (first, last) in parts {
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: {kind}\r\n\
                 Content-Range: bytes {first}-{last}/{size}\r\n\r\n"
            );
            let count = last - first + 1;
            body.length += head.len() as u64 + count;
            body.parts.push_back((head.into_bytes(), *first, count));
        }
        body.length += body.tail.len() as u64;
        body
    }
}

/// First and last byte of each part, in the order asked for; none: the whole. Err(()): no part that
/// exists. More than `most` parts, or parts longer than the whole together, get the whole.
pub fn parse(text: &[u8], size: u64, most: u32) -> Result<Vec<(u64, u64)>, ()> {
    let unit = text.get(..6);
    if !unit.is_some_and(|unit| unit.eq_ignore_ascii_case(b"bytes=")) {
        return Ok(Vec::new());
    }
    let (mut parts, mut total) = (Vec::new(), 0u64);
    for word in text[6..].split(|byte| *byte == b',') {
        let (first, last) = match span(word).ok_or(())? {
            (Some(first), last) => (first, last.unwrap_or(u64::MAX).min(size.max(1) - 1)),
            (None, Some(count)) => (size.saturating_sub(count), size.max(1) - 1),
            (None, None) => return Err(()),
        };
        if first > last || first >= size {
            continue;
        }
        if parts.len() as u64 >= u64::from(most) {
            return Ok(Vec::new());
        }
        parts.push((first, last));
        total = total.saturating_add(last - first + 1);
    }
    match parts.len() {
        0 => Err(()),
        _ if total > size => Ok(Vec::new()),
        _ => Ok(parts),
    }
}

/// '5-9', '5-', '-5'; None when it is none of them.
fn span(text: &[u8]) -> Option<(Option<u64>, Option<u64>)> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let (first, last) = text.split_once('-')?;
    let number = |digits: &str| -> Option<Option<u64>> {
        if digits.is_empty() {
            return Some(None);
        }
        let plain = digits.len() <= 18 && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().ok())
    };
    Some((number(first.trim())?, number(last.trim())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_what_is_there() {
        let parse = |text: &str| parse(text.as_bytes(), 1000, 3);
        assert_eq!(parse("bytes=0-8"), Ok(vec![(0, 8)]));
        assert_eq!(parse("Bytes=-10"), Ok(vec![(990, 999)]));
        assert_eq!(parse("bytes=990-1990"), Ok(vec![(990, 999)]));
        assert_eq!(
            parse("bytes=0-9, 10000-, -10"),
            Ok(vec![(0, 9), (990, 999)])
        );
        assert_eq!(parse("bytes=-2000"), Ok(vec![(0, 999)]));
        for whole in ["bytes=0-9999, 0-0", "bytes=1-1,2-2,3-3,4-4", "lines=1-2"] {
            assert_eq!(parse(whole), Ok(vec![]), "{whole}");
        }
        for bad in [
            "bytes=1000-",
            "bytes=a",
            "bytes=1-a",
            "bytes=1",
            "bytes=1-2 3-",
            "bytes=-",
            "bytes=-0",
        ] {
            assert_eq!(parse(bad), Err(()), "{bad}");
        }
    }
}
