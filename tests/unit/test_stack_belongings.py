"""What a virtual router carries besides addresses, as both languages have it, down to what the vrrp
process is told."""

from ipaddress import IPv4Address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stack_files import MemoryFiles

from trimaran.node.plain import from_plain, to_plain
from trimaran.node.plan_vrrp import vrrp_settings
from trimaran.stack.errors import StackError
from trimaran.stack.keepalived import read_keepalived
from trimaran.stack.routes import Route, Rule, parse_route, parse_rule
from trimaran.stack.yaml import read_stack
from trimaran.vrrp.settings import (
    Belongings,
    LinkDelay,
    RouterSettings,
    RouteSettings,
    RuleSettings,
    VmacSettings,
    VrrpSettings,
)

KEEPALIVED = """
global_defs {
    vrrp_min_garp
    vmac_prefix vip
}
static_ipaddress {
    10.1.0.1/24 dev eth1
}
static_routes {
    10.9.0.0/16 via 10.1.0.9 dev eth1
}
static_rules {
    from 10.9.0.0/16 table 9
}
interface_up_down_delays {
    ens33 2 5
    eth1 1
}
garp_group {
    garp_interval 0.01
    interfaces {
        ens33
        eth1
    }
}
vrrp_instance VI {
    interface ens33
    virtual_router_id 7
    version 3
    advert_int 2
    use_vmac 02:00:00:00:01
    vmac_xmit_base
    no_accept
    garp_extra_if all 30
    virtual_ipaddress {
        10.0.0.1
        10.0.0.2/24 dev eth1 label eth1:0
    }
    virtual_ipaddress_excluded {
        fe80::1 dev eth1
    }
    virtual_routes {
        src 10.0.0.1 to 10.2.0.0/16 via 10.0.0.254 dev ens33 metric 5 no_track
        blackhole 10.3.0.0/16 table 9
    }
    virtual_rules {
        from 10.2.0.0/16 lookup 9 priority 100
        to 10.3.0.0/16 unreachable
    }
}
"""
YAML = """
nodes: {a: {address: 10.0.0.5, interface: ens33}}
static:
  a:
    addresses: {eth1: [10.1.0.1/24]}
    routes: [10.9.0.0/16 via 10.1.0.9 dev eth1]
    rules: [from 10.9.0.0/16 table 9]
link_delays: {ens33: {down: 2, up: 5}, eth1: {down: 1, up: 1}}
garp_groups: {group1: {interval: 10ms, interfaces: [ens33, eth1]}}
virtual_routers:
  VI:
    router_id: 7
    version: 3
    advert_interval: 2
    addresses: [10.0.0.1, 10.0.0.2/24]
    unadvertised: ["fe80::1"]
    devices: {10.0.0.2/24: eth1, "fe80::1": eth1}
    members: {a: 100}
    accept: false
    vmac: {name: vip.7, mac: "02:00:00:00:01:07", transmit_base: true}
    gratuitous_arp: {repeat: 1, delay: 0, refresh: 30}
    routes:
      - src 10.0.0.1 to 10.2.0.0/16 via 10.0.0.254 dev ens33 metric 5 no_track
      - blackhole 10.3.0.0/16 table 9
    rules: [from 10.2.0.0/16 lookup 9 priority 100, to 10.3.0.0/16 unreachable]
"""


def from_keepalived() -> VrrpSettings:
    stack, notes = read_keepalived(KEEPALIVED, "k.conf", MemoryFiles({}), "a")
    assert {note.status for note in notes} == {"honoured", "no effect"}
    assert [note.message for note in notes if note.status == "no effect"] == [
        "label eth1:0; the address is honoured"
    ]
    return vrrp_settings(stack, "a")


def from_yaml() -> VrrpSettings:
    return vrrp_settings(read_stack(YAML, "stack.yaml")[0], "a")


