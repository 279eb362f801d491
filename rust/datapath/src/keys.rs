//! Addresses and services as the maps write them.

use std::net::{IpAddr, Ipv4Addr};

use crate::layout::{ServiceKey, ServiceKey6};

/// What serves: an address and port of a protocol. Port 0 is every other port; protocol 0 marks
/// the address itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    pub address: IpAddr,
    pub port: u16,
    pub protocol: u8,
}

pub enum AnyServiceKey {
    V4(ServiceKey),
    V6(ServiceKey6),
}

pub fn service_key(listen: Listen) -> AnyServiceKey {
    let (port, protocol, zero) = (listen.port.to_be_bytes(), listen.protocol, 0);
    match listen.address {
        IpAddr::V4(address) => AnyServiceKey::V4(ServiceKey {
            address: address.octets(),
            port,
            protocol,
            zero,
        }),
        IpAddr::V6(address) => AnyServiceKey::V6(ServiceKey6 {
            address: address.octets(),
            port,
            protocol,
            zero,
        }),
    }
}

/// 16 bytes; IPv4's are the first four.
pub fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
    }
}

/// The reverse of `wide`: no IPv6 address of a machine ends in twelve zeros.
pub fn narrow(bytes: [u8; 16]) -> IpAddr {
    match bytes {
        [a, b, c, d, rest @ ..] if rest == [0; 12] => Ipv4Addr::new(a, b, c, d).into(),
        _ => bytes.into(),
    }
}
