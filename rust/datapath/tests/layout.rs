//! bpf/layout.h and src/layout.rs say the same: the compiled object's own BTF is the witness.

use std::collections::HashMap;
use std::mem::{offset_of, size_of};

use trimaran_datapath::layout::*;
use trimaran_datapath::OBJECT;

/// Structs by name: (size, {member: offset in bytes}).
struct Btf {
    structs: HashMap<String, (usize, HashMap<String, usize>)>,
}

fn word(data: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(data[at..at + 4].try_into().unwrap())
}

/// The named section of a little-endian ELF64 file.
fn section(elf: &[u8], wanted: &str) -> Vec<u8> {
    let long = |at: usize| u64::from_le_bytes(elf[at..at + 8].try_into().unwrap()) as usize;
    let short = |at: usize| u16::from_le_bytes(elf[at..at + 2].try_into().unwrap()) as usize;
    let header = |index: usize| long(0x28) + index * short(0x3a);
    let names = long(header(short(0x3e)) + 0x18);
    for index in 0..short(0x3c) {
        let (name, start) = (
            names + word(elf, header(index)) as usize,
            long(header(index) + 0x18),
        );
        if elf[name..].starts_with(format!("{wanted}\0").as_bytes()) {
            return elf[start..start + long(header(index) + 0x20)].to_vec();
        }
    }
    panic!("no section {wanted}");
}

/// Documentation/bpf/btf.rst, as far as structs go.
fn btf() -> Btf {
    let data = section(OBJECT, ".BTF");
    let header = word(&data, 4) as usize;
    let (types, length) = (header + word(&data, 8) as usize, word(&data, 12) as usize);
    let strings = header + word(&data, 16) as usize;
    let name = |offset: u32| {
        let text = &data[strings + offset as usize..];
        let end = text.iter().position(|&byte| byte == 0).unwrap();
        String::from_utf8(text[..end].to_vec()).unwrap()
    };
    let mut found = Btf {
        structs: HashMap::new(),
    };
    let mut at = types;
    while at < types + length {
        let info = word(&data, at + 4);
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let rest = at + 12;
        let size = match kind {
            1 | 14 | 17 => 4,
            3 => 12,
            4 | 5 => {
                let offset = |row: usize| (word(&data, row + 8) & 0xff_ffff) as usize / 8;
                let rows = (0..count).map(|n| rest + 12 * n);
                let members = rows
                    .map(|row| (name(word(&data, row)), offset(row)))
                    .collect();
                let size = word(&data, at + 8) as usize;
                found.structs.insert(name(word(&data, at)), (size, members));
                12 * count
            }
            6 | 13 => 8 * count,
            15 | 19 => 12 * count,
            _ => 0,
        };
        at = rest + size;
    }
    found
}

macro_rules! same {
    ($btf:expr, $name:literal, $rust:ty, $($member:ident),+) => {
        let (size, members) = &$btf.structs[$name];
        assert_eq!(*size, size_of::<$rust>(), "size of struct {}", $name);
        let ours = HashMap::from([$((stringify!($member).to_string(), offset_of!($rust, $member))),+]);
        assert_eq!(*members, ours, "members of struct {}", $name);
    };
}

#[test]
fn every_struct_is_the_same_on_both_sides() {
    let btf = btf();
    same!(
        btf,
        "service_key",
        ServiceKey,
        address,
        port,
        protocol,
        zero
    );
    same!(
        btf,
        "service_key6",
        ServiceKey6,
        address,
        port,
        protocol,
        zero
    );
    same!(
        btf,
        "service",
        Service,
        index,
        flags,
        scheduler,
        granularity,
        persistence_s
    );
    same!(btf, "load", Load, active, inactive, weight, upper, lower, overloaded, zero);
    same!(btf, "client_key", ClientKey, service, address);
    same!(btf, "client", Client, real, seen_s);
    same!(
        btf,
        "next_hop",
        NextHop,
        destination_mac,
        source_mac,
        interface,
        mtu
    );
    same!(btf, "real", Real, address, port, current, flags, service, hops);
    same!(btf, "tunnel", Tunnel, source, port, kind, flags);
    same!(
        btf,
        "flow_key",
        FlowKey,
        source_address,
        address,
        source_port,
        port,
        protocol
    );
    same!(
        btf,
        "flow_key6",
        FlowKey6,
        source_address,
        address,
        source_port,
        port,
        protocol
    );
    same!(btf, "flow", Flow, real, seen_s, state, flags, since_ms);
    same!(btf, "counters", Counters, packets, bytes, connections);
}