@pytest.mark.parametrize("read", [from_keepalived, from_yaml])
def test_both_languages_say_the_same(read: object) -> None:
    settings: VrrpSettings = read()  # type: ignore[operator]
    (router,) = settings.routers
    assert router.vmac == VmacSettings("vip.7", bytes.fromhex("020000000107"), True)
    assert (router.wire, router.interface, router.accept) == ("ens33", "ens33", False)
    one, two, six = map(ip_interface, ("10.0.0.1/32", "10.0.0.2/24", "fe80::1/128"))
    assert router.carrying == {"vip.7": (one,), "eth1": (two, six)}
    assert (router.garp_repeat, router.garp_delay_s, router.garp_refresh_s) == (1, 0, 30)
    assert (router.garp_group, router.garp_interval_s) == ("group1", 0.01)
    first, second = router.belongings.routes
    assert first.text.startswith("src 10.0.0.1 to 10.2.0.0/16")
    assert (first.destination, first.gateway) == (
        ip_interface("10.2.0.0/16"), IPv4Address("10.0.0.254"),
    )  # fmt: skip
    assert (first.device, first.source, first.metric) == ("ens33", IPv4Address("10.0.0.1"), 5)
    assert (second.kind, second.table) == ("blackhole", 9)
    assert router.belongings.rules == (
        RuleSettings(4, "lookup", 9, ip_interface("10.2.0.0/16"), preference=100,  # type: ignore[arg-type]
                     text="from 10.2.0.0/16 lookup 9 priority 100"),
        RuleSettings(4, "unreachable", destination=ip_interface("10.3.0.0/16"),  # type: ignore[arg-type]
                     text="to 10.3.0.0/16 unreachable"),
    )  # fmt: skip
    assert settings.delays == (LinkDelay("ens33", 2, 5), LinkDelay("eth1", 1, 1))
    assert settings.static == (("eth1", ip_interface("10.1.0.1/24")),)
    assert len(settings.static_belongings.routes) == len(settings.static_belongings.rules) == 1
    assert from_plain(VrrpSettings, to_plain(settings)) == settings


def test_without_any_of_it() -> None:
    plain = RouterSettings("x", 1, "ens33", 1, (ip_interface("10.0.0.1/32"),))  # type: ignore[arg-type]
    assert plain.carrying == {"ens33": plain.addresses}
    assert plain.belongings == Belongings() == from_plain(Belongings, to_plain(Belongings()))
    vmac = VmacSettings("v")
    assert RouterSettings("x", 1, "ens33", 1, plain.addresses, vmac=vmac).wire == "v"


def test_routes() -> None:
    assert parse_route(["default", "via", "inet", "10.0.0.1"]) == Route(
        gateway=IPv4Address("10.0.0.1")
    )
    assert parse_route(["default", "dev", "x"], 6).family == 6
    assert parse_route(["to", "10.0.0.9/8", "oif", "x", "scope", "link", "onlink"]) == Route(
        destination=ip_network("10.0.0.0/8"), device="x", scope=253, onlink=True
    )
    assert parse_rule(["fwmark", "0x10", "from", "all", "table", "main", "iif", "eth0"]) == Rule(
        mark=16, table=254, incoming="eth0"
    )


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("via 10.0.0.1", "names no destination"),
        ("10.0.0.0/8 via", "ends after 'via'"),
        ("10.0.0.0/8 via ten", "has 'ten', which is no address"),
        ("10.0.0.0/99 via 10.0.0.1", "has '10.0.0.0/99', which is no network"),
        ("10.0.0.0/8 via fe80::1", "mixes IPv4 and IPv6"),
        ("10.0.0.0/8 nexthop", "knows no word 'nexthop'"),
        ("10.0.0.0/8 metric much", "has 'much', which is no number"),
    ],
)
def test_what_is_wrong_with_a_route_is_said_where_it_stands(words: str, why: str) -> None:
    old = "blackhole 10.3.0.0/16 table 9"
    with pytest.raises(StackError) as caught:
        read_keepalived(KEEPALIVED.replace(old, words), "k.conf", MemoryFiles({}), "a")
    (problem,) = caught.value.problems
    assert f"k.conf:44:9: '{words.split()[0]}' {why}" in str(problem)
    with pytest.raises(StackError) as caught:
        read_stack(YAML.replace(old, words), "stack.yaml")
    assert why in str(caught.value.problems[0])
    line = 1 + next(i for i, each in enumerate(YAML.splitlines()) if old in each)
    assert f"stack.yaml:{line}:" in str(caught.value.problems[0])


@pytest.mark.parametrize("words", ["from 10.0.0.0/8", "from x table 9", "away 9"])
def test_wrong_rules(words: str) -> None:
    with pytest.raises(ValueError, match=r"names no table|is no network|knows no word"):
        parse_rule(words.split())


@given(st.lists(st.sampled_from([
    "to", "from", "via", "dev", "src", "table", "10.0.0.0/8", "fe80::1", "9", "blackhole",
    "default", "inet6", "no_track", "track_group", "scope", "link", "mtu", "",
]), max_size=8))  # fmt: skip
def test_any_words_are_a_route_or_a_reason(words: list[str]) -> None:
    for parse in (parse_route, parse_rule):
        try:
            found = parse(words)
        except ValueError:
            continue
        assert found.family in (4, 6)


def test_routes_cross_the_border() -> None:
    route = RouteSettings(6, destination=ip_interface("2001:db8::/32"))  # type: ignore[arg-type]
    assert from_plain(RouteSettings, to_plain(route)) == route
