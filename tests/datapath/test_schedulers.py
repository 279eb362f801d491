"""Every scheduler in the program against IPVS's own rules, told plainly in ipvs_reference."""

import random
from typing import get_args

import pytest
from director_rig import (
    CLIENT,
    CLIENT6,
    DROP,
    REDIRECT,
    UDP_NUMBER,
    VIP,
    VIP6,
    Rig,
    both_hooks,
    datagram,
    segment,
    segment6,
)  # fmt: skip
from scapy.layers.inet import TCP
from scapy.layers.l2 import Ether

import ipvs_reference as ipvs
from ipvs_reference import Dest
from trimaran.director.settings import Scheduler

CLIENTS = [f"10.{n >> 8}.{n & 255}.{n * 7 & 255}" for n in range(1, 300, 5)]
CLIENTS6 = [f"fd00:{n:x}:{n * 77 & 0xFFFF:x}::{n * 991 & 0xFFFF:x}" for n in range(1, 60)]


def dests(*weights: int) -> list[Dest]:
    return [Dest(n, w, address=f"10.0.0.{10 + n}") for n, w in enumerate(weights, 1)]


def opened(rig: Rig, count: int, first: int = 1000) -> list[int]:
    return [rig.real_of(segment(sport=first + n)) for n in range(count)]


@both_hooks
def test_every_scheduler_has_a_flow(rig: Rig) -> None:
    for n, name in enumerate(get_args(Scheduler), 1):
        own = [Dest(n, address=f"10.0.0.{n}")]
        rig.serve_by(name, own, port=n, service=n)
        assert rig.real_of(segment(dport=n)) == n, name
        assert rig.real_of(segment("A", dport=n, sport=2)) == n, name


def test_fo_is_the_greatest_that_may(rig: Rig) -> None:
    rig.serve_by("fo", dests(1, 7, 7, 3))
    assert opened(rig, 3) == [3, 3, 3], "of equals the newest"
    rig.set_real(3, weight=0)
    assert opened(rig, 3, 2000) == [2, 2, 2]


def test_ovf_flows_over_beyond_the_weight(rig: Rig) -> None:
    own = dests(1, 3)
    rig.serve_by("ovf", own)
    for n in range(5):
        expected = ipvs.ovf(own[::-1])
        assert expected is not None
        assert rig.real_of(segment(sport=1000 + n)) == expected.name
        expected.active += 1
    assert opened(rig, 1, 2000) == [1]
    assert rig.send(segment(sport=3000))[0] == DROP and rig.reasons() == {"no_real_server": 1}


@pytest.mark.parametrize("flag", [False, True])
@pytest.mark.parametrize("name", ["sh", "mh"])
def test_a_client_has_the_kernels_real_server(rig: Rig, name: str, flag: bool) -> None:
    """`flag`: by port, with fallback; one real server drains."""
    own = dests(1, 2, 3, 1)
    own[2].weight = 0
    rig.serve_by(name, own, hashes_port=flag, falls_back=flag)  # type: ignore[arg-type]
    choose = getattr(ipvs, name)
    seen = set()
    for client in CLIENTS:
        expected = choose(own[::-1], client, 4321 if flag else 0, flag)
        frame = segment(sport=4321, src=client)
        if expected is None:
            assert not flag and rig.send(frame)[0] == DROP
        else:
            seen.add(expected.name)
            assert rig.real_of(frame) == expected.name, client
    assert seen == {1, 2, 4}


@pytest.mark.parametrize("name", ["sh", "mh", "dh"])
def test_an_ipv6_client_too(rig: Rig, name: str) -> None:
    own = [Dest(n, 1, address=f"fd00::{n:x}") for n in range(1, 6)]
    rig.serve_by(name, own, vip=VIP6)  # type: ignore[arg-type]
    for client in CLIENTS6:
        expected = (
            ipvs.dh(own[::-1], VIP6) if name == "dh" else getattr(ipvs, name)(own[::-1], client)
        )
        assert rig.real_of(segment6(src=client)) == expected.name, client


def test_dh_gives_an_address_to_one(rig: Rig) -> None:
    own = dests(1, 1, 1)
    for n in range(8):
        vip = f"10.0.9.{n * 31}"
        rig.serve_by("dh", own, vip=vip, service=n)
        expected = ipvs.dh(own[::-1], vip)
        assert expected is not None
        assert rig.real_of(segment(dst=vip)) == expected.name


@pytest.mark.parametrize("name", ["lc", "wlc", "sed", "nq"])
def test_the_least_loaded_is_the_kernels(rig: Rig, name: str, seed: int) -> None:
    rng = random.Random(seed)
    own = dests(*(rng.randint(0, 5) for _ in range(6)), 3)
    rig.serve_by(name, own)  # type: ignore[arg-type]
    choose = getattr(ipvs, name)
    flows: list[tuple[int, Dest]] = []
    for n in range(200):
        expected = choose(own[::-1])
        assert rig.real_of(segment(sport=1000 + n)) == expected.name, f"flow {n}"
        expected.active += 1
        flows.append((1000 + n, expected))
        if rng.random() < 0.4:
            sport, dest = flows.pop(rng.randrange(len(flows)))
            rig.real_of(segment("FA", sport=sport))
            dest.active, dest.inactive = dest.active - 1, dest.inactive + 1
        assert [rig.load(d.name)[:2] for d in own] == [(d.active, d.inactive) for d in own]


