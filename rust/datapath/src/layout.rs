//! The keys and values of the maps, as bpf/layout.h has them; tests/layout.rs compares the two.

use aya::Pod;

pub const LAYOUT_VERSION: u32 = 5;
pub const MAX_SERVICES: u32 = 16384;
pub const MAX_REALS: u32 = 16384;
pub const MAX_SLOTS: u32 = 65536;
pub const TABLE_HAS_LEVELS: u32 = 1 << 31;

/// Names of `enum reason`, in its order.
pub const REASONS: [&str; 17] = [
    "malformed",
    "fragment",
    "ttl",
    "no_real_server",
    "real_server_down",
    "no_mac",
    "internal",
    "table_full",
    "adopted",
    "waiting",
    "untold",
    "extension_headers",
    "mtu",
    "answered",
    "encapsulation",
    "reset",
    "unpinned",
];

/// Its place in `REASONS`.
pub const REASON_UNTOLD: u32 = 10;

pub const REAL_USED: u8 = 1;
pub const REAL_LISTED: u8 = 2;
pub const REAL_LOCAL: u8 = 4;
pub const REAL_TUNNEL: u8 = 8;

pub const TUNNEL_IPIP: u8 = 0;
pub const TUNNEL_GUE: u8 = 1;
pub const TUNNEL_GRE: u8 = 2;
pub const TUNNEL_CHECKSUM: u8 = 1;
pub const TUNNEL_OVER_IPV6: u8 = 2;

pub const SERVICE_SYNC: u16 = 1;

pub const FLOW_ADOPTED: u8 = 1;
pub const FLOW_SYNCED: u8 = 2;
pub const FLOW_WAITING: u8 = 4;

pub const STATE_NONE: u8 = 0;
pub const STATE_ESTABLISHED: u8 = 1;
pub const STATE_SYN_RECV: u8 = 2;
pub const STATE_COUNT: u8 = 7;

/// Seconds of silence after which a flow ends, by state: IPVS's own (but for NONE, that of a flow
/// which waits for a peer's word: longer than a retransmission takes).
pub const TIMEOUTS_S: [u32; 7] = [10, 900, 60, 120, 120, 10, 300];

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceKey {
    pub address: [u8; 4],
    pub port: [u8; 2],
    pub protocol: u8,
    pub zero: u8,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServiceKey6 {
    pub address: [u8; 16],
    pub port: [u8; 2],
    pub protocol: u8,
    pub zero: u8,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    pub index: u32,
    pub flags: u16,
    pub scheduler: u8,
    pub granularity: u8,
    pub persistence_s: u32,
}

/// `loads::Loads` has it as atomics.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    pub active: u32,
    pub inactive: u32,
    pub weight: u32,
    pub upper: u32,
    pub lower: u32,
    pub overloaded: u32,
    pub zero: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientKey {
    pub service: u32,
    pub address: [u8; 16],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Client {
    pub real: u32,
    pub seen_s: u32,
}

/// As IPVS counts: ActiveConn, else InActConn.
pub fn is_active(state: u8) -> bool {
    state == STATE_ESTABLISHED || state == STATE_SYN_RECV
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHop {
    pub destination_mac: [u8; 6],
    pub source_mac: [u8; 6],
    pub interface: u32,
    pub mtu: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Real {
    pub address: [u8; 16],
    pub port: [u8; 2],
    pub current: u8,
    pub flags: u8,
    pub service: u32,
    pub hops: [NextHop; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tunnel {
    pub source: [u8; 16],
    pub port: [u8; 2],
    pub kind: u8,
    pub flags: u8,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowKey {
    pub source_address: [u8; 4],
    pub address: [u8; 4],
    pub source_port: [u8; 2],
    pub port: [u8; 2],
    pub protocol: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowKey6 {
    pub source_address: [u8; 16],
    pub address: [u8; 16],
    pub source_port: [u8; 2],
    pub port: [u8; 2],
    pub protocol: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    pub real: u32,
    pub seen_s: u32,
    pub state: u8,
    pub flags: u8,
    pub since_ms: u16,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowEvent {
    pub key: FlowKey,
    pub real: u32,
    pub state: u8,
    pub zero: [u8; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub packets: u64,
    pub bytes: u64,
    pub connections: u64,
}

// SAFETY: plain integers and byte arrays without padding (tests/layout.rs compares every offset).
unsafe impl Pod for ServiceKey {}
unsafe impl Pod for ServiceKey6 {}
unsafe impl Pod for Service {}
unsafe impl Pod for Load {}
unsafe impl Pod for ClientKey {}
unsafe impl Pod for Client {}
unsafe impl Pod for Real {}
unsafe impl Pod for Tunnel {}
unsafe impl Pod for FlowKey {}
unsafe impl Pod for FlowKey6 {}
unsafe impl Pod for Flow {}
unsafe impl Pod for FlowEvent {}
unsafe impl Pod for Counters {}
