"""IPIP, GUE and GRE: what goes out, byte for byte as scapy makes it."""

import itertools

import pytest
from director_rig import (
    CLIENT6,
    CLIENT_MAC,
    DIRECTOR_MAC,
    DROP,
    HERE,
    REDIRECT,
    UDP_NUMBER,
    VIP,
    VIP6,
    Rig,
    both_hooks,
    datagram,
    real_address,
    real_mac,
    segment,
    segment6,
)  # fmt: skip
from scapy.layers.inet import ICMP, IP, UDP, fragment
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.packet import Packet, Raw

SOURCE, SOURCE6 = "10.0.0.2", "fd00::2"
GUE_PORT = 6080
KINDS = ("ipip", "gue", "gre")


def serve(rig: Rig, kind: str, *, checksum: bool, source: str, mtu: int = 1500) -> None:
    """Real server 1 behind that tunnel, for all that the tests send."""
    services = itertools.product((VIP, VIP6), ((80, 6), (53, UDP_NUMBER)))
    for service, (vip, (port, protocol)) in enumerate(services):
        rig.serve([1], service=service, vip=vip, port=port, protocol=protocol)
    port = GUE_PORT if kind == "gue" else 0
    rig.set_real(1, tunnel=(kind, port, checksum, source), mtu=mtu)


def datagram6(load: bytes = b"?", **ip: object) -> Ether:
    fields: dict[str, object] = {"src": CLIENT6, "dst": VIP6, **ip}
    return Ether(dst=HERE) / IPv6(**fields) / UDP(sport=40000, dport=53) / load


def inner_of(frame: Packet) -> Packet:
    """The IP packet, one hop further."""
    inner = frame.payload.copy()
    if isinstance(inner, IP):
        inner.ttl -= 1
        del inner.chksum
    else:
        inner.hlim -= 1
    return inner.__class__(bytes(inner))


def expected(frame: Packet, got: bytes, kind: str, *, checksum: bool, source: str) -> bytes:
    """The frame that must have come out. What is free to choose (IP's id where it may be
    fragmented, GUE's source port) is taken from what did."""
    inner = inner_of(frame)
    over4, of4 = ":" not in source, isinstance(inner, IP)
    tos, ttl = (inner.tos, inner.ttl) if of4 else (inner.tc, inner.hlim)
    real = str(real_address(1, source))
    out: Packet
    if over4:
        whole = of4 and "DF" in str(inner.flags)
        ident = 0 if whole else IP(got[14:]).id
        out = IP(src=source, dst=real, tos=tos, ttl=ttl, id=ident, flags="DF" if whole else 0)
    else:
        out = IPv6(src=source, dst=real, tc=tos, hlim=ttl)
    at = 34 if over4 else 54
    number = 4 if of4 else 41
    if kind == "gue":
        sport = int.from_bytes(got[at : at + 2])
        assert 32768 <= sport < 61000
        udp = UDP(sport=sport, dport=GUE_PORT, **({} if checksum else {"chksum": 0}))
        out = out / udp / Raw(bytes([0, number, 0, 0]) + bytes(inner))
    elif kind == "gre":
        gre = GRE(proto=0x0800 if of4 else 0x86DD, chksum_present=int(checksum))
        out = out / gre / Raw(bytes(inner))
    else:
        out = out / Raw(bytes(inner))
        out.fields["proto" if over4 else "nh"] = number
    return bytes(Ether(dst=real_mac(1), src=DIRECTOR_MAC) / out)


def frames() -> dict[str, Ether]:
    """What is sent, with all its checksums in it."""
    whole = segment("PA") / Raw(bytes(range(200)))
    whole[IP].flags = "DF"
    made = {
        "tcp4": segment("A", tos=0x48) / Raw(b"odd"),
        "tcp4 df": whole,
        "udp4": datagram(load=b"what", ttl=2),
        "tcp6": segment6("A", tc=0xB8) / Raw(b"odd"),
        "udp6": datagram6(b"x" * 33),
    }
    return {name: Ether(bytes(frame)) for name, frame in made.items()}


@both_hooks
@pytest.mark.parametrize("source", [SOURCE, SOURCE6])
@pytest.mark.parametrize(
    ("kind", "checksum"),
    [("ipip", False), ("gue", False), ("gue", True), ("gre", False), ("gre", True)],
)
def test_a_tunnelled_packet_is_what_scapy_makes(
    rig: Rig, kind: str, checksum: bool, source: str
) -> None:
    serve(rig, kind, checksum=checksum, source=source)
    for name, frame in frames().items():
        verdict, got = rig.send(frame)
        assert verdict == REDIRECT, (name, rig.reasons())
        wanted = expected(frame, got, kind, checksum=checksum, source=source)
        assert got.hex() == wanted.hex(), name
    assert rig.reasons() == {"adopted": 2}


