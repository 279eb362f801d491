"""The director's process with NAT: clients and real servers in networks of their own, the director
the only way between them; real TCP and UDP, over both IP versions, through other ports."""

import hashlib
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from test_director_role import DIGEST_SERVER, SERVER, Site, says

from bpf_stub import attach_xdp, xdp_pass
from lan import Role, inside, ip, kill, lan, wait_until
from trimaran.director.listing import listing
from trimaran.director.settings import RealServerSettings, ServiceSettings

UDP_SERVER = Path(__file__).parents[1] / "udp_server.py"
CLIENT, VIP, DIRECTOR = "203.0.113.1", "203.0.113.100", "192.0.2.2"
CLIENT6, VIP6, DIRECTOR6 = "fd00:1::1", "fd00:1::100", "fd00:2::2"
REALS = {"r1": ("192.0.2.11", "fd00:2::11"), "r2": ("192.0.2.12", "fd00:2::12")}
PORT, REAL_PORT, DIGEST_PORT = 8080, 9000, 9001


class NatSite(Site):
    """Two networks on one switch; only the director is in both."""

    def __init__(self, made: object) -> None:
        self.lan = made  # type: ignore[assignment]
        self.roles: list[Role] = []
        self.servers = {}
        self.pins = Site.next_pins()
        self._machine("client", CLIENT, CLIENT6)
        self._machine("director", DIRECTOR, DIRECTOR6)
        for address in (f"{VIP}/24", f"{VIP6}/64"):
            self._add("director", address)
        with inside(self.lan.namespace("director")):
            for version in ("ipv4", "ipv6"):
                Path(f"/proc/sys/net/{version}/conf/all/forwarding").write_text("1")
        for name, (address, address6) in REALS.items():
            self._machine(name, address, address6)
            for gateway in (DIRECTOR, DIRECTOR6):
                ip("-n", self.lan.namespace(name), "route", "add", "default", "via", gateway)
            self.lan.run(name, sys.executable, str(SERVER), name, str(REAL_PORT))
            self.lan.run(name, sys.executable, str(DIGEST_SERVER), str(DIGEST_PORT))
            self.lan.run(name, sys.executable, str(UDP_SERVER), name, str(REAL_PORT))

    def _machine(self, name: str, address: str, address6: str) -> None:
        self.lan.machine(name, address)
        self._add(name, f"{address6}/64")

    def _add(self, name: str, address: str) -> None:
        words = ("address", "add", address, "dev", "ens33")
        dad = ("nodad",) if ":" in address else ()
        ip("-n", self.lan.namespace(name), *words, *dad)

    def ask(self, vip: str = VIP, port: int = PORT) -> str | None:
        """Who answers a new UDP flow."""
        family = socket.AF_INET6 if ":" in vip else socket.AF_INET
        with inside(self.lan.namespace("client")):
            asking = socket.socket(family, socket.SOCK_DGRAM)
        with asking:
            asking.settimeout(2.0)
            asking.connect((vip, port))
            asking.send(bytes(3000))
            try:
                return asking.recv(100).decode()
            except (TimeoutError, ConnectionRefusedError):
                return None

    def dial(self, vip: str, port: int) -> socket.socket:
        with inside(self.lan.namespace("client")):
            return socket.create_connection((vip, port), 10.0)

    def name(self, vip: str = VIP) -> str | None:
        """Who answers a new connection."""
        try:
            with self.dial(vip, PORT) as connection:
                return says(connection)
        except OSError:
            return None


@pytest.fixture
def site() -> Iterator[NatSite]:
    with lan() as made:
        site = NatSite(made)
        try:
            yield site
        finally:
            site.close()


def service(name: str, protocol: str, port: int, real_port: int, version: int) -> ServiceSettings:
    reals = tuple(
        RealServerSettings(word, ip_address(both[version == 6]), real_port, 1, forward="nat")
        for word, both in REALS.items()
    )
    vip = ip_address(VIP if version == 4 else VIP6)
    return ServiceSettings(f"{name}{version}", vip, port, protocol, "rr", reals)  # type: ignore[arg-type]


