"""Settings, health and MACs in; tables and steps out. A tiny kernel obeys the steps, and at every
step nothing may be half-made."""

from collections.abc import Set
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trimaran.director.plan import (
    FreeReal,
    LimitError,
    RealKey,
    RemoveService,
    SetReal,
    SetService,
    SetSlots,
    Step,
    desired,
    difference,
    indices,
    key_of,
    listen_of,
)
from trimaran.director.schedulers import Slots
from trimaran.director.settings import RealServerSettings, ServiceSettings
from trimaran.director.tables import MAX_REALS, Hop, Listen, Served, Tables

VIP = IPv4Address("10.0.0.100")
ADDRESSES = [IPv4Address("10.0.0.10") + n for n in range(5)]
HOPS = {a: Hop(bytes([2, 0, 0, 0, 0, n]), bytes(6), 3) for n, a in enumerate(ADDRESSES)}


def service(*members: int, port: int = 80, weight: int = 1) -> ServiceSettings:
    reals = tuple(RealServerSettings(f"r{n}", ADDRESSES[n], port, weight, None) for n in members)
    return ServiceSettings("web", VIP, port, "tcp", "rr", reals)


def obey(tables: Tables, steps: list[Step]) -> Tables:
    """What the kernel has after the steps; after each of them every real server that a table of a
    service names can be forwarded to."""
    services, reals, slots = dict(tables.services), dict(tables.reals), dict(tables.slots)
    for step in steps:
        match step:
            case SetReal(index, real):
                reals[index] = real
            case SetSlots(index, turns):
                slots[index] = turns
            case SetService(listen, served):
                services[listen] = served
            case RemoveService(listen):
                del services[listen]
            case FreeReal(index):
                del reals[index]
        for listen, served in services.items():
            for turn in () if listen.is_mark else slots[served.index].reals:
                assert reals[turn].listed and reals[turn].reachable, step
    return Tables(services, reals, slots)


def settle(
    found: Tables,
    *services: ServiceSettings,
    down: Set[RealKey] = frozenset(),
    hops: dict[IPv4Address, Hop] | None = None,
    busy: Set[int] | None = None,
) -> Tables:
    wanted = desired(services, found, down, HOPS if hops is None else hops, busy)
    there = obey(found, difference(found, wanted))
    assert there == wanted
    assert difference(there, wanted) == []
    return there


def test_from_nothing() -> None:
    tables = settle(Tables(), service(0, 1))
    assert tables.services == {Listen(VIP, 80, 6): Served(0), Listen(VIP, 0, 0): Served(0)}
    assert tables.slots == {0: Slots((1, 0))}
    assert [tables.reals[n].address for n in (0, 1)] == ADDRESSES[:2]


def test_a_server_that_is_down_is_out_and_keeps_its_place() -> None:
    web = service(0, 1)
    before = settle(Tables(), web)
    down = settle(before, web, down={key_of(web, web.real_servers[0])})
    assert down.slots == {0: Slots((1,))}
    assert not down.reals[0].listed
    assert settle(down, web) == before


def test_a_server_without_a_mac_gets_no_turn_but_is_listed() -> None:
    tables = settle(Tables(), service(0, 1), hops={ADDRESSES[1]: HOPS[ADDRESSES[1]]})
    assert tables.slots == {0: Slots((1,))}
    assert tables.reals[0].listed and tables.reals[0].hop is None


def test_weight_0_keeps_its_flows_and_gets_no_new_ones() -> None:
    web = service(0, 1)
    drained = replace(
        web, real_servers=(replace(web.real_servers[0], weight=0), web.real_servers[1])
    )
    tables = settle(settle(Tables(), web), drained)
    assert tables.slots == {0: Slots((1,))}
    assert tables.reals[0].listed


def test_an_index_is_given_back_only_when_no_flow_names_it() -> None:
    before = settle(Tables(), service(0, 1))
    retired = settle(before, service(1), busy={0})
    assert retired.reals[0].listed and retired.reals[0].weight == 0, "its flows live on"
    assert 0 in settle(retired, service(1), busy=None).reals
    assert 0 in settle(retired, service(1), busy={0}).reals
    assert 2 in settle(retired, service(1, 2), busy={0}).reals
    freed = settle(retired, service(1), busy={1})
    assert set(freed.reals) == {1}
    assert settle(freed, service(1, 2)).reals[0].address == ADDRESSES[2]


def test_a_count_from_before_the_swap_frees_nothing() -> None:
    """The count may be older than the table that stopped choosing it."""
    before = settle(Tables(), service(0, 1))
    assert 0 in settle(before, service(1), busy=frozenset()).reals


def test_a_service_that_left_is_served_no_longer() -> None:
    before = settle(Tables(), service(0, 1), service(0, port=443))
    after = settle(before, service(0, 1))
    assert after.services == {Listen(VIP, 80, 6): Served(0), Listen(VIP, 0, 0): Served(0)}
    assert after.slots == {0: Slots((1, 0)), 1: Slots()}


def test_too_much_is_refused() -> None:
    reals = tuple(
        RealServerSettings(str(n), IPv4Address("10.1.0.0") + n, 80, 1, None)
        for n in range(MAX_REALS + 1)
    )
    with pytest.raises(LimitError, match=f"at most {MAX_REALS} real servers"):
        desired((replace(service(), real_servers=reals),), Tables(), frozenset(), {}, None)


SHAPES = st.tuples(
    st.dictionaries(st.sampled_from([80, 81, 82]), st.sets(st.integers(0, 4)), max_size=3),
    st.sets(st.tuples(st.sampled_from([80, 81, 82]), st.integers(0, 4))),
    st.sets(st.integers(0, 4)),
    st.none() | st.sets(st.integers(0, 12)),
)


@given(st.lists(SHAPES, max_size=6))
@example(  # a service leaves while its flows live, and comes back
    [
        ({81: {0}}, set(), set(), None),
        ({}, set(), set(), None),
        ({81: {0}}, {(81, 0)}, set(), None),
        ({80: set(), 81: set()}, set(), set(), {0}),
    ]
)
def test_whatever_the_way_the_tables_say_what_is_wanted(shapes: list[object]) -> None:
    tables = Tables()
    for ports, down, known, busy in shapes:  # type: ignore[misc]
        services = tuple(service(*sorted(members), port=port) for port, members in ports.items())
        keys = {(Listen(VIP, port, 6), ADDRESSES[n], port) for port, n in down}
        hops = {ADDRESSES[n]: HOPS[ADDRESSES[n]] for n in known}
        before = indices(tables)
        tables = settle(tables, *services, down=keys, hops=hops, busy=busy)
        after = indices(tables)
        for each in services:
            chosen = {
                tables.reals[i].address
                for i in tables.slots[tables.services[listen_of(each)].index].reals
            }
            able = {
                real.address
                for real in each.real_servers
                if key_of(each, real) not in keys and real.address in hops
            }
            assert chosen == able
        assert all(after[key] == before[key] for key in before.keys() & after.keys())
