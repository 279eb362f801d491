"""NAT both ways: what goes to the real server, and what its answers become; scapy makes both."""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from director_rig import (
    CLIENT,
    CLIENT6,
    CLIENT_MAC,
    DIRECTOR_MAC,
    DROP,
    HERE,
    PASS,
    REDIRECT,
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
from scapy.layers.inet import ICMP, IP, TCP, UDP, defragment, fragment
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from bpf_stub import attach_xdp, xdp_pass
from lan import inside, ip, lan

REAL_PORT = 8080
SERVICES = [(vip, port, protocol) for vip in (VIP, VIP6) for port, protocol in ((80, 6), (53, 17))]


def serve(rig: Rig, slots: list[int], port: int = REAL_PORT) -> None:
    """TCP 80 and UDP 53 of both VIPs, by NAT to that port of real servers."""
    rows = []
    for service, (vip, vip_port, protocol) in enumerate(SERVICES):
        numbers = [10 * (service + 1) + n for n in slots]
        rig.serve(numbers, service=service, vip=vip, port=vip_port, protocol=protocol)
        for n, index in zip(slots, numbers, strict=True):
            rig.set_real(index, service=service, vip=vip, port=port, forward="nat", at=n)
            address = str(real_address(n, vip))
            rows.append((index, address, port, vip, vip_port, protocol))
    rig.datapath.set_origins(rows)


def frames(load: bytes = b"some data") -> list[Ether]:
    """What clients send, checksums and all."""
    made = [
        segment("S") / Raw(load),
        datagram(load=load),
        segment6("S") / Raw(load),
        Ether(dst=HERE, src=CLIENT_MAC)
        / IPv6(src=CLIENT6, dst=VIP6)
        / UDP(sport=7, dport=53)
        / load,
    ]
    return [Ether(bytes(frame)) for frame in made]


def translated(
    frame: Packet, *, src: str = "", dst: str = "", sport: int = 0, dport: int = 0
) -> Ether:
    """The frame with other addresses and ports, one hop further; scapy sums it up anew."""
    again = Ether(bytes(frame))
    packet, transport = again.payload, again.payload.payload
    packet.src, packet.dst = src or packet.src, dst or packet.dst
    transport.sport, transport.dport = sport or transport.sport, dport or transport.dport
    if isinstance(packet, IP):
        packet.ttl -= 1
        del packet.chksum
    else:
        packet.hlim -= 1
    del transport.chksum
    return again


@both_hooks
def test_a_packet_gets_the_real_server_s_address_and_port(rig: Rig) -> None:
    serve(rig, [1])
    for frame in frames():
        real = str(real_address(1, frame.payload.dst))
        wanted = translated(frame, dst=real, dport=REAL_PORT)
        wanted.dst, wanted.src = real_mac(1), DIRECTOR_MAC
        assert rig.send(frame) == (REDIRECT, bytes(wanted))
    assert rig.reasons() == {}


@both_hooks
def test_every_checksum_comes_out_right(rig: Rig) -> None:
    """One's complement has two zeros, and UDP means something by one of them."""
    serve(rig, [1, 2])
    for n in range(400):
        for frame in frames(struct.pack("!H", n * 163)):
            frame.payload.payload.sport = 1024 + n
            del frame.payload.payload.chksum
            got = Ether(rig.send(frame)[1])
            again = got.copy()
            del again.payload.payload.chksum
            assert bytes(again) == bytes(got), (n, frame.summary())


@both_hooks
def test_udp_without_a_checksum_stays_without(rig: Rig) -> None:
    serve(rig, [1])
    frame = datagram()
    frame[UDP].chksum = 0
    got = Ether(rig.send(frame)[1])
    assert (got[UDP].chksum, got[UDP].dport, got[IP].dst) == (
        0,
        REAL_PORT,
        str(real_address(1, VIP)),
    )


def test_any_port_keeps_its_port(rig: Rig) -> None:
    rig.serve([1], port=0)
    rig.set_real(1, port=0, forward="nat")
    got = Ether(rig.send(segment(dport=4711))[1])
    assert (got[IP].dst, got[TCP].dport) == (str(real_address(1, VIP)), 4711)


@both_hooks
def test_fragments_are_one_datagram_at_the_real_server(rig: Rig) -> None:
    serve(rig, [1])
    whole = datagram(load=bytes(range(250)) * 12, id=77)
    pieces = [Ether(rig.send(piece)[1]).payload for piece in fragment(whole, 1000)]
    (again,) = defragment(pieces)
    assert again.dst == str(real_address(1, VIP))
    sound = again.copy()
    del sound[UDP].chksum
    assert bytes(sound) == bytes(again) and again[UDP].dport == REAL_PORT


def answer_of(frame: Packet, *, real_port: int = REAL_PORT) -> Packet:
    """The real server's answer to a client's frame: IP and what is in it."""
    packet, transport = frame.payload, frame.payload.payload
    layer, kind = packet.__class__, transport.__class__
    real = str(real_address(1, packet.dst))
    answer = layer(src=real, dst=packet.src) / kind(sport=real_port, dport=transport.sport)
    if kind is TCP:
        answer[TCP].flags = "SA"
    return layer(bytes(answer / Raw(b"answer")))


@both_hooks
def test_an_error_about_an_answer_goes_to_the_real_server_in_its_own_words(rig: Rig) -> None:
    serve(rig, [1])
    for frame in frames():
        rig.send(frame)
        quoted = translated(Ether() / answer_of(frame), src=frame.payload.dst).payload
        quoted.payload.sport = frame.payload.payload.dport
        four = isinstance(quoted, IP)
        outer = IP(src="192.0.2.9", dst=VIP) if four else IPv6(src="fd00:9::9", dst=VIP6)
        error = ICMP(type=3, code=4, nexthopmtu=1400) if four else ICMPv6PacketTooBig(mtu=1400)
        sent = Ether(bytes(Ether(dst=HERE) / outer / error / Raw(bytes(quoted))))
        got = Ether(rig.send(sent)[1])
        real = str(real_address(1, frame.payload.dst))
        assert got.payload.dst == real and got.payload.src == outer.src
        inner = got.payload.payload.payload
        assert (inner.src, inner.dst) == (real, frame.payload.src)
        assert inner.payload.sport == REAL_PORT
        for name in ("chksum", "cksum"):  # of the error itself, and of IP's headers
            assert sound(got, name), name


def sound(frame: Packet, name: str) -> bool:
    """The checksums of IP, of ICMP and of the quoted IP header are what they should be."""
    again = frame.copy()
    outer, error = again.payload, again.payload.payload
    quoted = Raw(bytes(error.payload))
    header = error.payload.copy()
    if isinstance(header, IP):
        kept = header.chksum
        header.remove_payload()
        del header.chksum, header.len
        remade = IP(bytes(header / Raw(bytes(error.payload)[header.ihl * 4 :])))
        assert remade.chksum == kept
    error.remove_payload()
    for layer in (outer, error):
        layer.fields.pop(name, None)
    error.add_payload(quoted)
    return bytes(again) == bytes(frame)


# what real servers send


@dataclass
class Site:
    """A namespace with a route to the clients: `ens33`, where answers come in and go out."""

    namespace: str
    index: int
    mac: str

    def send(self, rig: Rig, packet: Packet) -> tuple[int, bytes]:
        """As if a real server had sent it."""
        frame = bytes(Ether(dst=self.mac, src=real_mac(1)) / packet)
        if rig.hook == "xdp":
            context = struct.pack("=6I", 0, len(frame), 0, self.index, 0, 0)
            rig.datapath.set_station(bytes.fromhex(self.mac.replace(":", "")))
        else:
            context = bytes(40) + struct.pack("=I", self.index)
        try:
            with inside(self.namespace):
                return rig.send(frame, context)
        finally:
            rig.datapath.set_station(bytes(6))

    def forwarding(self, on: bool) -> None:
        with inside(self.namespace):
            for version in ("ipv4", "ipv6"):
                path = Path(f"/proc/sys/net/{version}/conf/all/forwarding")
                path.write_text(str(int(on)))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with lan() as made:
        namespace = made.machine("director", "10.0.0.2")
        ip("-n", namespace, "address", "add", "fd00::2/64", "dev", "ens33", "nodad")
        for client in (CLIENT, CLIENT6):
            ip("-n", namespace, "neigh", "add", client, "lladdr", CLIENT_MAC, "dev", "ens33",
               "nud", "permanent")  # fmt: skip
        with inside(namespace):
            index = socket.if_nametoindex("ens33")
            attach_xdp(index, xdp_pass())  # a veth has a receive queue for XDP only then
        site = Site(namespace, index, ":".join(f"{byte:02x}" for byte in made.mac("director")))
        site.forwarding(True)
        yield site


@both_hooks
def test_an_answer_comes_from_the_vip(rig: Rig, site: Site) -> None:
    serve(rig, [1])
    for frame in frames():
        rig.send(frame)
        answer = answer_of(frame)
        wanted = translated(
            Ether(dst=CLIENT_MAC, src=site.mac) / answer,
            src=frame.payload.dst,
            sport=frame.payload.payload.dport,
        )
        verdict, got = site.send(rig, answer)
        assert (verdict, got.hex()) == (REDIRECT, bytes(wanted).hex()), rig.reasons()
    assert rig.reasons() == {}


@both_hooks
def test_what_answers_no_flow_goes_up_untouched(rig: Rig, site: Site) -> None:
    serve(rig, [1])
    for frame in frames():
        rig.send(frame)
        for change in ({"sport": 22}, {"dport": 22}):
            other = answer_of(frame)
            for name, value in change.items():
                setattr(other.payload, name, value)
            verdict, got = site.send(rig, other)
            assert verdict == PASS and got[14:] == bytes(other)
        other = answer_of(frame)
        other.src = str(real_address(2, frame.payload.dst))
        assert site.send(rig, other)[0] == PASS


def test_one_real_server_of_two_services_answers_in_the_right_name(rig: Rig, site: Site) -> None:
    rows = []
    for service, (vip, port) in enumerate(((VIP, 80), (VIP, 443), ("10.0.0.101", 80))):
        index = 10 + service
        rig.serve([index], service=service, vip=vip, port=port)
        rig.set_real(index, service=service, port=REAL_PORT, forward="nat", at=1)
        rows.append((index, str(real_address(1, VIP)), REAL_PORT, vip, port, 6))
    rig.datapath.set_origins(rows)
    for sport, (_, _, _, vip, port, _) in enumerate(rows, 5000):
        frame = segment(sport=sport, dst=vip, dport=port)
        rig.send(frame)
        answer = answer_of(segment(sport=sport))
        got = Ether(site.send(rig, answer)[1])
        assert (got[IP].src, got[TCP].sport, got[TCP].dport) == (vip, port, sport)
    rig.datapath.set_origins(rows[1:])
    assert site.send(rig, answer_of(segment(sport=5000)))[0] == PASS
    assert site.send(rig, answer_of(segment(sport=5001)))[0] == REDIRECT


@both_hooks
@pytest.mark.parametrize("router", ["", "192.0.2.7"])
def test_an_error_of_the_real_server_s_side_is_about_the_vip(
    rig: Rig, site: Site, router: str
) -> None:
    """The real server's own, or a router's before it: both are the VIP's to the client, as IPVS
    has it."""
    serve(rig, [1])
    for frame in frames():
        _, at_real = rig.send(frame)
        quoted = Ether(at_real).payload
        four = isinstance(quoted, IP)
        source = quoted.dst if not router or not four else router
        outer = IP(src=source, dst=CLIENT) if four else IPv6(src=source, dst=CLIENT6)
        error = ICMP(type=3, code=3) if four else ICMPv6DestUnreach(code=4)
        verdict, after = site.send(rig, outer / error / Raw(bytes(quoted)))
        got = Ether(after)
        assert verdict == REDIRECT
        assert (got.payload.src, got.payload.dst) == (frame.payload.dst, frame.payload.src)
        inner = got.payload.payload.payload
        assert (inner.src, inner.dst) == (frame.payload.src, frame.payload.dst)
        assert inner.payload.dport == frame.payload.payload.dport
        for name in ("chksum", "cksum"):
            assert sound(got, name), name


@both_hooks
def test_fragments_of_an_answer(rig: Rig, site: Site) -> None:
    serve(rig, [1])
    frame = frames()[1]
    rig.send(frame)
    answer = answer_of(frame)
    answer = IP(src=answer.src, dst=answer.dst, id=99) / UDP(sport=REAL_PORT, dport=answer.dport)
    pieces = fragment(answer / Raw(bytes(2000)), 1000)
    got = [Ether(site.send(rig, piece)[1]).payload for piece in pieces]
    assert {each.src for each in got} == {VIP}
    (again,) = defragment(got)
    again_summed = again.copy()
    del again_summed[UDP].chksum
    assert bytes(again_summed) == bytes(again) and again[UDP].sport == 53


@both_hooks
def test_an_answer_that_cannot_be_routed_is_dropped_with_its_reason(rig: Rig, site: Site) -> None:
    serve(rig, [1])
    far = Ether(bytes(segment(src="203.0.113.5")))
    rig.send(far)
    assert site.send(rig, answer_of(far))[0] == DROP
    assert rig.reasons() == {"no_route": 1}
    near = frames()[0]
    rig.send(near)
    site.forwarding(False)
    assert site.send(rig, answer_of(near))[0] == DROP
    site.forwarding(True)
    late = answer_of(near)
    late.ttl = 1
    del late.chksum
    assert site.send(rig, late)[0] == DROP
    assert rig.reasons() == {"no_route": 1, "forwarding_off": 1, "ttl": 1}


@both_hooks
def test_an_answer_longer_than_the_way_is_answered_with_the_mtu(rig: Rig, site: Site) -> None:
    serve(rig, [1])
    frame = frames()[0]
    rig.send(frame)
    long = answer_of(frame) / Raw(bytes(1600))
    long.flags = "DF"
    del long.len, long.chksum, long[TCP].chksum
    verdict, after = site.send(rig, long)
    got = Ether(after)
    assert verdict == REDIRECT and after[:6] == real_mac(1)
    assert (got[ICMP].type, got[ICMP].code, got[ICMP].nexthopmtu) == (3, 4, 1500)


def test_an_unresolved_client_is_left_to_the_kernel_or_to_tc(rig: Rig, site: Site) -> None:
    serve(rig, [1])
    stranger = Ether(bytes(segment(src="10.0.0.77")))
    rig.send(stranger)
    verdict, got = site.send(rig, answer_of(stranger))
    assert verdict == REDIRECT and Ether(got)[IP].src == VIP


def test_a_flow_that_cannot_be_tracked_is_dropped() -> None:
    """No answer of it could be recognised."""
    own = Rig()  # of its own: its table is full afterwards
    serve(own, [1])
    for sport in range(1024):
        own.send(segment(sport=10000 + sport))
    assert own.send(segment(sport=9999))[0] == DROP and own.reasons() == {"table_full": 1}