def test_wlc_among_many(rig: Rig) -> None:
    own = [Dest(n, 1 + n % 3, address=f"10.0.0.{n}") for n in range(1, 251)]
    rig.serve_by("wlc", own)
    for n in range(300):
        expected = ipvs.wlc(own[::-1])
        assert expected is not None
        assert rig.real_of(segment(sport=1000 + n)) == expected.name
        expected.active += 1


def test_twos_prefers_the_less_loaded(rig: Rig) -> None:
    rig.serve_by("twos", dests(1, 1, 1, 1))
    chosen = opened(rig, 400)
    shares = [chosen.count(n) for n in (1, 2, 3, 4)]
    assert max(shares) - min(shares) <= 12, f"one draw alone would differ more: {shares}"


def test_lblc_keeps_to_one_until_it_is_too_busy(rig: Rig) -> None:
    rig.serve_by("lblc", dests(10, 10))
    assert opened(rig, 11) == [2] * 11, "as many as its weight, and one more to see it"
    assert opened(rig, 10, 2000) == [1] * 10, "another has less than half of its weight"


def test_lblcr_takes_another_into_its_set(rig: Rig) -> None:
    rig.serve_by("lblcr", dests(10, 10))
    assert opened(rig, 11) == [2] * 11
    later = opened(rig, 9, 2000)
    assert set(later) == {1}, "the less loaded of the two"


def test_a_cycle_too_long_is_interleaved_in_the_program(rig: Rig) -> None:
    own = dests(65535, 65534, 1)
    rig.serve_by("wrr", own)
    chosen = opened(rig, 9)
    assert chosen == [1, 2, 1, 2, 1, 2, 1, 2, 1], "level 65535 is the first's alone"


# thresholds


def test_an_upper_threshold_sends_flows_elsewhere_until_the_lower(rig: Rig) -> None:
    own = dests(1, 1)
    own[1].upper, own[1].lower = 3, 2
    rig.serve_by("rr", own)
    assert opened(rig, 8) == [2, 1, 2, 1, 2, 1, 1, 1]
    assert rig.load(2) == (3, 0, True)
    for sport in (1000, 1002):
        rig.real_of(segment("FA", sport=sport))
    assert opened(rig, 2, 2000) == [1, 1], "inactive ones count as well"
    rig.datapath.sweep(121)
    assert rig.load(2)[2] is False
    assert set(opened(rig, 2, 3000)) == {1, 2}


def test_without_a_lower_threshold_three_quarters(rig: Rig) -> None:
    own = dests(1, 1)
    own[1].upper = 4
    rig.serve_by("rr", own)
    mine = [1000 + n for n, real in enumerate(opened(rig, 20)) if real == 2]
    for sport in mine:
        rig.real_of(segment("A", sport=sport))
    assert rig.load(2) == (4, 0, True)
    rig.real_of(segment("FA", sport=mine[0]))
    rig.datapath.sweep(130)
    assert rig.load(2) == (3, 0, True), "3 of 4 are not below three quarters"
    rig.real_of(segment("FA", sport=mine[1]))
    rig.datapath.sweep(130)
    assert rig.load(2) == (2, 0, False)


def test_nobody_takes_a_flow_when_all_are_overloaded(rig: Rig) -> None:
    own = dests(1)
    own[0].upper = 1
    rig.serve_by("wlc", own)
    assert opened(rig, 1) == [1]
    assert rig.send(segment(sport=2000))[0] == DROP and rig.reasons() == {"no_real_server": 1}


# persistence


def test_a_client_comes_back_to_its_real_server(rig: Rig) -> None:
    rig.serve_by("rr", dests(1, 1, 1), persistence_s=300, granularity=32)
    first = opened(rig, 4)
    assert len(set(first)) == 1
    assert rig.real_of(segment(src="10.0.0.51")) != first[0], "another client, another turn"


def test_a_network_is_one_client(rig: Rig) -> None:
    rig.serve_by("rr", dests(1, 1, 1), persistence_s=300, granularity=24)
    near = {rig.real_of(segment(src=f"10.9.8.{n}")) for n in range(1, 9)}
    assert len(near) == 1
    assert rig.real_of(segment(src="10.9.9.1")) not in near


def test_an_ipv6_network_is_one_client(rig: Rig) -> None:
    rig.serve_by("rr", dests(1, 1, 1), persistence_s=300, granularity=60, vip=VIP6)
    near = {rig.real_of(segment6(src=f"fd00:0:0:{n:x}::1")) for n in range(16)}
    assert len(near) == 1
    assert rig.real_of(segment6(src="fd00:0:0:10::1")) not in near


def test_one_that_drains_or_is_down_has_lost_its_clients(rig: Rig) -> None:
    rig.serve_by("rr", dests(1, 1), persistence_s=300, granularity=32)
    (first,) = set(opened(rig, 2))
    rig.set_real(first, weight=0)
    assert set(opened(rig, 4, 2000)) == {3 - first}
    rig.set_real(first)
    rig.set_real(3 - first, listed=False)
    rig.set_table([first])
    assert set(opened(rig, 4, 3000)) == {first}


