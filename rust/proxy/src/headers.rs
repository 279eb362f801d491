//! add_header and expires, put behind an answer's own lines.

use crate::conn::Client;
use crate::exchange::Exchange;
use crate::manner::is_usual;
use crate::response;
use crate::sys;
use crate::vars::Template;
use std::time::{Duration, UNIX_EPOCH};

impl Client {
    /// Write what the location adds to the answer whose lines are in `out` from `start` on.
    pub fn add_headers(&mut self, exchange: &mut Exchange, start: usize) {
        let Some(snapshot) = exchange.snapshot.clone() else {
            return;
        };
        let Some(location) = exchange.location_of(&snapshot) else {
            return;
        };
        if location.headers.is_empty()
            && location.expires.is_none()
            && !snapshot.wants_sent
            && self.inner.is_none()
        {
            return;
        }
        let usual = is_usual(exchange.status);
        let mut out = std::mem::take(&mut self.out);
        if let Some((value, modified)) = location.expires.as_ref().filter(|_| usual) {
            exchange.sent.clear();
            exchange.sent.extend_from_slice(&out[start..]);
            let value = value.value(&exchange.context(self, &snapshot, ""));
            expires(&mut out, start, &value, *modified);
        }
        if !location.headers.is_empty() {
            exchange.sent.clear();
            exchange.sent.extend_from_slice(&out[start..]);
            self.add_lines(exchange, &location.headers, usual, start, &mut out);
        }
        if snapshot.wants_sent || self.inner.is_some() {
            exchange.sent.clear();
            exchange.sent.extend_from_slice(&out[start..]);
        }
        self.out = out;
    }

    fn add_lines(
        &self,
        exchange: &Exchange,
        headers: &[(Vec<u8>, Template, bool)],
        usual: bool,
        start: usize,
        out: &mut Vec<u8>,
    ) {
        let Some(snapshot) = &exchange.snapshot else {
            return;
        };
        let context = exchange.context(self, snapshot, "");
        for (name, value, always) in headers {
            if !usual && !always {
                continue;
            }
            let value = {
                let mut view = context;
                view.more.sent = &out[start..]; // what stands before this line is seen
                value.value(&view)
            };
            let value = value.trim_ascii_end(); // a '\n' at the end would end the head
            let unique =
                name.eq_ignore_ascii_case(b"last-modified") || name.eq_ignore_ascii_case(b"etag");
            if unique {
                remove(out, start, name);
            }
            if !value.is_empty() && !value.contains(&b'\n') && !value.contains(&b'\r') {
                response::header(out, name, value);
            }
        }
    }
}

/// Take the lines of a header out of the head that begins at `start`.
fn remove(out: &mut Vec<u8>, start: usize, name: &[u8]) {
    let head = out.split_off(start);
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        let colon = line.iter().position(|byte| *byte == b':');
        if !colon.is_some_and(|colon| line[..colon].eq_ignore_ascii_case(name)) {
            out.extend_from_slice(line);
        }
    }
}

fn value_of(head: &[u8], name: &[u8]) -> Option<String> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let same = line[..colon].eq_ignore_ascii_case(name);
        same.then(|| String::from_utf8_lossy(line[colon + 1..].trim_ascii()).into_owned())
    })
}

fn expires(out: &mut Vec<u8>, start: usize, value: &[u8], modified: bool) {
    let text = String::from_utf8_lossy(value).into_owned();
    if text == "off" || text.is_empty() || modified && matches!(text.as_str(), "epoch" | "max") {
        return;
    }
    let now = sys::wall_ms() / 1000;
    let from = if modified {
        let date = value_of(&out[start..], b"last-modified");
        match date.and_then(|date| httpdate::parse_http_date(&date).ok()) {
            Some(date) => date
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            None => return,
        }
    } else {
        now
    };
    let date = |at: u64| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(at));
    let (date, control) = match text.as_str() {
        "epoch" => ("Thu, 01 Jan 1970 00:00:01 GMT".into(), "no-cache".into()),
        "max" => (
            "Thu, 31 Dec 2037 23:55:55 GMT".into(),
            "max-age=315360000".into(),
        ),
        "0" => (date(now), "max-age=0".into()),
        other => {
            let (daily, digits) = match other.strip_prefix('@') {
                Some(rest) => (true, rest),
                None => (false, other),
            };
            let Some(seconds) = duration_s(digits) else {
                return;
            };
            let seconds = if daily {
                until_daytime(now, seconds)
            } else {
                seconds
            };
            let at = (from as i64 + seconds).max(0) as u64;
            let age = at as i64 - now as i64;
            let control = if age < 0 {
                "no-cache".into()
            } else {
                format!("max-age={age}")
            };
            (date(at), control)
        }
    };
    remove(out, start, b"expires");
    remove(out, start, b"cache-control");
    response::header(out, b"Expires", date.as_bytes());
    response::header(out, b"Cache-Control", control.as_bytes());
}

/// Seconds from now to the next time that this second of the (local) day begins.
fn until_daytime(now: u64, second: i64) -> i64 {
    let (_, _, _, hour, minute, here, _) = sys::local_time(now);
    let today = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(here);
    (second - today).rem_euclid(86_400)
}

/// '1d12h', '-30' or '33s' in seconds.
fn duration_s(text: &str) -> Option<i64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (mut total, mut number) = (0i64, None);
    for letter in text.bytes() {
        if letter.is_ascii_digit() {
            let digit = i64::from(letter - b'0');
            number = Some(number.unwrap_or(0i64).checked_mul(10)?.checked_add(digit)?);
            continue;
        }
        let unit = match letter {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            b'M' => 2_592_000,
            b'y' => 31_536_000,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    if text.is_empty() {
        return None;
    }
    Some(sign * total.checked_add(number.unwrap_or(0))?)
}
