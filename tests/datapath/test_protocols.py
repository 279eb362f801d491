"""UDP, IPv6, any-port services, fragments, VLAN tags, ICMP: packet in, verdict and packet out."""

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
    UDP_NUMBER,
    VIP,
    VIP6,
    Rig,
    both_hooks,
    datagram,
    real_mac,
    segment,
    segment6,
)  # fmt: skip
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    PadN,
)  # fmt: skip
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw


def remade(answer: Packet) -> bytes:
    """The frame with the lengths and checksums of IP and ICMP computed anew by scapy; what it
    quotes stays as it is."""
    again = answer.copy()
    outer, message = again.payload, again.payload.payload
    quoted = Raw(bytes(message.payload))
    message.remove_payload()
    for name in ("chksum", "cksum", "len", "plen"):
        outer.fields.pop(name, None)
        message.fields.pop(name, None)
    message.add_payload(quoted)
    return bytes(again)


# UDP


@both_hooks
def test_datagrams_take_turns_and_each_flow_stays(rig: Rig) -> None:
    rig.serve([1, 2], port=53, protocol=UDP_NUMBER)
    first = [rig.real_of(datagram(sport=sport)) for sport in range(1000, 1006)]
    assert first == [1, 2] * 3
    assert [rig.real_of(datagram(sport=sport)) for sport in range(1000, 1006)] == first
    rows, live, _ = rig.datapath.sweep()
    assert rows == [(1, 0, 3), (2, 0, 3)] and live == 6, "IPVS counts UDP as inactive"


def test_a_silent_udp_flow_ends_after_300_s(rig: Rig) -> None:
    rig.serve([1], port=53, protocol=UDP_NUMBER)
    rig.real_of(datagram())
    assert rig.datapath.sweep(298)[1:] == (1, 0)
    assert rig.datapath.sweep(302)[1:] == (0, 1)


def test_a_datagram_leaves_a_dead_real_server_at_once(rig: Rig) -> None:
    rig.serve([1, 2], port=53, protocol=UDP_NUMBER)
    assert rig.real_of(datagram()) == 1
    rig.set_real(1, listed=False)
    rig.set_table([2])
    assert rig.real_of(datagram()) == 2


def test_tcp_and_udp_of_one_port_are_two_services(rig: Rig) -> None:
    rig.serve([1], port=53)
    assert rig.send(datagram())[0] == PASS
    rig.serve([2], port=53, protocol=UDP_NUMBER, service=1)
    assert rig.real_of(segment(dport=53)) == 1
    assert rig.real_of(datagram()) == 2


@pytest.mark.parametrize("length", [0x7FF, 7])
def test_a_datagram_of_impossible_length(rig: Rig, length: int) -> None:
    rig.serve([1], port=53, protocol=UDP_NUMBER)
    frame = datagram()
    frame[UDP].len = length
    assert rig.send(frame)[0] == DROP and rig.reasons() == {"malformed": 1}


# any port


@pytest.mark.parametrize("vip", [VIP, VIP6])
def test_port_0_is_every_port_without_a_service_of_its_own(rig: Rig, vip: str) -> None:
    rig.serve([1], port=0, vip=vip)
    rig.serve([2], port=80, service=1, vip=vip)
    make = segment if vip == VIP else segment6
    assert [rig.real_of(make(dport=port)) for port in (0, 22, 79, 80, 65535)] == [1, 1, 1, 2, 1]


# IPv6


@both_hooks
def test_ipv6_is_forwarded_with_new_macs_and_one_hop_fewer(rig: Rig) -> None:
    rig.serve([3], vip=VIP6)
    before = bytes(segment6())
    verdict, after = rig.send(before)
    assert verdict == REDIRECT
    assert after[:6] == real_mac(3) and after[6:12] == DIRECTOR_MAC
    assert after[21] == before[21] - 1
    assert after[12:21] + after[22:] == before[12:21] + before[22:]