SERVICES = tuple(
    service(name, protocol, port, real_port, version)
    for version in (4, 6)
    for name, protocol, port, real_port in (
        ("names", "tcp", PORT, REAL_PORT),
        ("digest", "tcp", PORT + 1, DIGEST_PORT),
        ("udp", "udp", PORT, REAL_PORT),
    )
)
UPLOADED = random.Random(6).randbytes(4 << 20)


def start(site: NatSite, **changes: object) -> Role:
    role = site.start(services=SERVICES, **changes)
    wait_until("both answer", lambda: {site.name(), site.name()} == {"r1", "r2"})
    return role


def upload(site: NatSite, vip: str) -> str:
    with site.dial(vip, PORT + 1) as connection:
        connection.settimeout(20.0)
        connection.sendall(UPLOADED)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(100).decode()


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_tcp_and_udp_through_other_ports_and_back(site: NatSite, hook: str) -> None:
    """Behind tc with everything that NICs offload; XDP on a veth bears none of it."""
    if hook == "xdp":
        for name in ("client", *REALS):
            words = ("ethtool", "-K", "ens33", "tx", "off")
            namespace = site.lan.namespace(name)
            subprocess.run(
                ["ip", "netns", "exec", namespace, *words], check=True, capture_output=True
            )
        with inside(site.lan.namespace("switch")):
            attach_xdp(socket.if_nametoindex("to-director"), xdp_pass())
    role = start(site, hook=hook)
    for vip in (VIP, VIP6):
        wait_until("both answer", lambda vip=vip: {site.name(vip), site.name(vip)} == {"r1", "r2"})
    before = role.status()["drops"]  # the first may come before the real servers' MACs are known
    for vip in (VIP, VIP6):
        with site.dial(vip, PORT) as connection:
            assert len({says(connection) for _ in range(5)}) == 1
        assert upload(site, vip) == hashlib.sha256(UPLOADED).hexdigest()
        assert {site.ask(vip), site.ask(vip)} == {"r1 3000", "r2 3000"}
    status = role.status()
    assert {row["forward"] for row in status["services"][0]["real_servers"]} == {"Masq"}
    assert "-> 192.0.2.11:9000              Masq    1 " in listing(status)
    assert status["drops"] == before
    assert status["hook"] == hook


def test_killed_it_translates_on_and_leaves_nothing_when_it_stops(site: NatSite) -> None:
    role = start(site)
    with site.dial(VIP, PORT) as old:
        before = says(old)
        kill(role.process)
        assert says(old) == before and {site.name(), site.name()} == {"r1", "r2"}
        role = start(site)
        assert says(old) == before
    role.stop()
    assert role.process.wait(10) == 0
    director = site.lan.namespace("director")
    shown = subprocess.run(
        ["ip", "netns", "exec", director, "tc", "filter", "show", "dev", "ens33", "ingress"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "trimaran" not in shown.stdout


def test_a_refused_port_is_told_in_the_vip_s_name(site: NatSite) -> None:
    """The real server's port unreachable is about its own port; the client hears of its own."""
    (udp,) = [each for each in SERVICES if each.name == "udp4"]
    role = site.start(services=(service("nobody", "udp", PORT, 9, 4), udp)[:1])
    wait_until("it is listed", lambda: all(
        row["listed"] for row in role.status()["services"][0]["real_servers"]
    ))  # fmt: skip
    with inside(site.lan.namespace("client")), socket.socket(type=socket.SOCK_DGRAM) as asking:
        asking.settimeout(5.0)
        asking.connect((VIP, PORT))
        asking.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            asking.recv(10)


def test_without_forwarding_it_says_what_is_missing(site: NatSite) -> None:
    role = start(site)
    with inside(site.lan.namespace("director")):
        Path("/proc/sys/net/ipv4/conf/all/forwarding").write_text("0")
    assert site.ask() is None
    status = role.status()
    assert status["drops"]["forwarding_off"] >= 1
    assert "ip_forward" in status["explained"]["forwarding_off"]
