//! The PROXY protocol, versions 1 and 2: what a load balancer in front says of a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const LONGEST_V1: usize = 107;

/// Who is at the ends of the connection to the load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxied {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    /// (type, value) of version 2, in their order.
    pub extras: Vec<(u8, Vec<u8>)>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct BadProxy(pub &'static str);

/// The header at the start of `input`: its length, and what it says (None: nothing that is an IP
/// address). None while it is not whole.
pub fn parse(input: &[u8]) -> Result<Option<(usize, Option<Proxied>)>, BadProxy> {
    let same = input.len().min(SIGNATURE.len());
    if input[..same] == SIGNATURE[..same] {
        if input.len() < SIGNATURE.len() {
            return Ok(None);
        }
        return version_2(input);
    }
    version_1(input)
}

fn version_1(input: &[u8]) -> Result<Option<(usize, Option<Proxied>)>, BadProxy> {
    let start = b"PROXY ";
    let same = input.len().min(start.len());
    if input[..same] != start[..same] {
        return Err(BadProxy("no PROXY header"));
    }
    let window = &input[..input.len().min(LONGEST_V1)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        if input.len() >= LONGEST_V1 {
            return Err(BadProxy("PROXY line too long"));
        }
        return Ok(None);
    };
    let bad = BadProxy("malformed PROXY line");
    let line = std::str::from_utf8(&input[start.len().min(end)..end]).map_err(|_| bad)?;
    let words: Vec<&str> = line.split(' ').collect();
    let proxied = match words.as_slice() {
        ["UNKNOWN", ..] => None,
        [family @ ("TCP4" | "TCP6"), from, to, from_port, to_port] => {
            let v4 = *family == "TCP4";
            let source = SocketAddr::new(address(from, v4)?, port(from_port)?);
            let destination = SocketAddr::new(address(to, v4)?, port(to_port)?);
            Some(Proxied {
                source,
                destination,
                extras: Vec::new(),
            })
        }
        _ => return Err(BadProxy("malformed PROXY line")),
    };
    Ok(Some((end + 2, proxied)))
}

fn address(text: &str, v4: bool) -> Result<IpAddr, BadProxy> {
    let address: IpAddr = text.parse().map_err(|_| BadProxy("PROXY address"))?;
    if address.is_ipv4() != v4 {
        return Err(BadProxy("PROXY address of another family"));
    }
    Ok(address)
}

fn port(text: &str) -> Result<u16, BadProxy> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|_| digits);
    port.ok_or(BadProxy("PROXY port"))
}

fn version_2(input: &[u8]) -> Result<Option<(usize, Option<Proxied>)>, BadProxy> {
    let Some([version, family, high, low]) = input.get(12..16) else {
        return Ok(None);
    };
    if version >> 4 != 2 {
        return Err(BadProxy("PROXY version"));
    }
    let length = usize::from(*high) << 8 | usize::from(*low);
    let Some(body) = input.get(16..16 + length) else {
        return Ok(None);
    };
    let done = |proxied| Ok(Some((16 + length, proxied)));
    match version & 0xf {
        0 => return done(None), // LOCAL: the load balancer's own, a health check
        1 => {}
        _ => return Err(BadProxy("PROXY command")),
    }
    let size = match family {
        0x11 => 4,
        0x21 => 16,
        _ => return done(None), // neither TCP over IPv4 nor over IPv6
    };
    let ends = 2 * size + 4;
    if body.len() < ends {
        return Err(BadProxy("PROXY addresses cut short"));
    }
    let end = |at: usize, port: usize| {
        let ip = &body[at..at + size];
        let ip = match (<[u8; 4]>::try_from(ip), <[u8; 16]>::try_from(ip)) {
            (Ok(v4), _) => IpAddr::from(Ipv4Addr::from(v4)),
            (_, Ok(v6)) => IpAddr::from(Ipv6Addr::from(v6)),
            _ => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        };
        SocketAddr::new(ip, u16::from_be_bytes([body[port], body[port + 1]]))
    };
    done(Some(Proxied {
        source: end(0, 2 * size),
        destination: end(size, 2 * size + 2),
        extras: extras(&body[ends..])?,
    }))
}