def test_ipv6_flows_are_pinned_and_counted(rig: Rig) -> None:
    rig.serve([1, 2], vip=VIP6)
    assert [rig.real_of(segment6(sport=sport)) for sport in (1, 2, 3)] == [1, 2, 1]
    for flags in ("A", "PA", "FA"):
        assert rig.real_of(segment6(flags, sport=2)) == 2
    assert rig.datapath.sweep() == ([(1, 2, 0), (2, 0, 1)], 3, 0)
    assert rig.datapath.counters(2) == (4, 4 * 60, 1)


def test_an_unknown_ipv6_flow_goes_the_same_way_on_every_director(rig: Rig) -> None:
    rig.serve([1, 2, 3], vip=VIP6)
    other = Rig(rig.hook)
    other.serve([1, 2, 3], vip=VIP6)
    chosen = [rig.real_of(segment6("A", sport=sport)) for sport in range(60)]
    assert chosen == [other.real_of(segment6("A", sport=sport)) for sport in range(60)]
    assert set(chosen) == {1, 2, 3}


def options(count: int) -> Packet:
    packet = IPv6(src=CLIENT6, dst=VIP6) / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))])
    for _ in range(count - 1):
        packet /= IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))])
    return Ether(dst=HERE) / packet / TCP(sport=7, dport=80)


@both_hooks
@pytest.mark.parametrize("count", [1, 2, 6])
def test_extension_headers_are_looked_through(rig: Rig, count: int) -> None:
    rig.serve([1], vip=VIP6)
    assert rig.real_of(options(count)) == 1


def test_too_many_extension_headers(rig: Rig) -> None:
    rig.serve([1], vip=VIP6)
    assert rig.send(options(7))[0] == DROP
    assert rig.reasons() == {"extension_headers": 1}


def test_neighbour_discovery_and_echo_go_up(rig: Rig) -> None:
    rig.serve([1], vip=VIP6)
    frame = Ether(dst=HERE) / IPv6(src=CLIENT6, dst=VIP6) / ICMPv6EchoRequest()
    assert rig.send(frame) == (PASS, bytes(frame))


# fragments


@both_hooks
def test_all_fragments_go_where_the_first_went(rig: Rig) -> None:
    rig.serve([1, 2, 3], port=53, protocol=UDP_NUMBER)
    for ident in range(1, 7):
        whole = datagram(sport=ident, load=bytes(3000), id=ident)
        pieces = fragment(whole, 1000)
        assert len(pieces) == 4
        first, *rest = [rig.real_of(piece) for piece in pieces]
        assert rest == [first] * 3
    assert rig.reasons() == {}


def test_fragments_that_come_before_the_first_are_dropped_and_counted(rig: Rig) -> None:
    rig.serve([1], port=53, protocol=UDP_NUMBER)
    first, second = fragment(datagram(load=bytes(1500), id=9), 1000)
    assert rig.send(second)[0] == DROP
    assert rig.real_of(first) == 1 and rig.real_of(second) == 1
    second[IP].id = 10
    assert rig.send(second)[0] == DROP
    assert rig.reasons() == {"fragment": 2}


@both_hooks
def test_ipv6_fragments(rig: Rig) -> None:
    rig.serve([1, 2], port=53, protocol=UDP_NUMBER, vip=VIP6)
    udp = bytes(UDP(sport=5, dport=53, len=108) / bytes(100))
    ip = IPv6(src=CLIENT6, dst=VIP6)
    for ident in range(4):
        head = IPv6ExtHdrFragment(nh=17, m=1, offset=0, id=ident)
        tail = IPv6ExtHdrFragment(nh=17, m=0, offset=8, id=ident)
        late = Ether(dst=HERE) / ip / tail / Raw(udp[64:])
        assert rig.send(late)[0] == DROP
        one = rig.real_of(Ether(dst=HERE) / ip / head / Raw(udp[:64]))
        assert rig.real_of(late) == one
    assert rig.reasons() == {"fragment": 4}


# VLAN