def test_flows_have_source_ports_of_their_own(rig: Rig) -> None:
    """So that the real server's queues and the network's paths share them out."""
    serve(rig, "gue", checksum=False, source=SOURCE)
    ports = {
        sport: {Ether(rig.send(segment(flags, sport=sport))[1])[UDP].sport for flags in "SA"}
        for sport in range(100, 200)
    }
    assert all(len(each) == 1 for each in ports.values())
    assert len(set.union(*ports.values())) > 90


@pytest.mark.parametrize("kind", KINDS)
def test_a_packet_longer_than_the_tunnel_is_answered_with_what_fits(rig: Rig, kind: str) -> None:
    """The control plane writes the hop's MTU without the tunnel's headers."""
    serve(rig, kind, checksum=False, source=SOURCE, mtu=1480)
    frame = segment("A") / Raw(bytes(1441))
    frame[IP].flags = "DF"
    answer = Ether(rig.send(frame)[1])
    assert (answer[ICMP].type, answer[ICMP].code, answer[ICMP].nexthopmtu) == (3, 4, 1480)
    assert rig.send(segment6("A") / Raw(bytes(1421)))[0] == REDIRECT
    assert Ether(rig.send(segment6("A") / Raw(bytes(1421)))[1])[ICMPv6PacketTooBig].mtu == 1480
    fitting = segment("A") / Raw(bytes(1440))
    assert len(rig.send(fitting)[1]) > len(fitting)


@pytest.mark.parametrize("kind", KINDS)
def test_fragments_and_errors_go_through_the_tunnel_too(rig: Rig, kind: str) -> None:
    """Without a checksum of their own to lean on, GUE's is 0 and GRE has none (RFC 768, 2784)."""
    serve(rig, kind, checksum=kind != "ipip", source=SOURCE)
    pieces = fragment(datagram(load=bytes(3000)), 1000)
    flow = segment("S")
    rig.send(flow)
    quoted = Raw(bytes(IP(src=VIP, dst=flow[IP].src) / flow[IP].payload)[:20])
    quoted = Raw(quoted.load + bytes.fromhex("0050 9c40 00000000"))
    error = Ether(dst=HERE) / IP(src="192.0.2.9", dst=VIP) / ICMP(type=3, code=4) / quoted
    for frame in (*pieces, error):
        frame = Ether(bytes(frame))
        verdict, got = rig.send(frame)
        assert verdict == REDIRECT
        assert got.hex() == expected(frame, got, kind, checksum=False, source=SOURCE).hex()


@pytest.mark.parametrize("rig", ["xdp"], indirect=True)
def test_tags_stay_before_the_tunnel(rig: Rig) -> None:
    serve(rig, "ipip", checksum=False, source=SOURCE)
    plain = Ether(bytes(segment()))
    tags = Dot1Q(vlan=3) / Dot1Q(vlan=7)
    tagged = Ether(dst=HERE, src=CLIENT_MAC) / tags / plain.payload
    untagged = rig.send(plain)[1]
    got = rig.send(tagged)[1]
    assert got[:12] == untagged[:12] and got[12:22] == bytes(tagged)[12:22]
    assert IP(got[22:]).payload == IP(untagged[14:]).payload


def test_tags_within_the_frame_leave_tc_no_place(rig: Rig) -> None:
    serve(rig, "ipip", checksum=False, source=SOURCE)
    tagged = Ether(dst=HERE, src=CLIENT_MAC) / Dot1Q(vlan=7) / segment().payload
    assert rig.send(tagged)[0] == DROP and rig.reasons() == {"encapsulation": 1}


@both_hooks
def test_a_damaged_packet_does_not_become_a_sound_one(rig: Rig) -> None:
    """The outer checksum leans on the inner one: when that is wrong, so is it."""
    serve(rig, "gue", checksum=True, source=SOURCE)
    frame = bytearray(bytes(segment("A") / Raw(b"some data")))
    frame[-1] ^= 0x55
    got = Ether(rig.send(bytes(frame))[1])
    again = got.copy()
    del again[UDP].chksum
    assert Ether(bytes(again))[UDP].chksum != got[UDP].chksum
