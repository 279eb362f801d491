"""What comes with a virtual address: a virtual MAC, routes, rules, other interfaces, static
addresses, and packets that are not accepted. Looked at from outside, with iproute2 and ping."""

import errno
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, ip_interface
from typing import Any

import pytest

from lan import Lan, Role, inside, ip, lan, wait_until
from trimaran.system.no_accept import ruleset
from trimaran.vrrp.settings import (
    Belongings,
    RouterSettings,
    RouteSettings,
    RuleSettings,
    VmacSettings,
    VrrpSettings,
)

A, OBSERVER, VIP = "192.0.2.1", "192.0.2.3", "192.0.2.100"
ROUTER = RouterSettings(
    "front", 10, "ens33", 200, (IPv4Interface(f"{VIP}/32"),), version=3, advert_interval_s=0.1
)
VMAC = bytes.fromhex("00005e00010a")


class Rig:
    def __init__(self, made: Lan) -> None:
        self.lan = made
        for name, address in (("a", A), ("observer", OBSERVER)):
            made.machine(name, address)
        self.wire = made.capture("observer")
        self.roles: list[Role] = []

    def start(self, router: RouterSettings, **others: Any) -> Role:
        settings = VrrpSettings("a", (router,), **others)
        self.roles.append(Role(self.lan, "a", "trimaran.node.vrrp_role", settings))
        return self.roles[-1]

    def ip(self, *words: str) -> str:
        return ip("-n", self.lan.namespace("a"), *words)

    def holds(self, device: str, address: str = VIP) -> bool:
        try:
            return f" {address}/" in self.ip("address", "show", "dev", device)
        except RuntimeError:
            return False

    def wait_holds(self, device: str, address: str = VIP) -> None:
        wait_until(f"{device} carries {address}", lambda: self.holds(device, address))

    def answers(self, address: str = VIP) -> bool:
        """The observer's SYN to a closed port is answered by RST."""
        with inside(self.lan.namespace("observer")):
            client = socket.socket()
        with client:
            client.settimeout(1)
            return client.connect_ex((address, 9)) == errno.ECONNREFUSED

    def neighbour(self) -> str:
        return ip("-n", self.lan.namespace("observer"), "neigh", "show", VIP)

    def end(self, role: Role) -> None:
        role.stop()
        assert role.ended()[0] == 0


@pytest.fixture
def rig() -> Iterator[Rig]:
    with lan() as made:
        rig = Rig(made)
        yield rig
        for role in rig.roles:
            role.close()


def advert_macs(rig: Rig) -> set[bytes]:
    return {frame.data[6:12] for frame in rig.wire.adverts(A)}


def arp_ignore(rig: Rig) -> str:
    name = "/proc/sys/net/ipv4/conf/ens33/arp_ignore"
    return rig.lan.run("a", "cat", name, stdout=subprocess.PIPE).communicate()[0].decode()


def test_a_virtual_mac(rig: Rig) -> None:
    assert arp_ignore(rig) == "0\n"
    settings = replace(ROUTER, vmac=VmacSettings("vrrp.10"))
    role = rig.start(settings)
    rig.wait_holds("vrrp.10")
    assert not rig.holds("ens33")
    wait_until("it answers", rig.answers)
    assert "00:00:5e:00:01:0a" in rig.neighbour()
    assert advert_macs(rig) == {VMAC}
    wait_until("ARP by the virtual MAC", lambda: rig.wire.arps(VMAC, VIP))
    assert rig.wire.arps(rig.lan.mac("a"), VIP) == []

    role.kill()  # its macvlan stays behind, and is taken over
    again = rig.start(settings)
    again.wait_for(kind="event", message="front: BACKUP → MASTER")
    wait_until("it answers again", rig.answers)
    rig.end(again)
    assert "vrrp.10" not in rig.ip("link", "show")


def test_a_virtual_mac_whose_adverts_leave_by_the_base(rig: Rig) -> None:
    role = rig.start(replace(ROUTER, vmac=VmacSettings("v10", transmit_base=True)))
    rig.wait_holds("v10")
    wait_until("it answers", rig.answers)
    assert advert_macs(rig) == {rig.lan.mac("a")}
    assert "00:00:5e:00:01:0a" in rig.neighbour()
    assert arp_ignore(rig) == "1\n"
    rig.end(role)
    assert arp_ignore(rig) == "0\n"


