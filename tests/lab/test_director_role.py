"""The director's process alone: a client, a director and two real servers, and real TCP between."""

import hashlib
import itertools
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from lan import Lan, Role, inside, ip, kill, lan, wait_until
from trimaran.director.listing import listing
from trimaran.director.settings import DirectorSettings, RealServerSettings, ServiceSettings
from trimaran.health.settings import CheckSettings, PoolSettings, Target
from trimaran.system import bpffs

VIP, PORT = "192.0.2.100", 8080
ADDRESSES = {
    "client": "192.0.2.1", "director": "192.0.2.2", "r1": "192.0.2.11", "r2": "192.0.2.12",
}  # fmt: skip
SERVER = Path(__file__).parents[1] / "named_server.py"
DIGEST_SERVER = Path(__file__).parents[1] / "digest_server.py"
ETH_P_ALL = 0x0003
_numbers = itertools.count(1)


def real(name: str, weight: int = 1) -> RealServerSettings:
    address = IPv4Address(ADDRESSES[name])
    check = CheckSettings(Target(address, PORT), 0.3, 1.0, 1, 0.1, 1)
    return RealServerSettings(name, address, PORT, weight, {"tcp": check})


class Site:
    """The machines, and what runs on them."""

    def __init__(self, made: Lan) -> None:
        self.lan = made
        self.pins = bpffs.MOUNT_POINT / f"trimaran-test-{os.getpid()}-{next(_numbers)}" / "director"
        self.servers: dict[str, subprocess.Popen[bytes]] = {}
        self.roles: list[Role] = []
        for name, address in ADDRESSES.items():
            namespace = made.machine(name, address)
            if name == "director":
                ip("-n", namespace, "address", "add", f"{VIP}/32", "dev", "ens33")
            elif name != "client":
                with inside(namespace):
                    for at in ("all", "ens33"):
                        Path(f"/proc/sys/net/ipv4/conf/{at}/arp_ignore").write_text("1")
                ip("-n", namespace, "address", "add", f"{VIP}/32", "dev", "lo")
                self.serve(name)

    def serve(self, name: str) -> None:
        """Start the server there."""
        command = [sys.executable, str(SERVER), name, str(PORT)]
        self.servers[name] = self.lan.run(name, *command)
        wait_until(f"{name} listens", lambda: self.asks(ADDRESSES[name]) == name)

    def settings(self, **changes: Any) -> DirectorSettings:
        """One service on both real servers."""
        service = ServiceSettings(
            "web", IPv4Address(VIP), PORT, "tcp", "rr", (real("r1"), real("r2"))
        )
        settings = DirectorSettings("director", "ens33", str(self.pins), (service,), 1024)
        return replace(settings, **changes)

    def start(self, overlay: Any = None, **changes: Any) -> Role:
        """The role, ready."""
        settings = self.settings(**changes)
        module = "trimaran.node.director_role"
        role = Role(self.lan, "director", module, settings, overlay=overlay)
        self.roles.append(role)
        role.wait_for(kind="ready")
        return role

    def connect(self, address: str = VIP) -> socket.socket:
        """A connection of the client's."""
        with inside(self.lan.namespace("client")):
            connection = socket.socket()
        connection.settimeout(5.0)
        try:
            connection.connect((address, PORT))
        except OSError:
            connection.close()
            raise
        return connection

    def asks(self, address: str = VIP) -> str | None:
        """Who answers a new connection there."""
        try:
            with self.connect(address) as connection:
                return says(connection)
        except OSError:
            return None

    def close(self) -> None:
        for role in self.roles:
            role.close()
        with suppress(FileNotFoundError):
            for pin in self.pins.iterdir():
                pin.unlink()
        bpffs.remove(self.pins)


def says(connection: socket.socket) -> str:
    """Who is at the other end."""
    connection.sendall(b"who\n")
    return connection.recv(100).decode().strip()


