"""Which roles a node gets, and what each is told."""

from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path, PurePath

import pytest

from trimaran.director.settings import DirectorSettings
from trimaran.health.settings import CheckSettings, Target
from trimaran.node.plain import from_plain, to_plain
from trimaran.node.plan import plan
from trimaran.node.settings import NodePlan, RealServerRoleSettings
from trimaran.proxy.settings import ProxySettings
from trimaran.stack.errors import StackError
from trimaran.stack.load import load, load_classic
from trimaran.stack.model import Stack
from trimaran.stack.yaml import read_stack
from trimaran.system.files import DiskFiles
from trimaran.vrrp.settings import RouterSettings, Track, VrrpSettings

EXAMPLE = Path(__file__).parents[2] / "examples" / "seven-nodes"
CLASSIC = EXAMPLE / "classic"
VIP = IPv4Address("192.168.31.145")
PROXIES = {
    "node4": IPv4Address("192.168.31.165"),
    "node5": IPv4Address("192.168.31.179"),
}


@pytest.fixture(scope="module")
def stack() -> Stack:
    return load([str(EXAMPLE / "stack.yaml")], DiskFiles()).stack


def planned(stack: Stack, node: str) -> NodePlan:
    return plan(stack, node, PurePath("/run/t") / node, PurePath("/sys/fs/bpf/t") / node, "s.yaml")


def test_every_node_of_the_example_has_its_roles_in_starting_order(stack: Stack) -> None:
    assert {name: list(planned(stack, name).roles) for name in stack.nodes} == {
        "node2": ["director", "vrrp"],
        "node3": ["director", "vrrp"],
        "node4": ["real_server", "proxy"],
        "node5": ["real_server", "proxy"],
        "node6": ["site"],
        "node7": ["site"],
    }


def test_the_vrrp_process_is_told_its_own_priority_and_the_password(stack: Stack) -> None:
    assert planned(stack, "node3").roles["vrrp"] == VrrpSettings(
        "node3",
        (
            RouterSettings(
                name="front",
                router_id=51,
                interface="ens33",
                priority=101,
                addresses=(IPv4Interface(VIP),),
                source=IPv4Address("192.168.31.91"),
                password=b"1111",
                tracks=(Track("service", "web", -253),),
            ),
        ),
    )


def test_a_proxys_check_watches_every_peer_that_is_an_address() -> None:
    text = EXAMPLE.joinpath("stack.yaml").read_text()
    assert "upstream: {node6: 1, node7: 1}" in text
    more = text.replace(
        "upstream: {node6: 1, node7: 1}",
        "upstream: {node6: 1, node7: 1}, check: {http: {path: /}, interval: 5s}",
    )
    stack, _ = read_stack(more, str(EXAMPLE / "stack.yaml"))
    proxy = planned(stack, "node4").roles["proxy"]
    assert isinstance(proxy, ProxySettings)
    assert proxy.names == {"192.168.31.97:80": "node6", "192.168.31.86:80": "node7"}
    assert {(peer, name) for peer, each in proxy.checks.items() for name in each} == {
        (peer, "http") for peer in proxy.names
    }
    check = proxy.checks["192.168.31.97:80"]["http"]
    assert (str(check.target.address), check.target.port) == ("192.168.31.97", 80)
    assert check.interval_s == 5.0


def test_a_virtual_router_tracks_its_own_services_or_those_it_is_told() -> None:
    text = EXAMPLE.joinpath("stack.yaml").read_text()

    def tracks(said: str) -> tuple[Track, ...]:
        asked = text.replace("router_id: 51", f"router_id: 51\n    track: {said}")
        stack, _ = read_stack(asked, str(EXAMPLE / "stack.yaml"))
        vrrp = planned(stack, "node3").roles["vrrp"]
        assert isinstance(vrrp, VrrpSettings)
        return vrrp.routers[0].tracks

    assert tracks("{own_services: false}") == ()
    told = (Track("service", "web", -60),)
    assert tracks("{services: {web: {weight: -60}}}") == told
    assert tracks("{own_services: false, services: {web: {weight: -60}}}") == told
    with pytest.raises(StackError, match="there is no virtual service 'wep'"):
        tracks("{services: {wep: {weight: -60}}}")