@both_hooks
@pytest.mark.parametrize("tags", [Dot1Q(vlan=7), Dot1AD(vlan=3) / Dot1Q(vlan=7)])
def test_tagged_frames_keep_their_tags(rig: Rig, tags: Packet) -> None:
    rig.serve([2])
    rig.serve([3], vip=VIP6, service=1)
    for make, real in ((segment, 2), (segment6, 3)):
        plain = make()
        frame = Ether(dst=HERE, src=CLIENT_MAC) / tags / plain.payload
        before = bytes(frame)
        size = 4 * len(tags.layers())
        verdict, after = rig.send(frame)
        assert verdict == REDIRECT and after[:6] == real_mac(real)
        assert after[12 : 14 + size] == before[12 : 14 + size]
        assert after[14 + size :] == rig.send(plain)[1][14:]


# this machine as a real server


@both_hooks
@pytest.mark.parametrize("ttl", [1, 64])
def test_a_flow_of_this_machine_goes_up_untouched_and_is_counted(rig: Rig, ttl: int) -> None:
    rig.serve([1])
    rig.set_real(1, local=True, mac=None)
    frame = segment(ttl=ttl)
    assert rig.send(frame) == (PASS, bytes(frame))
    assert rig.datapath.sweep() == ([(1, 1, 0)], 1, 0)
    assert rig.datapath.counters(1) == (1, 40, 1)


# ICMP errors that come for a flow


def reversed_of(frame: Packet) -> Packet:
    """What the real server answers, as a router on the way quotes it."""
    ip, transport = frame.payload.copy(), frame.payload.payload.copy()
    ip.src, ip.dst = ip.dst, ip.src
    transport.sport, transport.dport = transport.dport, transport.sport
    ip.remove_payload()
    return ip / transport


@both_hooks
@pytest.mark.parametrize("kind", [3, 11, 12])
def test_an_icmp_error_goes_where_its_flow_went(rig: Rig, kind: int) -> None:
    rig.serve([1, 2, 3])
    rig.serve([1, 2, 3], port=53, protocol=UDP_NUMBER, service=1)
    router = Ether(dst=HERE) / IP(src="192.0.2.9", dst=VIP) / ICMP(type=kind, code=0)
    for sport in range(100, 112):
        for flow in (segment(sport=sport), datagram(sport=sport)):
            real = rig.real_of(flow)
            error = router / Raw(bytes(reversed_of(flow))[:28])
            assert rig.real_of(error) == real
            assert rig.send(error)[1][14 + 20 :] == bytes(error)[14 + 20 :]
    assert rig.reasons() == {}


@both_hooks
def test_an_icmpv6_error_goes_where_its_flow_went(rig: Rig) -> None:
    rig.serve([1, 2, 3], vip=VIP6)
    for error in (ICMPv6DestUnreach(), ICMPv6PacketTooBig(mtu=1280), ICMPv6TimeExceeded()):
        for sport in range(100, 106):
            flow = segment6(sport=sport)
            real = rig.real_of(flow)
            quoted = Raw(bytes(reversed_of(flow)))
            frame = Ether(dst=HERE) / IPv6(src="fd00:9::9", dst=VIP6) / error / quoted
            assert rig.real_of(frame) == real


def test_an_icmp_error_about_a_flow_nobody_knows_goes_as_its_packets_would(rig: Rig) -> None:
    rig.serve([1, 2, 3])
    router = Ether(dst=HERE) / IP(src="192.0.2.9", dst=VIP) / ICMP(type=3, code=4)
    for sport in range(100, 120):
        error = router / Raw(bytes(reversed_of(segment("A", sport=sport))))
        assert rig.real_of(error) == rig.real_of(segment("A", sport=sport))


def test_icmp_that_is_not_about_a_service_goes_up(rig: Rig) -> None:
    rig.serve([1])
    about = reversed_of(segment(dport=81))
    elsewhere = reversed_of(segment(dst="10.0.0.99"))
    for quoted in (about, elsewhere, Raw(b"short")):
        frame = Ether(dst=HERE) / IP(src=CLIENT, dst=VIP) / ICMP(type=3, code=4) / quoted
        assert rig.send(frame) == (PASS, bytes(frame))
    assert rig.reasons() == {}