fn extras(mut rest: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, BadProxy> {
    let mut found = Vec::new();
    while let [kind, high, low, more @ ..] = rest {
        let length = usize::from(*high) << 8 | usize::from(*low);
        let value = more.get(..length).ok_or(BadProxy("PROXY TLV cut short"))?;
        found.push((*kind, value.to_vec()));
        rest = &more[length..];
    }
    if rest.is_empty() {
        Ok(found)
    } else {
        Err(BadProxy("PROXY TLV cut short"))
    }
}

impl Proxied {
    /// The value of `$proxy_protocol_tlv_NAME`: a name of the protocol, its number, or (with ssl_)
    /// one within the TLS entry.
    pub fn extra(&self, name: &str) -> Option<Vec<u8>> {
        if let Some(inner) = name.strip_prefix("ssl_") {
            let (_, ssl) = self.extras.iter().find(|(kind, _)| *kind == 0x20)?;
            if inner == "verify" {
                let word = <[u8; 4]>::try_from(ssl.get(1..5)?).ok()?;
                return Some(u32::from_be_bytes(word).to_string().into_bytes());
            }
            let kind = number(inner, SSL)?;
            let inside = extras(ssl.get(5..)?).ok()?;
            return inside
                .into_iter()
                .find(|each| each.0 == kind)
                .map(|each| each.1);
        }
        let kind = number(name, PLAIN)?;
        let found = self.extras.iter().find(|each| each.0 == kind)?;
        Some(found.1.clone())
    }
}

const PLAIN: &[(&str, u8)] = &[
    ("alpn", 0x01),
    ("authority", 0x02),
    ("unique_id", 0x05),
    ("ssl", 0x20),
    ("netns", 0x30),
];
const SSL: &[(&str, u8)] = &[
    ("version", 0x21),
    ("cn", 0x22),
    ("cipher", 0x23),
    ("sig_alg", 0x24),
    ("key_alg", 0x25),
];

fn number(name: &str, names: &[(&str, u8)]) -> Option<u8> {
    if let Some(hex) = name.strip_prefix("0x") {
        return u8::from_str_radix(hex, 16).ok();
    }
    names.iter().find(|each| each.0 == name).map(|each| each.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [SIGNATURE, &[0x20 | command, family], &length, body].concat()
    }

    #[test]
    fn every_cut_is_not_whole_yet() {
        let body = [
            &[192, 0, 2, 1, 192, 0, 2, 2, 0, 123, 22, 46][..],
            &[2, 0, 3, b'a', b'.', b'b'],
        ]
        .concat();
        for whole in [
            b"PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r\n".to_vec(),
            v2(1, 0x11, &body),
        ] {
            for cut in 0..whole.len() {
                assert_eq!(parse(&whole[..cut]), Ok(None), "{cut}");
            }
            let more = [&whole[..], b"GET"].concat();
            let (length, found) = parse(&more).unwrap().unwrap();
            let found = found.unwrap();
            assert_eq!(length, whole.len());
            assert_eq!(found.source, "192.0.2.1:123".parse().unwrap());
            assert_eq!(found.destination, "192.0.2.2:5678".parse().unwrap());
        }
    }

    #[test]
    fn what_says_nothing_is_taken_as_such() {
        for whole in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN 1 2 3\r\n".to_vec(),
            v2(0, 0, b""),
            v2(1, 0x31, &[0; 216]),
        ] {
            assert_eq!(parse(&whole), Ok(Some((whole.len(), None))));
        }
    }

    #[test]
    fn garbage_is_refused() {
        let long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        let cases: &[&[u8]] = &[
            b"GET / HTTP/1.1\r\n",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 123\r\n",
            b"PROXY TCP4 ::1 ::2 1 2\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n",
            b"PROXY TCP4 1.1.1.1 2.2.2.2 1 99999\r\n",
            &long,
            &v2(1, 0x11, b"short"),
            &v2(5, 0x11, &[0; 12]),
            &v2(1, 0x11, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 9]),
        ];
        for case in cases {
            assert!(parse(case).is_err(), "{}", case.escape_ascii());
        }
    }
}