def test_the_director_is_told_its_service_and_whom_to_check(stack: Stack) -> None:
    director = planned(stack, "node2").roles["director"]
    assert isinstance(director, DirectorSettings)
    assert (director.interface, director.pin_directory) == ("ens33", "/sys/fs/bpf/t/node2")
    (service,) = director.services
    assert (service.name, service.address, service.port) == ("web", VIP, 80)
    assert service.scheduler == "rr"
    assert {server.name: server.address for server in service.real_servers} == PROXIES
    for server in service.real_servers:
        check = CheckSettings(Target(server.address, 80), 3.0, 3.0, 3, 1.0, 1)
        assert (server.port, server.weight, server.checks) == (80, 1, {"tcp": check})


def test_a_real_server_carries_the_address_and_runs_its_proxy(stack: Stack) -> None:
    roles = planned(stack, "node4").roles
    assert roles["real_server"] == RealServerRoleSettings(
        "node4", (VIP,), "/run/t/node4/real_server.json"
    )
    proxy = roles["proxy"]
    assert isinstance(proxy, ProxySettings)
    assert (proxy.role, proxy.name, proxy.listeners) == ("proxy", "edge", (("0.0.0.0", 80),))
    peers = [peer["address"] for peer in proxy.http["upstreams"][0]["peers"]]
    assert peers == ["192.168.31.97:80", "192.168.31.86:80"]


def test_a_site_is_told_an_absolute_root(stack: Stack) -> None:
    site = planned(stack, "node7").roles["site"]
    assert isinstance(site, ProxySettings)
    (location,) = site.http["servers"][0]["locations"]
    assert location["action"]["root"] == str(EXAMPLE / "web2")


def test_every_settings_survives_the_border(stack: Stack) -> None:
    for name in stack.nodes:
        for settings in planned(stack, name).roles.values():
            assert from_plain(type(settings), to_plain(settings)) == settings


def test_an_unknown_node_names_the_nearest(stack: Stack) -> None:
    with pytest.raises(StackError, match=r"s\.yaml.*no node 'nod3'.*did you mean 'node3'"):
        planned(stack, "nod3")


def test_several_sites_of_a_node_are_told_apart(stack: Stack) -> None:
    both = stack.model_copy(
        update={
            "sites": {
                name: site.model_copy(update={"node": "node6"})
                for name, site in stack.sites.items()
            }
        }
    )
    assert list(planned(both, "node6").roles) == ["site:web1", "site:web2"]
    assert list(planned(both, "node7").roles) == []


@pytest.mark.parametrize(
    ("file", "node", "priority"),
    [("node2.keepalived.conf", "director1", 151), ("node3.keepalived.conf", "director2", 101)],
)
def test_a_classic_director(file: str, node: str, priority: int) -> None:
    stack = load_classic(DiskFiles(), keepalived=str(CLASSIC / file)).stack
    roles = planned(stack, node).roles
    assert list(roles) == ["director", "vrrp"]
    director, vrrp = roles["director"], roles["vrrp"]
    assert isinstance(director, DirectorSettings)
    assert isinstance(vrrp, VrrpSettings)
    assert [server.address for server in director.services[0].real_servers] == [*PROXIES.values()]
    (router,) = vrrp.routers
    assert (router.priority, router.password, router.source) == (priority, b"1111", None)


def test_a_classic_real_server() -> None:
    stack = load_classic(
        DiskFiles(), "node4", nginx=str(CLASSIC / "nginx.conf"), lvsrs=str(CLASSIC / "lvsrs")
    ).stack
    roles = planned(stack, "node4").roles
    assert list(roles) == ["real_server", "proxy"]
    real_server = roles["real_server"]
    assert isinstance(real_server, RealServerRoleSettings)
    assert real_server.addresses == (VIP,)