/// No map and no function's type names this struct, so BTF does not have it: the compiler checks the
/// header's numbers, and this test that they are ours.
#[test]
fn an_event_is_the_same_on_both_sides() {
    let header = include_str!("../../../bpf/layout.h");
    let says = |line: &str| assert!(header.contains(line), "{line}");
    let size = size_of::<FlowEvent>();
    says(&format!(
        "_Static_assert(sizeof(struct flow_event) == {size},"
    ));
    for (member, offset) in [
        ("real", offset_of!(FlowEvent, real)),
        ("state", offset_of!(FlowEvent, state)),
    ] {
        says(&format!(
            "_Static_assert(__builtin_offsetof(struct flow_event, {member}) == {offset},"
        ));
    }
}

/// Enumerators that no function's type mentions are not in BTF, so the header's text is the witness
/// for those and for the limits.
#[test]
fn every_number_is_the_same_on_both_sides() {
    let header = include_str!("../../../bpf/layout.h");
    for (name, value) in [
        ("LAYOUT_VERSION", LAYOUT_VERSION),
        ("MAX_SERVICES", MAX_SERVICES),
        ("MAX_REALS", MAX_REALS),
        ("MAX_SLOTS", MAX_SLOTS),
    ] {
        let line = format!("#define {name} {value}");
        let same = |found: &str| found == line || found.starts_with(&format!("{line} "));
        assert!(header.lines().any(same), "{line}");
    }
    let states = enumerators(header, "enum flow_state {");
    assert_eq!(states[STATE_ESTABLISHED as usize], "STATE_ESTABLISHED");
    assert_eq!(states[STATE_SYN_RECV as usize], "STATE_SYN_RECV");
    assert_eq!(states.len() - 1, TIMEOUTS_S.len());
    let kinds = enumerators(header, "enum tunnel_kind {");
    assert_eq!(kinds[TUNNEL_IPIP as usize], "TUNNEL_IPIP");
    assert_eq!(kinds[TUNNEL_GUE as usize], "TUNNEL_GUE");
    assert_eq!(kinds[TUNNEL_GRE as usize], "TUNNEL_GRE");
    let reasons = enumerators(header, "enum reason {");
    let ours = REASONS.map(|name| format!("REASON_{}", name.to_uppercase()));
    assert_eq!(reasons[..reasons.len() - 1], ours);
    for (name, value) in [
        ("REAL_USED", REAL_USED),
        ("REAL_LISTED", REAL_LISTED),
        ("REAL_LOCAL", REAL_LOCAL),
        ("REAL_TUNNEL", REAL_TUNNEL),
        ("TUNNEL_CHECKSUM", TUNNEL_CHECKSUM),
        ("TUNNEL_OVER_IPV6", TUNNEL_OVER_IPV6),
    ] {
        assert!(header.contains(&format!("{name} = {value},")), "{name}");
    }
}

fn enumerators<'a>(header: &'a str, start: &str) -> Vec<&'a str> {
    let body = header
        .split(start)
        .nth(1)
        .unwrap()
        .split('}')
        .next()
        .unwrap();
    let lines = body
        .lines()
        .map(|line| line.trim().split(',').next().unwrap());
    lines.filter(|line| !line.is_empty()).collect()
}