# one-packet scheduling


def test_every_datagram_is_a_flow_of_its_own(rig: Rig) -> None:
    rig.serve_by("rr", dests(1, 1, 1), port=53, protocol=UDP_NUMBER, one_packet=True)
    assert [rig.real_of(datagram()) for _ in range(6)] == [3, 2, 1] * 2
    assert rig.datapath.sweep()[1] == 0 and rig.datapath.counters(1)[2] == 2


# a real server that is down


def test_unpinned_flows_go_on_to_another(rig: Rig) -> None:
    rig.serve_by("rr", dests(1, 1), dead_flows="unpin")
    first = rig.real_of(segment())
    rig.set_real(first, listed=False)
    rig.set_table([3 - first])
    assert rig.real_of(segment("A")) == 3 - first
    assert rig.reasons() == {"unpinned": 1, "adopted": 1}
    rig.set_real(first)
    rig.set_table([2, 1])
    assert rig.real_of(segment("A")) == 3 - first, "pinned anew"
    assert rig.load(first)[:2] == (0, 0) and rig.load(3 - first)[:2] == (1, 0)


def test_flows_wait_for_a_real_server_where_that_is_wished(rig: Rig) -> None:
    rig.serve_by("rr", dests(1, 1), dead_flows="drop")
    first = rig.real_of(segment())
    rig.set_real(first, listed=False)
    assert rig.send(segment("A"))[0] == DROP and rig.reasons() == {"real_server_down": 1}
    rig.set_real(first)
    assert rig.real_of(segment("A")) == first


@both_hooks
@pytest.mark.parametrize("vip", [VIP, VIP6])
def test_a_dead_ones_flows_are_reset_at_the_next_segment(rig: Rig, vip: str) -> None:
    make = segment if vip == VIP else segment6
    rig.serve_by("rr", dests(1, 1), dead_flows="reset", vip=vip)
    first = rig.real_of(make())
    rig.set_real(first, listed=False, vip=vip)
    rig.set_table([3 - first])
    asked = make("PA")
    asked[TCP].seq, asked[TCP].ack = 1000, 77
    verdict, answer = rig.send(asked / b"more")
    assert verdict == REDIRECT
    told = Ether(answer)
    assert (told.src, told.dst) == (asked.dst, asked.src)
    network, tcp = told.payload, told[TCP]
    assert (network.src, network.dst) == (vip, CLIENT if vip == VIP else CLIENT6)
    assert (tcp.sport, tcp.dport, tcp.flags, tcp.seq) == (80, 40000, "R", 77)
    checksums = network.copy()
    for layer, name in ((checksums, "chksum"), (checksums[TCP], "chksum")):
        layer.fields.pop(name, None)
    assert bytes(checksums.__class__(bytes(checksums))) == bytes(network)
    assert rig.reasons() == {"reset": 1}
    assert rig.send(make("R"))[0] == DROP, "nothing answers RST"
    assert rig.real_of(make()) == 3 - first, "its next SYN goes elsewhere"
    rig.set_real(first, listed=False, vip=vip)
    assert rig.load(first)[:2] == (0, 0) and rig.load(3 - first)[:2] == (1, 0)


# counting


def test_what_is_counted_follows_the_state(rig: Rig) -> None:
    rig.serve_by("rr", dests(1))
    assert opened(rig, 3) == [1] * 3
    assert rig.load(1)[:2] == (3, 0)
    rig.real_of(segment("FA", sport=1000))
    rig.real_of(segment("A", sport=1001))
    rig.real_of(segment("R", sport=1001))
    assert rig.load(1)[:2] == (1, 2) and rig.datapath.sweep()[0] == [(1, 1, 2)]
    rig.real_of(segment(sport=1000))
    assert rig.load(1)[:2] == (2, 1), "the port is used again"
    rig.datapath.sweep(1000)
    assert rig.load(1)[:2] == (0, 0)


def test_a_flood_of_ten_times_the_table_leaves_established_flows(rig: Rig) -> None:
    rig.serve_by("wlc", dests(1, 1))
    own = {sport: rig.real_of(segment(sport=sport)) for sport in range(1000, 1100)}
    for sport in own:
        assert rig.real_of(segment("A", sport=sport)) == own[sport]
    for n in range(10 * 1024):
        rig.real_of(segment(sport=n % 60000 + 1, src=f"10.7.{n >> 8}.{n & 255}"))
    assert rig.reasons()["table_full"] > 9000
    for sport, real in own.items():
        assert rig.real_of(segment("PA", sport=sport)) == real
    _rows, live, _ended = rig.datapath.sweep()
    assert live == 1024
    _rows, live, _ended = rig.datapath.sweep(7)
    assert live == 100, "half-open flows go soon while the table is full"
    assert sum(rig.load(n)[0] for n in (1, 2)) == 100
    assert rig.real_of(segment(dst=VIP, sport=9)) in (1, 2)