@pytest.fixture
def site() -> Iterator[Site]:
    with lan() as made:
        site = Site(made)
        try:
            yield site
        finally:
            site.close()


def rows(role: Role) -> dict[str, dict[str, Any]]:
    """The real servers' part of its status, by name."""
    return {row["name"]: row for row in role.status()["services"][0]["real_servers"]}


def listed(role: Role) -> set[str]:
    return {name for name, row in rows(role).items() if row["listed"]}


def test_new_connections_take_turns_and_each_stays_where_it_is(site: Site) -> None:
    role = site.start()
    connections = [site.connect() for _ in range(6)]
    try:
        first = [says(connection) for connection in connections]
        assert first == ["r2", "r1"] * 3, "as in IPVS, the one added last comes first"
        assert [says(connection) for connection in connections] == first
        assert {name: row["active"] for name, row in rows(role).items()} == {"r1": 3, "r2": 3}
    finally:
        for connection in connections:
            connection.close()
    wait_until(
        "they have ended",
        lambda: {name: row["inactive"] for name, row in rows(role).items()} == {"r1": 3, "r2": 3},
    )
    status = role.status()
    assert {name: row["connections"] for name, row in rows(role).items()} == {"r1": 3, "r2": 3}
    assert status["well"] and status["hook"] == "tc" and not any(status["drops"].values())
    assert listing(status).splitlines()[3:] == [
        "TCP  192.0.2.100:8080 rr",
        "  -> 192.0.2.11:8080              Route   1      0          3         ",
        "  -> 192.0.2.12:8080              Route   1      0          3         ",
    ]


def test_killed_it_forwards_on_and_the_next_one_takes_over(site: Site) -> None:
    role = site.start()
    with site.connect() as old:
        before = says(old)
        kill(role.process)
        assert says(old) == before
        assert {site.asks(), site.asks()} == {"r1", "r2"}
        role = site.start()
        assert "adopted" in role.events("director.attached")[0]["cause"]
        assert says(old) == before
        assert rows(role)[before]["active"] == 1
        assert {site.asks(), site.asks()} == {"r1", "r2"}
        assert role.status()["flows"]["adopted"] == 0


def test_a_dead_server_is_removed_and_listed_again(site: Site) -> None:
    role = site.start()
    assert listed(role) == {"r1", "r2"}
    kill(site.servers["r1"])
    down = role.wait_for(name="director.real_server_down")
    assert down["subject"] == "r1" and "connection refused" in down["cause"]
    wait_until("r1 is out", lambda: listed(role) == {"r2"})
    assert [site.asks() for _ in range(4)] == ["r2"] * 4
    check = rows(role)["r1"]["last_check"]
    assert not check["ok"] and check["error"] == "connection refused"
    site.serve("r1")
    assert role.wait_for(name="director.real_server_up")["subject"] == "r1"
    wait_until("r1 is back", lambda: listed(role) == {"r1", "r2"})
    assert {site.asks(), site.asks()} == {"r1", "r2"}


def test_a_server_that_was_down_stays_so_for_the_next_process(site: Site) -> None:
    role = site.start()
    kill(site.servers["r1"])
    wait_until("r1 is out", lambda: listed(role) == {"r2"})
    kill(role.process)
    role = site.start()
    assert listed(role) == {"r2"}
    assert role.events("director.real_server_down") == []


