//! The flows one by one, for people to read.

use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use crate::flows::{for_each, now_s};
use crate::layout::{Flow, FlowKey, FlowKey6, STATE_COUNT, TIMEOUTS_S};

/// IPVS's names of the states.
pub const STATES: [&str; STATE_COUNT as usize] = [
    "NONE",
    "ESTABLISHED",
    "SYN_RECV",
    "FIN_WAIT",
    "TIME_WAIT",
    "CLOSE",
    "UDP",
];

/// One flow: from whom to which service, by the index of its real server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub protocol: u8,
    pub client: (IpAddr, u16),
    pub service: (IpAddr, u16),
    pub real: u32,
    pub state: &'static str,
    pub expires_s: u32,
}

/// A key of either flow table.
pub trait Ends: Copy + Default {
    fn ends(&self) -> (u8, (IpAddr, u16), (IpAddr, u16));
}

macro_rules! ends {
    ($key:ty) => {
        impl Ends for $key {
            fn ends(&self) -> (u8, (IpAddr, u16), (IpAddr, u16)) {
                (
                    self.protocol as u8,
                    (
                        self.source_address.into(),
                        u16::from_be_bytes(self.source_port),
                    ),
                    (self.address.into(), u16::from_be_bytes(self.port)),
                )
            }
        }
    };
}
ends!(FlowKey);
ends!(FlowKey6);

/// The flows of a map that have not expired, until there are `most` in all.
pub fn list<K: Ends>(
    map: BorrowedFd<'_>,
    most: usize,
    found: &mut Vec<Connection>,
) -> io::Result<()> {
    let now_s = now_s();
    for_each(map, |key: &K, flow: &Flow| {
        let timeout = TIMEOUTS_S.get(flow.state as usize).copied().unwrap_or(0);
        let silent = now_s.saturating_sub(flow.seen_s);
        if found.len() < most && silent <= timeout {
            let (protocol, client, service) = key.ends();
            found.push(Connection {
                protocol,
                client,
                service,
                real: flow.real,
                state: STATES.get(flow.state as usize).copied().unwrap_or("NONE"),
                expires_s: timeout - silent,
            });
        }
        Ok(())
    })
}
