//! Who may: networks, Basic passwords.

use crate::password;
use crate::request::Request;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::str::FromStr;

/// 'ADDRESS[/LENGTH]', 'FIRST-LAST' or 'all'.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    first: u128,
    last: u128,
}

fn number(address: &IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl Network {
    pub fn has(&self, address: &IpAddr) -> bool {
        (self.first..=self.last).contains(&number(address))
    }

    /// Longer networks are smaller ones.
    pub fn length(&self) -> u32 {
        (self.last - self.first).leading_zeros()
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let bad = || format!("'{text}' is no network");
        if text == "all" {
            return Ok(Network {
                first: 0,
                last: u128::MAX,
            });
        }
        if let Some((first, last)) = text.split_once('-') {
            let first: IpAddr = first.parse().map_err(|_| bad())?;
            let last: IpAddr = last.parse().map_err(|_| bad())?;
            return Ok(Network {
                first: number(&first),
                last: number(&last),
            });
        }
        let (address, length) = text
            .split_once('/')
            .map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().map_err(|_| bad())?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let length: u32 = length.map_or(Ok(whole), str::parse).map_err(|_| bad())?;
        if length > whole {
            return Err(bad());
        }
        let free = whole - length;
        let mask = if free == 128 {
            u128::MAX
        } else {
            (1u128 << free) - 1
        };
        let first = number(&address) & !mask;
        Ok(Network {
            first,
            last: first | mask,
        })
    }
}

/// The name in the request's Basic credentials.
pub fn user(request: &Request) -> Option<Vec<u8>> {
    let pair = credentials(request)?;
    let at = pair.iter().position(|byte| *byte == b':')?;
    Some(pair[..at].to_vec())
}

/// 'name:password' of the request.
pub fn credentials(request: &Request) -> Option<Vec<u8>> {
    let value = request.header(b"authorization")?;
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    base64(rest.trim_ascii())
}

/// Whether 'name:password' is in an htpasswd file: None, or the status that refuses it.
pub fn check(given: Option<&[u8]>, file: &[u8]) -> Option<u16> {
    let Some(given) = given else {
        return Some(401);
    };
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(file));
    let Ok(text) = std::fs::read(path) else {
        return Some(403);
    };
    let Some(at) = given.iter().position(|byte| *byte == b':') else {
        return Some(401);
    };
    let (name, password) = (&given[..at], &given[at + 1..]);
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut words = line.split(|byte| *byte == b':');
        if words.next() != Some(name) {
            continue;
        }
        let hash = words.next().unwrap_or_default();
        return if password::matches(password, hash) {
            None
        } else {
            Some(401)
        };
    }
    Some(401)
}

pub fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for byte in text.iter().take_while(|byte| **byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_their_addresses() {
        let has = |network: &str, address: &str| {
            let network: Network = network.parse().unwrap();
            network.has(&address.parse().unwrap())
        };
        assert!(has("127.0.0.0/8", "127.1.2.3"));
        assert!(!has("127.0.0.0/8", "128.0.0.0"));
        assert!(has("10.0.0.1", "10.0.0.1") && !has("10.0.0.1", "10.0.0.2"));
        assert!(has("1.1.1.1-1.1.1.9", "1.1.1.5") && has("all", "::1"));
        assert!(has("2001:db8::/32", "2001:db8::1") && !has("0.0.0.0/0", "::1"));
        assert!("1.2.3.4/33".parse::<Network>().is_err() && "x".parse::<Network>().is_err());
    }

    #[test]
    fn base64_is_read() {
        assert_eq!(base64(b"dXNlcjpwYXNz").unwrap(), b"user:pass");
        assert_eq!(base64(b"YQ==").unwrap(), b"a");
        assert!(base64(b"*").is_none());
    }
}
