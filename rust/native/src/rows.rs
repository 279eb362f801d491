//! Python's tuples and words, and what they stand for.

use std::net::IpAddr;
use std::str::FromStr;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use trimaran_datapath::layout::{
    Real, Tunnel, REAL_LISTED, REAL_LOCAL, TUNNEL_CHECKSUM, TUNNEL_GRE, TUNNEL_GUE, TUNNEL_IPIP,
    TUNNEL_OVER_IPV6,
};
use trimaran_datapath::{narrow, wide, Forward, Hook, Listen, Share};

/// (destination MAC, source MAC, interface, MTU)
pub type Hop = ([u8; 6], [u8; 6], u32, u32);
/// (protocol, client, service, real, state, seconds until it expires)
pub type ConnectionRow = (u8, (String, u16), (String, u16), u32, &'static str, u32);
/// ([(real, active, inactive)], live, ended)
pub type SweepRow = (Vec<(u32, u64, u64)>, u64, u64);
/// (kind, port, with checksum, source address)
pub type TunnelRow = (String, u16, bool, String);
/// (index, address, port, service, listed, local, hop, forward, tunnel, weight, upper, lower)
pub type RealRow = (
    u32,
    String,
    u16,
    u32,
    bool,
    bool,
    Option<Hop>,
    &'static str,
    Option<TunnelRow>,
    u32,
    u32,
    u32,
);
/// (address, port, protocol, index, flags, scheduler, granularity, persistence)
pub type ServiceRow = (String, u16, u8, u32, u16, u8, u8, u32);
/// (service, reals, levels)
pub type TableRow = (u32, Vec<u32>, Vec<(u32, u32, u32)>);
/// (service, [(real, address, port, turns)])
pub type MaglevRow = (u32, Vec<(u32, String, u16, u32)>);
/// (real, address, port, VIP, VIP's port, protocol)
pub type OriginRow = (u32, String, u16, String, u16, u8);

pub fn parsed<A: FromStr>(address: &str) -> PyResult<A> {
    address
        .parse()
        .map_err(|_| PyValueError::new_err(format!("{address} is no IP address")))
}

pub fn listen(address: &str, port: u16, protocol: u8) -> PyResult<Listen> {
    Ok(Listen {
        address: parsed(address)?,
        port,
        protocol,
    })
}

pub fn hook(word: &str) -> PyResult<Hook> {
    match word {
        "tc" => Ok(Hook::Tc),
        "xdp" => Ok(Hook::Xdp),
        _ => Err(PyValueError::new_err(format!("there is no hook {word}"))),
    }
}

const TUNNELS: [(&str, u8); 3] = [
    ("ipip", TUNNEL_IPIP),
    ("gue", TUNNEL_GUE),
    ("gre", TUNNEL_GRE),
];

pub fn tunnel((word, port, checksum, source): TunnelRow) -> PyResult<Tunnel> {
    let known = TUNNELS.iter().find(|(name, _)| *name == word);
    let Some((_, kind)) = known else {
        let message = format!("there is no tunnel of kind {word}");
        return Err(PyValueError::new_err(message));
    };
    let source: IpAddr = parsed(&source)?;
    let over6 = if source.is_ipv6() {
        TUNNEL_OVER_IPV6
    } else {
        0
    };
    Ok(Tunnel {
        source: wide(source),
        port: port.to_be_bytes(),
        kind: *kind,
        flags: over6 | if checksum { TUNNEL_CHECKSUM } else { 0 },
    })
}

pub fn tunnel_row(tunnel: Tunnel) -> TunnelRow {
    let known = TUNNELS.iter().find(|(_, kind)| *kind == tunnel.kind);
    (
        known.map_or("", |(name, _)| *name).to_string(),
        u16::from_be_bytes(tunnel.port),
        tunnel.flags & TUNNEL_CHECKSUM != 0,
        narrow(tunnel.source).to_string(),
    )
}

pub fn forward(word: &str, tunnel: Option<TunnelRow>) -> PyResult<Forward> {
    match (word, tunnel) {
        ("dr", None) => Ok(Forward::Direct),
        ("nat", None) => Ok(Forward::Nat),
        ("tunnel", Some(row)) => Ok(Forward::Tunnel(self::tunnel(row)?)),
        _ => {
            let message = format!("forward is dr or nat, or tunnel with one, not {word}");
            Err(PyValueError::new_err(message))
        }
    }
}

pub fn row(index: u32, real: &Real, forward: Forward, share: Share) -> RealRow {
    let (word, tunnel) = match forward {
        Forward::Direct => ("dr", None),
        Forward::Nat => ("nat", None),
        Forward::Tunnel(tunnel) => ("tunnel", Some(tunnel_row(tunnel))),
    };
    let hop = real.hops[usize::from(real.current & 1)];
    (
        index,
        narrow(real.address).to_string(),
        u16::from_be_bytes(real.port),
        real.service,
        real.flags & REAL_LISTED != 0,
        real.flags & REAL_LOCAL != 0,
        (hop.interface != 0).then_some((
            hop.destination_mac,
            hop.source_mac,
            hop.interface,
            hop.mtu,
        )),
        word,
        tunnel,
        share.weight,
        share.upper,
        share.lower,
    )
}
