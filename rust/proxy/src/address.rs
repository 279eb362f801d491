//! Where a peer listens.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Ip(SocketAddr),
    /// The path of a socket in the file system.
    Unix(Arc<str>),
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(address) => write!(out, "{address}"),
            Address::Unix(path) => write!(out, "unix:{path}"),
        }
    }
}

impl Address {
    /// 'unix:PATH', 'IP:PORT', or 'IP', whose port is 80.
    pub fn parse(text: &str) -> Option<Address> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Some(Address::Unix(path.trim_end_matches(':').into()));
        }
        let ip = || {
            text.parse::<IpAddr>()
                .ok()
                .map(|ip| SocketAddr::new(ip, 80))
        };
        text.parse().ok().or_else(ip).map(Address::Ip)
    }
}

/// proxy_bind: where a connection to a peer is to come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    pub address: SocketAddr,
    /// The address need not be ours.
    pub transparent: bool,
}

impl Bind {
    /// 'ADDRESS[:PORT] [transparent]'; None for 'off' and for what is no address, as in nginx.
    pub fn parse(text: &[u8]) -> Option<Bind> {
        let mut words = std::str::from_utf8(text).ok()?.split_ascii_whitespace();
        let word = words.next()?;
        let ip = || word.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0));
        Some(Bind {
            address: word.parse().ok().or_else(ip)?,
            transparent: words.next() == Some("transparent"),
        })
    }
}