def test_drained_disabled_and_enabled_again(site: Site) -> None:
    role = site.start()
    with site.connect() as first, site.connect() as second:
        held, other = (first, second) if says(first) == "r1" else (second, first)
        assert (says(held), says(other)) == ("r1", "r2")
        answer = role.ask("change", verb="drain", name="r1", cause="a test")
        assert [row["mode"] for row in answer["changed"]] == ["drained"]
        wait_until("r1 has weight 0", lambda: rows(role)["r1"]["weight"] == 0)
        wait_until("its table follows", lambda: [site.asks() for _ in range(3)] == ["r2"] * 3)
        assert says(held) == "r1", "the flow that it had goes on"
        row = rows(role)["r1"]
        assert (row["listed"], row["mode"], row["active"]) == (True, "drained", 1)
        assert row["changed"]["cause"] == "a test"
        drained = role.wait_for(name="director.real_server_drained")
        assert (drained["subject"], drained["cause"]) == ("r1", "a test")

        kill(role.process)
        role = site.start(overlay=answer["overlay"])
        assert rows(role)["r1"]["mode"] == "drained"
        assert [site.asks() for _ in range(3)] == ["r2"] * 3
        assert says(held) == "r1"

        role.ask("change", verb="disable", name="r1", cause="a test")
        wait_until("r1 is out", lambda: listed(role) == {"r2"})
        assert rows(role)["r1"]["well"], "its checks go on"
        role.ask("change", verb="enable", name="r1", cause="a test")
        wait_until("r1 is back", lambda: {site.asks(), site.asks()} == {"r1", "r2"})
        assert rows(role)["r1"]["changed"] is None
        role.channel.send(
            {"kind": "request", "id": 1, "name": "change",
             "arguments": {"verb": "drain", "name": "r9", "cause": ""}}
        )  # fmt: skip
        assert "there are r1, r2" in role.wait_for(kind="reply", id=1)["error"]


def explained(role: Role, port: int = 40000, **rest: Any) -> dict[str, list[str]]:
    """The story of a client's SYN, by what each line is about."""
    question = {"source": ADDRESSES["client"], "source_port": port, "address": VIP, "port": PORT}
    answer = role.ask("explain", **{**question, **rest})
    story: dict[str, list[str]] = {"verdict": [answer["verdict"]]}
    for about, words in answer["lines"]:
        story.setdefault(about, []).append(words)
    return story


def test_it_explains_a_packet_and_changes_nothing(site: Site) -> None:
    role = site.start()
    wait_until("both were probed", lambda: all(r["last_check"] for r in rows(role).values()))
    before = role.status()
    for _ in range(3):
        story = explained(role)
        assert story["verdict"] == ["forwarded"]
        assert story["packet"][0].endswith(f"→ {VIP}:{PORT} (TCP SYN) is forwarded to r2")
        assert story["choice"][0].startswith("chosen now: the turn of rr")
        assert story["real server"][0].startswith(f"r2 (192.0.2.12:{PORT}), weight 1, well, last")
        assert "last check good" in story["real server"][0]
        assert site.lan.mac("r2").hex(":") in story["way"][0]
    after = role.status()
    for status in (before, after):  # what time alone changes
        for row in status["services"][0]["real_servers"]:
            del row["last_check"], row["checks"]
    assert before == after
    with site.connect() as connection:
        assert says(connection) == "r2", "as was foretold: nobody's turn was taken"
        port = connection.getsockname()[1]
        story = explained(role, port, kind="ack")
        assert story["choice"][0].startswith("pinned already: the flow is ESTABLISHED")
        assert "is forwarded to r2" in story["packet"][0]
        assert "r1" in explained(role)["packet"][0], "the next turn"
        role.ask("change", verb="disable", name="r2", cause="a test")
        wait_until("r2 is out", lambda: listed(role) == {"r1"})
        story = explained(role, port, kind="ack")
        assert story["verdict"] == ["dropped"]
        assert "real_server_down: The flow belongs to" in story["because"][0]
        assert "out of the table, disabled (a test)" in story["real server"][0]
        assert "r1" in explained(role, port)["packet"][0], "a SYN would start afresh"
    role.ask("change", verb="disable", name="r1", cause="a test")
    wait_until("both are out", lambda: listed(role) == set())
    story = explained(role)
    assert "is dropped: no_real_server" in story["packet"][0]
    assert [each[:2] for each in story["not chosen"]] == ["r1", "r2"]
    story = explained(role, port=40000, protocol="udp")
    assert story["verdict"] == ["local"] and "none here" in story["service"][0]


