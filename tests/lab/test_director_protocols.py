"""The director's process with UDP, IPv6, fragments and XDP: real traffic between namespaces."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from test_director_role import ADDRESSES, PORT, VIP, Site, rows, says

from bpf_stub import attach_tc, attach_xdp, detach_tc, tc_mark, xdp_pass
from lan import Lan, inside, ip, lan, wait_until
from trimaran.director.settings import RealServerSettings, ServiceSettings

VIP6 = "fd00::100"
ADDRESSES6 = {"client": "fd00::1", "director": "fd00::2", "r1": "fd00::11", "r2": "fd00::12"}
UDP_SERVER = Path(__file__).parents[1] / "udp_server.py"


@pytest.fixture
def site() -> Iterator[Site]:
    """As in test_director_role, with IPv6 beside IPv4 and a UDP server on every real server."""
    with lan() as made:
        site = Site(made)
        try:
            for name, address in ADDRESSES6.items():
                add6(made, name, f"{address}/64", "ens33")
                if name == "director":
                    add6(made, name, f"{VIP6}/128", "ens33")
                elif name != "client":
                    add6(made, name, f"{VIP6}/128", "lo")
                    made.run(name, sys.executable, str(UDP_SERVER), name, str(PORT))
            yield site
        finally:
            site.close()


def add6(made: Lan, name: str, address: str, interface: str) -> None:
    ip("-n", made.namespace(name), "address", "add", address, "dev", interface, "nodad")


def services(protocol: str) -> tuple[ServiceSettings, ...]:
    """The same service over either version, unchecked."""
    return tuple(
        ServiceSettings(
            f"{protocol}{n}",
            ip_address(vip),
            PORT,
            protocol,  # type: ignore[arg-type]
            "rr",
            tuple(
                RealServerSettings(name, ip_address(addresses[name]), PORT, 1)
                for name in ("r1", "r2")
            ),
        )
        for n, (vip, addresses) in enumerate(((VIP, ADDRESSES), (VIP6, ADDRESSES6)))
    )


def ask(site: Site, vip: str, length: int = 10) -> str | None:
    """What a new UDP flow to the VIP is answered."""
    family = socket.AF_INET6 if ":" in vip else socket.AF_INET
    with inside(site.lan.namespace("client")):
        asking = socket.socket(family, socket.SOCK_DGRAM)
    with asking:
        asking.settimeout(2.0)
        asking.connect((vip, PORT))
        asking.send(bytes(length))
        try:
            return asking.recv(100).decode()
        except (TimeoutError, ConnectionRefusedError):
            return None


@pytest.mark.parametrize("vip", [VIP, VIP6])
def test_udp_goes_to_both_and_its_fragments_together(site: Site, vip: str) -> None:
    role = site.start(services=services("udp"))
    wait_until("both answer", lambda: {ask(site, vip), ask(site, vip)} == {"r1 10", "r2 10"})
    answers = [ask(site, vip, 5000) for _ in range(4)]
    assert sorted(map(str, answers)) == ["r1 5000"] * 2 + ["r2 5000"] * 2, "a datagram in 4 pieces"
    assert role.status()["drops"]["fragment"] == 0


def test_tcp_over_ipv6(site: Site) -> None:
    role = site.start(services=services("tcp")[1:])
    answers = []
    with inside(site.lan.namespace("client")):
        for _ in range(4):
            with socket.socket(socket.AF_INET6) as connection:
                connection.settimeout(5.0)
                connection.connect((VIP6, PORT))
                answers.append(says(connection))
    assert sorted(answers) == ["r1", "r1", "r2", "r2"]
    assert {row["connections"] for row in rows(role).values()} == {2}


def attach_stub(made: Lan) -> None:
    """A program that passes everything, at the other end of the director's cable: veth delivers
    what XDP sends only to a peer with a program."""
    with inside(made.namespace("switch")):
        attach_xdp(socket.if_nametoindex("to-director"), xdp_pass())


def director_link(site: Site) -> str:
    return ip("-n", site.lan.namespace("director"), "link", "show", "ens33")


def test_xdp_forwards_as_tc_does_and_leaves_nothing(site: Site) -> None:
    client = site.lan.namespace("client")
    subprocess.run(
        ["ip", "netns", "exec", client, "ethtool", "-K", "ens33", "tx", "off"],
        check=True,
        capture_output=True,
    )
    attach_stub(site.lan)
    settings = replace(site.settings(), hook="xdp")
    role = site.start(services=settings.services, hook="xdp")
    assert role.status()["hook"] == "xdp"
    wait_until("both answer", lambda: {site.asks(), site.asks()} == {"r1", "r2"})
    with site.connect() as connection:
        assert {says(connection) for _ in range(5)} in ({"r1"}, {"r2"})
    assert "xdp" in director_link(site)
    role.stop()
    assert role.process.wait(10) == 0
    assert "xdp" not in director_link(site)


def test_auto_is_tc_on_veth_and_says_why(site: Site) -> None:
    status = site.start().status()
    assert status["hook"] == "tc" and "no driver of its own" in status["hook_cause"]


def test_the_xdp_program_of_somebody_else_stays_where_it_is(site: Site) -> None:
    """Found at the start, and put there later: either way tc does the work, and says why."""
    with inside(site.lan.namespace("director")):
        attach_xdp(socket.if_nametoindex("ens33"), xdp_pass("guard"))
    before = director_link(site)
    role = site.start(hook="xdp")
    status = role.status()
    assert status["well"] and status["hook"] == "tc" and "'guard'" in status["hook_cause"]
    assert "'guard'" in role.events("director.attached")[0]["cause"]
    wait_until("both answer", lambda: {site.asks(), site.asks()} == {"r1", "r2"})
    role.stop()
    assert role.process.wait(10) == 0
    assert director_link(site) == before and "xdp" in before


def test_the_filter_of_somebody_else_is_not_replaced(site: Site) -> None:
    director = site.lan.namespace("director")
    with inside(director):
        interface = socket.if_nametoindex("ens33")
        attach_tc(interface, tc_mark(0), 100)
    role = site.start()
    assert "'stub' (bpf)" in role.wait_for(kind="well", well=False)["cause"]
    with inside(director):
        detach_tc(interface, 100)
    role.wait_for(kind="well", well=True)
    wait_until("both answer", lambda: {site.asks(), site.asks()} == {"r1", "r2"})