# ICMP errors that are sent


@both_hooks
@pytest.mark.parametrize("make", [segment, datagram])
def test_a_packet_without_hops_left_is_answered(rig: Rig, make: object) -> None:
    rig.serve([1])
    rig.serve([1], port=53, protocol=UDP_NUMBER, service=1)
    before = make(ttl=1)  # type: ignore[operator]
    verdict, after = rig.send(before)
    assert verdict == REDIRECT and rig.reasons() == {"ttl": 1, "answered": 1}
    answer = Ether(after)
    assert (answer.dst, answer.src) == (CLIENT_MAC, HERE)
    assert (answer[IP].src, answer[IP].dst) == (VIP, CLIENT)
    assert (answer[ICMP].type, answer[ICMP].code) == (11, 0)
    quoted = bytes(answer[ICMP].payload)
    assert len(quoted) >= 28 and quoted == bytes(before[IP])[: len(quoted)]
    assert remade(answer) == after, "lengths or checksums are wrong"


@both_hooks
def test_an_ipv6_packet_without_hops_left_is_answered(rig: Rig) -> None:
    rig.serve([1], vip=VIP6)
    before = segment6(hlim=1)
    verdict, after = rig.send(before)
    assert verdict == REDIRECT and rig.reasons() == {"ttl": 1, "answered": 1}
    answer = Ether(after)
    assert (answer[IPv6].src, answer[IPv6].dst) == (VIP6, CLIENT6)
    quoted = bytes(answer[ICMPv6TimeExceeded].payload)
    assert quoted == bytes(before[IPv6])[: len(quoted)] and len(quoted) >= 48
    assert remade(answer) == after, "lengths or checksums are wrong"


@both_hooks
def test_a_packet_longer_than_the_way_is_answered_with_the_mtu(rig: Rig) -> None:
    rig.serve([1])
    rig.set_real(1, mtu=1280)
    before = segment("A")
    before[IP].flags = "DF"
    verdict, after = rig.send(before / Raw(bytes(1300)))
    assert verdict == REDIRECT and rig.reasons() == {"adopted": 1, "mtu": 1, "answered": 1}
    answer = Ether(after)
    assert (answer[ICMP].type, answer[ICMP].code, answer[ICMP].nexthopmtu) == (3, 4, 1280)
    assert remade(answer) == after, "lengths or checksums are wrong"
    assert rig.real_of(before / Raw(bytes(1240))) == 1, "as long as the way"


@both_hooks
def test_an_ipv6_packet_longer_than_the_way_is_answered_with_the_mtu(rig: Rig) -> None:
    rig.serve([1], vip=VIP6)
    rig.set_real(1, mtu=1280, vip=VIP6)
    verdict, after = rig.send(segment6("A") / Raw(bytes(1300)))
    assert verdict == REDIRECT
    answer = Ether(after)
    assert answer[ICMPv6PacketTooBig].mtu == 1280
    assert remade(answer) == after, "lengths or checksums are wrong"


def test_a_long_packet_that_may_be_fragmented_is_dropped_and_counted(rig: Rig) -> None:
    rig.serve([1])
    rig.set_real(1, mtu=1280)
    assert rig.send(segment("A") / Raw(bytes(1300)))[0] == DROP
    assert rig.reasons() == {"adopted": 1, "mtu": 1}


def test_answers_are_few() -> None:
    rig = Rig()  # of its own: this second's answers are spent afterwards
    rig.serve([1])
    for _ in range(1000):
        rig.send(segment(ttl=1))
    reasons = rig.reasons()
    assert reasons["ttl"] == 1000
    assert 0 < reasons["answered"] < 1000, "at most 100 a second and CPU"


def test_no_answer_to_an_icmp_error(rig: Rig) -> None:
    rig.serve([1])
    error = Ether(dst=HERE) / IP(src=CLIENT, dst=VIP, ttl=1) / ICMP(type=3, code=4)
    assert rig.send(error / Raw(bytes(reversed_of(segment()))))[0] == DROP
    assert rig.reasons() == {"ttl": 1}