def test_without_real_servers_the_client_hears_nothing_not_a_reset(site: Site) -> None:
    role = site.start()
    for server in site.servers.values():
        kill(server)
    wait_until("both are out", lambda: listed(role) == set())
    with inside(site.lan.namespace("client")), socket.socket() as connection:
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):
            connection.connect((VIP, PORT))
    assert role.status()["drops"]["no_real_server"] >= 1


def test_the_sorry_server_stands_in_while_there_is_no_quorum(site: Site) -> None:
    def sorry(settings: DirectorSettings) -> tuple[ServiceSettings, ...]:
        (service,) = settings.services
        r1, r2 = service.real_servers
        pool = PoolSettings(quorum=1)
        return (replace(service, real_servers=(r1,), sorry_server=r2, pool=pool),)

    role = site.start(services=sorry(site.settings()))
    assert listed(role) == {"r1"}
    assert [site.asks() for _ in range(3)] == ["r1"] * 3
    kill(site.servers["r1"])
    lost = role.wait_for(name="director.quorum_lost")
    assert "r2" in lost["message"]
    wait_until("r2 stands in", lambda: listed(role) == {"r2"})
    assert [site.asks() for _ in range(3)] == ["r2"] * 3
    assert not role.status()["services"][0]["quorum"]["met"] and rows(role)["r2"]["sorry"]
    site.serve("r1")
    role.wait_for(name="director.quorum_gained")
    wait_until("r1 serves again", lambda: listed(role) == {"r1"})
    assert [site.asks() for _ in range(3)] == ["r1"] * 3


def test_an_inhibited_server_keeps_its_flows_and_gets_no_new_one(site: Site) -> None:
    """Only its check fails: the check goes to a port of its own, where nobody listens any more."""
    gate = site.lan.run("r1", sys.executable, str(SERVER), "gate", "9090")
    settings = site.settings()
    (service,) = settings.services
    r1, r2 = service.real_servers
    check = replace(r1.checks["tcp"], target=Target(r1.address, 9090), alpha=True)
    r1 = replace(r1, inhibit=True, checks={"gate": check})
    role = site.start(services=(replace(service, real_servers=(r1, r2)),))
    role.wait_for(name="director.real_server_up")
    wait_until("r1 serves", lambda: rows(role)["r1"]["weight"] == 1)
    with site.connect() as first, site.connect() as second:
        held = first if says(first) == "r1" else second
        assert says(held) == "r1"
        kill(gate)
        role.wait_for(name="director.real_server_down")
        wait_until("r1 has weight 0", lambda: rows(role)["r1"]["weight"] == 0)
        assert rows(role)["r1"]["listed"] and not rows(role)["r1"]["well"]
        assert [site.asks() for _ in range(4)] == ["r2"] * 4
        assert says(held) == "r1", "the flow that it had goes on"


def test_checks_rest_while_the_address_is_elsewhere(site: Site) -> None:
    settings = site.settings()
    (service,) = settings.services
    director = site.lan.namespace("director")
    role = site.start(services=(replace(service, pool=PoolSettings(ha_suspend=True)),))
    wait_until("r1 was probed", lambda: rows(role)["r1"]["last_check"])
    ip("-n", director, "address", "del", f"{VIP}/32", "dev", "ens33")
    suspended = role.wait_for(name="director.checks_suspended")
    assert VIP in suspended["cause"]
    kill(site.servers["r1"])
    wait_until("nobody probes", lambda: rows(role)["r1"]["last_check"]["ago_s"] > 1.5)
    assert rows(role)["r1"]["well"]
    ip("-n", director, "address", "add", f"{VIP}/32", "dev", "ens33")
    role.wait_for(name="director.checks_resumed")
    role.wait_for(name="director.real_server_down")


