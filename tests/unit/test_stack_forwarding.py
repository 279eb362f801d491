"""Forwarding methods as people write them, what the director is told, and what cannot work."""

from ipaddress import ip_address
from pathlib import PurePath

import pytest

from trimaran.director.plan import desired, difference
from trimaran.director.schedulers import Slots
from trimaran.director.settings import DirectorSettings, RealServerSettings, TunnelSettings
from trimaran.director.tables import Hop, Tables, Way, overhead
from trimaran.node.plain import from_plain, to_plain
from trimaran.node.plan import plan
from trimaran.stack.errors import StackError
from trimaran.stack.keepalived import read_keepalived
from trimaran.stack.model import Stack
from trimaran.stack.yaml import read_stack

CONF = """virtual_server 10.0.0.1 80 {
    SERVICE
    lb_algo rr
    real_server 10.0.0.2 80 {
        weight 1
        REAL
    }
}
"""
YAML = """
nodes:
  d: {address: 10.0.0.9}
  r: {address: 10.0.0.2, address6: "fd00::2"}
virtual_services:
  web:
    listen: LISTEN
    check: null
    SERVICE
    real_servers: {r: {REAL}}
"""


def read(service: str, real: str = "", listen: str = "10.0.0.9:80") -> Stack:
    text = YAML.replace("LISTEN", listen).replace("SERVICE", service).replace("REAL", real)
    return read_stack(text, "s.yaml")[0]


def told(stack: Stack, node: str) -> RealServerSettings:
    """What the director learns of the only real server, through the channel."""
    role = plan(stack, node, PurePath("/s"), PurePath("/p")).roles["director"]
    settings = from_plain(DirectorSettings, to_plain(role))
    (real,) = settings.services[0].real_servers
    return real


@pytest.mark.parametrize(
    ("words", "tunnel"),
    [
        ("TUN", TunnelSettings("ipip")),
        ("tun type ipip", TunnelSettings("ipip")),
        ("TUN type gue port 6080", TunnelSettings("gue", 6080)),
        ("TUN type gue port 6080 nocsum", TunnelSettings("gue", 6080)),
        ("TUN type gue port 6080 remcsum", TunnelSettings("gue", 6080)),
        ("TUN type gue port 6080 csum", TunnelSettings("gue", 6080, True)),
        ("TUN type gre csum", TunnelSettings("gre", 0, True)),
    ],
)
def test_lvs_method(words: str, tunnel: TunnelSettings) -> None:
    of_service = CONF.replace("SERVICE", f"lvs_method {words}").replace("REAL", "")
    of_real = CONF.replace("SERVICE", "lvs_method DR").replace("REAL", f"lvs_method {words}")
    for text in (of_service, of_real):
        real = told(read_keepalived(text, "k.conf", node="n")[0], "n")
        assert (real.forward, real.tunnel) == ("tunnel", tunnel)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("TUN type gue", "a tunnel of type gue needs a port"),
        ("TUN type vxlan", "'vxlan' is not possible yet"),
        ("TUN type", "'type' is followed by nothing"),
        ("TUN type gue port 0", "takes a number from 1 to 65535, not 0"),
        ("TUN csumm", "takes no 'csumm' (did you mean 'csum'?"),
        ("TUN csum", "a tunnel of type ipip has no checksum"),
        ("DR type gre", "DR takes no 'type'"),
    ],
)
def test_a_wrong_lvs_method_is_refused_where_it_stands(words: str, said: str) -> None:
    text = CONF.replace("SERVICE", "lvs_method DR").replace("REAL", f"lvs_method {words}")
    with pytest.raises(StackError) as caught:
        read_keepalived(text, "k.conf", node="n")
    (problem,) = caught.value.problems
    assert said in str(problem) and problem.place.line in (4, 6)


def test_a_real_server_s_own_method_counts() -> None:
    gue = "forward: tunnel, tunnel: {type: gue, port: 6080, checksum: true}"
    service = "forward: tunnel\n    tunnel: {type: gre}"
    assert told(read(service), "d").tunnel == TunnelSettings("gre")
    assert told(read(service, gue), "d").tunnel == TunnelSettings("gue", 6080, True)
    assert told(read(service, "forward: dr"), "d").forward == "dr"


def test_a_tunnel_may_lead_to_the_other_ip_version() -> None:
    six = read("forward: tunnel", listen='"10.0.0.9:80"')
    assert told(six, "d").address == ip_address("10.0.0.2"), "the service's own, if there is one"
    text = YAML.replace("LISTEN", "10.0.0.9:80").replace("SERVICE", "forward: tunnel")
    only6 = text.replace("address: 10.0.0.2, ", "").replace("REAL", "")
    assert told(read_stack(only6, "s.yaml")[0], "d").address == ip_address("fd00::2")
    with pytest.raises(StackError, match="node 'r' has no address"):
        read_stack(only6.replace("forward: tunnel", "forward: dr"), "s.yaml")


@pytest.mark.parametrize(
    ("service", "real", "said"),
    [
        ("tunnel: {type: gre}", "", "9:5: only `forward: tunnel` has a tunnel (write that too)"),
        ("forward: tunnel", "forward: dr, tunnel: {}", "only `forward: tunnel` has a tunnel"),
        ("forward: tunnel\n    tunnel: {type: gue}", "", "a tunnel of type gue needs a port"),
        ("forward: tunnel\n    tunnel: {type: gre, port: 7}", "", "type gre has no port"),
        ("forward: tunnel\n    tunnel: {checksum: true}", "", "type ipip has no checksum"),
    ],
)
def test_what_a_method_cannot_do_is_named(service: str, real: str, said: str) -> None:
    with pytest.raises(StackError) as caught:
        read(service, real)
    assert any(said in str(problem) for problem in caught.value.problems), caught.value


def test_another_port_is_refused() -> None:
    text = YAML.replace("{r: {REAL}}", "{'r:81': {}}").replace("SERVICE", "forward: tunnel")
    with pytest.raises(StackError, match="a tunnel cannot change the port"):
        read_stack(text.replace("LISTEN", "10.0.0.9:80"), "s.yaml")


def test_the_tables_have_the_way_and_what_fits_through_it() -> None:
    stack = read("forward: tunnel\n    tunnel: {type: gue, port: 6080}")
    role = plan(stack, "d", PurePath("/s"), PurePath("/p")).roles["director"]
    assert isinstance(role, DirectorSettings)
    hop, source = Hop(bytes(6), bytes(6), 7, 1500), ip_address("10.0.0.9")
    address = ip_address("10.0.0.2")

    def tables(ways: dict[object, Way], hops: dict[object, Hop]) -> Tables:
        wanted = desired(role.services, Tables(), frozenset(), hops, None, ways=ways)  # type: ignore[arg-type]
        assert difference(wanted, wanted) == []
        return wanted

    assert tables({}, {address: hop}).slots == {0: Slots()}, "a neighbour is not enough to know"
    (real,) = tables({address: Way(hop, source)}, {}).reals.values()
    assert real.reachable and real.hop is not None and real.hop.mtu == 1500 - 32
    assert real.tunnel is not None and real.tunnel.source == source


def test_what_a_tunnel_costs() -> None:
    """RFC 2003, 2784 and draft-ietf-intarea-gue: outer IP, then nothing, 4 or 8, or 8 + 4."""
    of = [
        overhead(TunnelSettings(k, 0, c), 4) for k in ("ipip", "gue", "gre") for c in (False, True)
    ]  # type: ignore[arg-type]
    assert of == [20, 20, 32, 32, 24, 28]
    assert overhead(TunnelSettings("gue"), 6) == 52