def test_packets_that_are_not_accepted(rig: Rig) -> None:
    role = rig.start(replace(ROUTER, accept=False))
    rig.wait_holds("ens33")
    wait_until(
        "the observer knows where it is", lambda: rig.answers() or "lladdr" in rig.neighbour()
    )
    assert not rig.answers()
    assert rig.answers(A)
    rig.end(role)
    said = rig.lan.run("a", "nft", "list", "ruleset", stdout=subprocess.PIPE).communicate()[0]
    assert b"trimaran" not in said


@pytest.mark.parametrize("addresses", [[], [IPv4Address(VIP)], [IPv6Address("fe80::64")]])
def test_nft_understands_the_rules(rig: Rig, addresses: list[Any]) -> None:
    done = rig.lan.run("a", "nft", "-c", "-f", "-", stdin=subprocess.PIPE)
    done.communicate(ruleset("trimaran-a", addresses).encode())
    assert done.returncode == 0


def test_routes_and_rules_come_and_go_with_mastership(rig: Rig) -> None:
    belongings = Belongings(
        (
            RouteSettings(4, destination=ip_interface("198.51.100.0/24"), device="ens33",  # type: ignore[arg-type]
                          gateway=IPv4Address("192.0.2.3"), source=IPv4Address(VIP), metric=7),
            RouteSettings(4, "blackhole", ip_interface("203.0.113.0/24"), table=99),  # type: ignore[arg-type]
        ),
        (RuleSettings(4, table=99, source=ip_interface("192.0.2.0/24"), preference=1000),),  # type: ignore[arg-type]
    )  # fmt: skip
    router = replace(ROUTER, belongings=belongings)
    role = rig.start(router)

    def there() -> tuple[bool, bool, bool]:
        main = rig.ip("route", "show", "198.51.100.0/24")
        return (
            "via 192.0.2.3 dev ens33 proto keepalived src 192.0.2.100 metric 7" in main,
            "blackhole 203.0.113.0/24" in rig.ip("route", "show", "table", "all"),
            "1000:\tfrom 192.0.2.0/24 lookup 99" in rig.ip("rule", "show"),
        )

    wait_until("all are there", lambda: there() == (True,) * 3)
    rig.lan.cut("a")
    wait_until("none is there", lambda: there() == (False,) * 3)
    rig.lan.heal("a")
    wait_until("all are there again", lambda: there() == (True,) * 3)
    role.kill()
    assert there()[2]
    again = rig.start(replace(router, priority=100, advert_interval_s=5.0))
    again.wait_for(kind="ready")
    wait_until("what was left behind is gone", lambda: there() == (False,) * 3)
    rig.end(again)


def test_a_route_that_the_kernel_refuses_is_told_and_the_rest_stands(rig: Rig) -> None:
    nowhere = RouteSettings(
        4, destination=ip_interface("198.51.100.0/24"), gateway=IPv4Address("203.0.113.9"),  # type: ignore[arg-type]
        text="198.51.100.0/24 via 203.0.113.9",
    )  # fmt: skip
    role = rig.start(replace(ROUTER, belongings=Belongings((nowhere,))))
    warning = role.wait_for(kind="event", name="vrrp.warning")
    assert "cannot replace route 198.51.100.0/24 via 203.0.113.9" in warning["cause"]
    rig.wait_holds("ens33")
    rig.end(role)


def test_other_interfaces_and_static_addresses(rig: Rig) -> None:
    rig.ip("link", "add", "eth9", "type", "veth", "peer", "name", "eth9p")
    for name in ("eth9", "eth9p"):
        rig.ip("link", "set", name, "up")
    other, static = ip_interface("198.51.100.7/24"), ip_interface("198.51.100.8/24")
    router = replace(ROUTER, unadvertised=(other,), devices=((other, "eth9"),))
    role = rig.start(router, static=(("eth9", static),))  # type: ignore[arg-type]
    rig.wait_holds("ens33")
    rig.wait_holds("eth9", "198.51.100.7")
    rig.wait_holds("eth9", "198.51.100.8")
    rig.lan.cut("a")
    wait_until("only the static one stays", lambda: not rig.holds("eth9", "198.51.100.7"))
    assert rig.holds("eth9", "198.51.100.8")
    rig.end(role)
    assert not rig.holds("eth9", "198.51.100.8")
