"""Mutated packets of every kind, for services of every method: what is not ours stays as it is, and
what is ours is changed as its method says and in nothing else."""

import random

from director_rig import (
    CLIENT,
    CLIENT6,
    CLIENT_MAC,
    DIRECTOR_MAC,
    DROP,
    HERE,
    PASS,
    REDIRECT,
    UDP_NUMBER,
    Rig,
    both_hooks,
    real_address,
    real_mac,
)  # fmt: skip
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

METHODS = ("dr", "ipip", "gue", "gre", "nat")
VIPS = {
    f"10.0.0.{150 + n}" if version == 4 else f"fd00::{150 + n}": method
    for version in (4, 6)
    for n, method in enumerate(METHODS)
}
PACKED = {bytes(IP(dst=vip))[16:20] if "." in vip else bytes(IPv6(dst=vip))[24:40]: vip
          for vip in VIPS}  # fmt: skip
FRAMES = 1500
HEADERS = {"ipip": 0, "gue": 12, "gre": 8}


def serve(rig: Rig) -> None:
    """Two real servers each for TCP 80 and UDP 53 of every VIP."""
    rows = []
    for service, (vip, method) in enumerate((v, m) for v in VIPS for m in [VIPS[v]]):
        for offset, (port, protocol) in enumerate(((80, 6), (53, UDP_NUMBER))):
            indices = [1 + 4 * service + 2 * offset + n for n in range(2)]
            rig.serve(indices, service=2 * service + offset, vip=vip, port=port, protocol=protocol)
            for index in indices:
                tunnel = (method, 6080, method != "ipip", "10.0.0.2")
                if method == "nat":
                    rig.set_real(index, vip=vip, port=8080, forward="nat", mtu=1280)
                    rows.append((index, str(real_address(index, vip)), 8080, vip, port, protocol))
                elif method != "dr":
                    rig.set_real(index, vip=vip, port=port, tunnel=tunnel, mtu=1280)
    rig.datapath.set_origins(rows)


def base(chance: random.Random) -> Packet:
    """A sound packet for one of the services: from IP on."""
    vip = chance.choice(list(VIPS))
    four = "." in vip
    hops = chance.choice([64] * 12 + [1])
    ip: Packet = IP(src=CLIENT, ttl=hops)
    if four:
        ip.dst = vip
    else:
        ip = IPv6(src=CLIENT6, dst=vip, hlim=hops)
    sport, load = chance.randrange(1024, 1100), Raw(bytes(chance.randrange(40)))
    tcp = TCP(sport=sport, dport=80, flags=chance.choice(["S", "A", "PA", "FA", "R"]))
    udp = UDP(sport=sport, dport=53)
    kind = chance.randrange(6)
    if kind == 0:
        quoted = (IP(src=vip, dst=CLIENT) if four else IPv6(src=vip, dst=CLIENT6)) / TCP(
            sport=80, dport=sport
        )
        error = ICMP(type=3, code=4, nexthopmtu=1300) if four else ICMPv6PacketTooBig(mtu=1300)
        return ip / error / Raw(bytes(quoted))
    if kind == 1:
        if four:
            ip.flags, ip.frag, ip.id = chance.choice(["MF", 0]), chance.randrange(3), 7
            return ip / udp / load
        offset, more = chance.randrange(3), chance.randrange(2)
        return ip / IPv6ExtHdrFragment(offset=offset, m=more, id=7, nh=17) / udp / load
    if kind == 2 and not four:
        return ip / IPv6ExtHdrDestOpt() / tcp / load
    return ip / (tcp if chance.randrange(2) else udp) / load


def mutated(chance: random.Random) -> bytes:
    tags = chance.choice([None, None, None, Dot1Q(vlan=7), Dot1Q(vlan=3) / Dot1Q(vlan=7)])
    link = Ether(dst=HERE, src=CLIENT_MAC)
    frame = bytearray(bytes((link / tags if tags else link) / base(chance)))
    for _ in range(chance.randrange(4)):
        frame[chance.randrange(12, len(frame))] = chance.randrange(256)
    if chance.randrange(5) == 0:  # the kernel's test run wants IP's header whole
        shortest = min(len(frame), 54 if network_of(bytes(frame))[1] != 4 else 34)
        del frame[chance.randrange(shortest, len(frame) + 1) :]
    return bytes(frame)


def network_of(frame: bytes) -> tuple[int, int]:
    """Where IP begins, and its version; version 0: it is no IP."""
    at = 12
    for _ in range(2):
        if frame[at : at + 2] in (b"\x81\x00", b"\x88\xa8"):
            at += 4
    return at + 2, {b"\x08\x00": 4, b"\x86\xdd": 6}.get(frame[at : at + 2], 0)


def hop_taken(packet: bytes, version: int) -> bytes:
    """The IP packet with one hop fewer, its header's checksum changed by as much (RFC 1624)."""
    after = bytearray(packet)
    if version == 6:
        after[7] -= 1
        return bytes(after)
    after[8] -= 1
    total = int.from_bytes(packet[10:12]) + 0x0100
    after[10:12] = ((total & 0xFFFF) + (total >> 16)).to_bytes(2)
    return bytes(after)


def check(frame: bytes, got: bytes) -> str:
    """What was done to a frame that was sent on; fails if it was not ours, or changed otherwise."""
    network, version = network_of(frame)
    assert version, "no IP at all"
    packet = frame[network:]
    vip = PACKED.get(packet[16:20] if version == 4 else packet[24:40])
    assert vip is not None, "not to a VIP"
    if got[:6] == frame[6:12]:
        ours = got[network + 12 :][:4] if version == 4 else got[network + 8 :][:16]
        assert PACKED[ours] == vip, "an answer in another's name"
        assert got[network + (9 if version == 4 else 6)] == (1 if version == 4 else 58)
        return "answered"
    assert got[:5] == real_mac(0)[:5] and got[6:12] == DIRECTOR_MAC
    method = VIPS[vip]
    wanted = hop_taken(packet, version)
    if method == "dr":
        assert got[12:] == frame[12:network] + wanted
    elif method == "nat":
        same = 20 if version == 4 else 40
        assert len(got) == len(frame) and got[12:network] == frame[12:network]
        fixed = slice(0, 10) if version == 4 else slice(0, 24)
        assert got[network:][fixed] == wanted[fixed]
        changed = [i for i in range(same, len(packet)) if got[network + i] != packet[i]]
        assert len(changed) <= 2 + 2 + 2 + 16, "address, port, checksums of an error's packet"
    else:
        extra = len(got) - len(frame)
        assert 20 <= extra <= 20 + HEADERS[method]
        assert got.endswith(wanted) and got[12 : network - 2] == frame[12 : network - 2]
    return method


@both_hooks
def test_mutated_packets_of_every_kind(rig: Rig, seed: int) -> None:
    chance = random.Random(seed)
    serve(rig)
    seen = set()
    for _ in range(FRAMES):
        frame = mutated(chance)
        verdict, got = rig.send(frame)
        if verdict != REDIRECT:
            assert got == frame, frame.hex()
            seen.add(verdict)
            continue
        try:
            seen.add(check(frame, got))
        except AssertionError as error:
            raise AssertionError(f"{error}\n sent {frame.hex()}\n came {got.hex()}") from error
    assert seen == {PASS, DROP, *METHODS, "answered"}
    assert "internal" not in rig.reasons()
