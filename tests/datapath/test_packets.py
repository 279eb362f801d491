"""Packet in, verdict and packet out."""

import random

import pytest
from director_rig import (
    DIRECTOR_MAC,
    DROP,
    HERE,
    PASS,
    REDIRECT,
    VIP,
    Rig,
    both_hooks,
    real_mac,
    segment,
)  # fmt: skip
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw


def checksum_is_right(packet: bytes) -> bool:
    header = packet[14 : 14 + (packet[14] & 15) * 4]
    total = sum(int.from_bytes(header[i : i + 2]) for i in range(0, len(header), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF


@both_hooks
def test_a_forwarded_packet_has_new_macs_and_one_hop_fewer_and_nothing_else(rig: Rig) -> None:
    rig.serve([3])
    before = bytes(segment())
    verdict, after = rig.send(before)
    assert verdict == REDIRECT
    assert after[:6] == real_mac(3) and after[6:12] == DIRECTOR_MAC
    assert after[22] == before[22] - 1
    assert checksum_is_right(after)
    changed = {*range(12), 22, 24, 25}
    assert [i for i in range(len(before)) if i not in changed and before[i] != after[i]] == []


def test_the_checksum_is_right_for_every_header(rig: Rig) -> None:
    rig.serve([1])
    for ident in range(0, 65536, 251):
        for ttl in (2, 64, 255):
            _, after = rig.send(segment("A", id=ident, ttl=ttl))
            assert checksum_is_right(after), f"id {ident} ttl {ttl}"


@pytest.mark.parametrize("wanted", [0x0000, 0xFEFF, 0xFF00, 0x0100, 0xFEFE])
def test_the_checksum_carries(rig: Rig, wanted: int) -> None:
    """The ends of one's complement arithmetic, reached by choosing the IP id."""
    rig.serve([1])
    frame = bytearray(bytes(segment("A", id=0, chksum=0)))
    rest = sum(int.from_bytes(frame[i : i + 2]) for i in range(14, 34, 2))
    frame[18:20] = (-(wanted + rest) % 0xFFFF).to_bytes(2)
    frame[24:26] = wanted.to_bytes(2)
    assert checksum_is_right(bytes(frame))
    _, after = rig.send(bytes(frame))
    assert checksum_is_right(after)


def test_a_flow_stays_where_it_began(rig: Rig) -> None:
    rig.serve([2, 1])
    first = rig.real_of(segment("S"))
    rig.real_of(segment("S", sport=40001))
    for flags in ("S", "A", "PA", "FA", "A", "R"):
        assert rig.real_of(segment(flags)) == first


def test_new_flows_take_turns_in_the_order_of_the_table(rig: Rig) -> None:
    table = [1, 2, 1, 3, 2, 1]
    rig.serve(table)
    assert [rig.real_of(segment(sport=1024 + n)) for n in range(12)] == table * 2


@both_hooks
def test_options_move_the_ports(rig: Rig) -> None:
    rig.serve([1])
    for count in range(1, 41):
        frame = segment(sport=2000 + count, options=[IPOption_NOP()] * count)
        _, after = rig.send(frame)
        assert checksum_is_right(after) and after[5] == 1
    assert rig.datapath.counters(1)[2] == 40


def test_a_new_table_leaves_live_flows_alone(rig: Rig) -> None:
    rig.serve([1, 2])
    pinned = {sport: rig.real_of(segment(sport=sport)) for sport in range(1000, 1010)}
    rig.serve([3])
    assert {sport: rig.real_of(segment("A", sport=sport)) for sport in pinned} == pinned
    assert rig.real_of(segment(sport=999)) == 3


def test_a_new_mac_is_used_at_once(rig: Rig) -> None:
    rig.serve([1])
    rig.real_of(segment())
    for turn in range(3):
        mac = bytes([2, 9, 9, 9, 9, turn])
        rig.set_real(1, mac=mac)
        assert rig.send(segment("A"))[1][:6] == mac


def test_a_flow_from_before_our_time_is_adopted_alike_by_every_director(rig: Rig) -> None:
    other = Rig()
    for count, flags in enumerate(("A", "PA", "FA"), 1):
        for each in (rig, other):
            each.serve([1, 2, 3])
        frames = [segment(flags, sport=1000 * count + n) for n in range(60)]
        chosen = [rig.real_of(frame) for frame in frames]
        assert chosen == [other.real_of(frame) for frame in frames]
        assert set(chosen) == {1, 2, 3}
        assert rig.reasons() == {"adopted": 60 * count}
        rig.serve([4])
        assert [rig.real_of(frame) for frame in frames] == chosen


def test_a_stray_reset_is_forwarded_but_not_pinned(rig: Rig) -> None:
    rig.serve([1])
    assert rig.real_of(segment("R")) == 1
    assert rig.datapath.sweep() == ([], 0, 0)


@pytest.mark.parametrize("ending", [["FA"], ["R"], ["A", "FA", "A"], ["A", "R"]])
def test_a_syn_after_the_end_is_a_new_flow(rig: Rig, ending: list[str]) -> None:
    """A lone RST leaves SYN_RECV as it is (IPVS's INPUT-ONLY rows): then the SYN is the same."""
    rig.serve([1, 2])
    assert rig.real_of(segment("S")) == 1
    for flags in ending:
        assert rig.real_of(segment(flags)) == 1
    assert rig.real_of(segment("S")) == (1 if ending == ["R"] else 2)


@both_hooks
def test_what_is_not_ours_goes_up_untouched(rig: Rig) -> None:
    rig.serve([1])
    frames = [
        segment(dport=81),
        segment(dport=0),
        segment(dst="10.0.0.99"),
        Ether(dst=HERE) / IP(dst=VIP) / ICMP(),
        Ether(dst=HERE) / IP(dst=VIP) / UDP(dport=80),
        Ether(dst="ff:ff:ff:ff:ff:ff") / ARP(pdst=VIP),
        Ether(dst=HERE) / IP(dst="10.0.0.99", frag=10, proto=6) / Raw(bytes(40)),
    ]
    for frame in frames:
        assert rig.send(frame) == (PASS, bytes(frame)), frame.summary()
    assert rig.reasons() == {}


@both_hooks
@pytest.mark.parametrize("mac", ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:12", "02:12:34:56:78:9a"])
def test_a_frame_to_another_machine_is_not_balanced(rig: Rig, mac: str) -> None:
    rig.serve([1])
    frame = segment()
    frame.dst = mac
    assert rig.send(frame) == (PASS, bytes(frame))
    assert rig.datapath.sweep() == ([], 0, 0)


def short(frame: Ether, length: int) -> bytes:
    return bytes(frame)[:length]


def with_byte(frame: Ether, offset: int, value: int) -> bytes:
    data = bytearray(bytes(frame))
    data[offset] = value
    return bytes(data)


DROPS = [
    ("fragment", Ether(dst=HERE) / IP(dst=VIP, frag=3, proto=6) / Raw(bytes(40))),
    ("malformed", short(segment(), 14 + 20 + 19)),
    ("malformed", short(segment(), 14 + 20)),
    ("malformed", segment(len=39)),
    ("malformed", with_byte(segment(), 14 + 20 + 12, 4 << 4)),
    ("malformed", with_byte(segment(), 14 + 20 + 12, 15 << 4)),
    ("malformed", segment("SF")),
    ("malformed", segment("SR")),
    ("malformed", segment("")),
]


@pytest.mark.parametrize(("reason", "frame"), DROPS)
def test_a_packet_for_a_service_that_cannot_be_forwarded(
    rig: Rig, reason: str, frame: Ether | bytes
) -> None:
    rig.serve([1])
    assert rig.send(frame) == (DROP, bytes(frame))
    assert rig.reasons() == {reason: 1}
    assert rig.datapath.sweep() == ([], 0, 0)


def test_the_first_fragment_has_ports(rig: Rig) -> None:
    rig.serve([1])
    assert rig.real_of(segment(flags="S")) == 1
    frame = segment("A")
    frame[IP].flags = "MF"
    assert rig.real_of(frame) == 1


def test_no_real_server(rig: Rig) -> None:
    rig.serve([])
    assert rig.send(segment())[0] == DROP
    assert rig.send(segment("A"))[0] == DROP
    assert rig.reasons() == {"no_real_server": 2}


@both_hooks
@pytest.mark.parametrize(
    ("reason", "change"),
    [("real_server_down", {"listed": False}), ("no_mac", {"mac": None})],
)
def test_a_live_flow_whose_real_server_is_lost(
    rig: Rig, reason: str, change: dict[str, object]
) -> None:
    """Its packets have nowhere to go; a SYN starts it afresh elsewhere."""
    rig.serve([1, 2])
    assert rig.real_of(segment()) == 1
    rig.set_real(1, **change)  # type: ignore[arg-type]
    rig.set_table([2])
    assert rig.send(segment("A"))[0] == DROP
    assert rig.reasons() == {reason: 1}
    assert rig.real_of(segment()) == 2
    assert rig.real_of(segment("A")) == 2


def test_a_full_table_sends_a_flow_one_way_all_the_same() -> None:
    rig = Rig()
    rig.serve([1, 2, 3])
    for sport in range(1024):
        rig.real_of(segment(sport=sport + 10000))
    assert rig.reasons() == {}
    for sport in range(2000, 2050):
        first = rig.real_of(segment(sport=sport))
        assert {rig.real_of(segment(flags, sport=sport)) for flags in ("A", "FA", "A")} == {first}
    assert rig.reasons()["table_full"] == 200
    assert "adopted" not in rig.reasons()


def test_counters_count_ip_bytes(rig: Rig) -> None:
    rig.serve([1])
    rig.real_of(segment())
    rig.real_of(segment("PA") / Raw(bytes(100)))
    assert rig.datapath.counters(1) == (2, 40 + 140, 1)


@both_hooks
def test_mutated_packets_are_never_changed_unless_they_are_ours(rig: Rig, seed: int) -> None:
    """Whatever comes: a frame is forwarded only if a strict reader finds our service in it, and one
    that is not forwarded is left as it was."""
    chance = random.Random(seed)
    rig.serve([1, 2])
    verdicts = set()
    for _ in range(3000):
        frame = bytearray(bytes(segment(chance.choice(["S", "A", "FA"]), ttl=64)))
        for _ in range(chance.randrange(1, 4)):
            frame[chance.randrange(6, len(frame))] = chance.randrange(256)
        data = bytes(frame[: chance.choice([len(frame)] * 4 + [chance.randrange(34, len(frame))])])
        verdict, after = rig.send(data)
        verdicts.add(verdict)
        if verdict != REDIRECT:
            assert after == data, data.hex()
            continue
        ip = IP(data[14:])
        assert (ip.version, ip.proto, ip.dst) == (4, 6, VIP), data.hex()
        if ip.ttl <= 1:  # answered: its sender is told
            answer = IP(after[14:])
            assert (answer.src, answer.dst, answer[ICMP].type) == (VIP, ip.src, 11), data.hex()
            continue
        if ip.frag == 0:  # else the rest of a datagram whose first fragment was ours
            assert ip[TCP].dport == 80, data.hex()
        assert after[12:22] == data[12:22] and after[26:] == data[26:], data.hex()
    assert verdicts == {PASS, DROP, REDIRECT}


@pytest.mark.parametrize(
    ("segments", "timeout_s"),
    [(["S"], 60), (["S", "A"], 900), (["S", "A", "FA"], 120), (["S", "A", "R"], 10)],
)
def test_a_silent_flow_ends_after_the_timeout_of_its_state(
    rig: Rig, segments: list[str], timeout_s: int
) -> None:
    """SYN_RECV, ESTABLISHED, FIN_WAIT and CLOSE, with IPVS's seconds (give or take the clock's
    tick)."""
    rig.serve([1])
    for flags in segments:
        rig.real_of(segment(flags))
    active = int(segments in (["S"], ["S", "A"]))
    assert rig.datapath.sweep(timeout_s - 2) == ([(1, active, 1 - active)], 1, 0)
    assert rig.datapath.sweep(timeout_s + 2) == ([], 0, 1)
    assert rig.datapath.sweep() == ([], 0, 0)