def test_what_somebody_takes_away_is_put_back(site: Site) -> None:
    role = site.start()
    subprocess.run(
        ["tc", "-n", site.lan.namespace("director"), "qdisc", "del", "dev", "ens33", "clsact"],
        check=True,
    )
    wait_until("it is attached again", lambda: role.events("director.attached")[1:])
    assert "taken" in role.events("director.attached")[1]["cause"]
    assert {site.asks(), site.asks()} == {"r1", "r2"}


def test_an_interface_that_goes_and_comes_back(site: Site) -> None:
    role = site.start()
    site.lan.unplug("director")
    lost = role.wait_for(kind="well", well=False)
    assert "ens33 is gone" in lost["cause"]
    site.lan.plug_in("director")
    namespace = site.lan.namespace("director")
    ip("-n", namespace, "address", "add", f"{ADDRESSES['director']}/24", "dev", "ens33")
    ip("-n", namespace, "address", "add", f"{VIP}/32", "dev", "ens33")
    role.wait_for(kind="well", well=True)
    ip("-n", site.lan.namespace("client"), "neighbour", "flush", "all")
    wait_until("it forwards", lambda: {site.asks(), site.asks()} == {"r1", "r2"}, 30)


def test_other_tables_start_afresh_and_say_so(site: Site) -> None:
    kill(site.start().process)
    role = site.start(max_flows=2048)
    assert "afresh" in role.events("director.attached")[0]["cause"]
    assert {site.asks(), site.asks()} == {"r1", "r2"}


def test_a_stop_leaves_nothing(site: Site) -> None:
    role = site.start()
    role.channel.send({"kind": "stop"})
    assert role.process.wait(10) == 0
    namespace = site.lan.namespace("director")
    shown = subprocess.run(
        ["tc", "-n", namespace, "qdisc", "show", "dev", "ens33"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "clsact" not in shown
    assert not site.pins.parent.exists()
    neighbours = ip("-n", namespace, "neighbour", "show")
    assert "managed" not in neighbours


def test_no_such_interface_is_one_sentence(site: Site) -> None:
    settings = site.settings(interface="ens99")
    role = Role(site.lan, "director", "trimaran.node.director_role", settings)
    site.roles.append(role)
    assert role.process.wait(20) == 2
    assert role.process.stderr is not None
    said = role.process.stderr.read().decode()
    assert said.count("\n") == 1 and "no interface ens99" in said


def frame_lengths(namespace: str) -> socket.socket:
    """A socket that hears every frame that comes to that machine."""
    with inside(namespace):
        heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        heard.bind(("ens33", ETH_P_ALL))
    heard.setblocking(False)
    return heard


def longest_frame(heard: socket.socket) -> int:
    longest, buffer = 0, bytearray(1)
    with suppress(BlockingIOError):
        while length := heard.recv_into(buffer, 0, socket.MSG_TRUNC):
            longest = max(longest, length)
    return longest


def test_a_large_upload_in_gso_packets_arrives_unharmed(site: Site) -> None:
    """Packets of many segments go through whole, and are counted as the segments they become."""
    for name in site.servers:
        kill(site.servers[name])
        site.lan.run(name, sys.executable, str(DIGEST_SERVER), str(PORT))
    role = site.start()
    wait_until("both are listed", lambda: listed(role) == {"r1", "r2"})
    data = random.Random(4).randbytes(4 << 20)
    with frame_lengths(site.lan.namespace("director")) as heard, site.connect() as connection:
        connection.settimeout(20.0)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100).decode() == hashlib.sha256(data).hexdigest()
        assert longest_frame(heard) > 3000, "no packet of several segments came: nothing was shown"
    served = max(rows(role).values(), key=lambda row: int(row["bytes"]))
    segments = len(data) // 1448
    assert served["packets"] >= segments and served["bytes"] >= len(data) + segments * 40
