"""No flow is lost with a director: a client with many connections, two directors, two real servers.

The VIP is moved by hand (the client's neighbour entry), so that what is tested is flow sync alone.
"""

import itertools
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from lan import Lan, Role, inside, ip, lan, wait_until
from trimaran.director.settings import (
    DirectorSettings,
    FlowSyncSettings,
    RealServerSettings,
    ServiceSettings,
)
from trimaran.system import bpffs

VIP, PORT = "192.0.2.100", 8080
ADDRESSES = {
    "client": "192.0.2.1", "d1": "192.0.2.2", "d2": "192.0.2.3",
    "r1": "192.0.2.11", "r2": "192.0.2.12", "r3": "192.0.2.13",
}  # fmt: skip
SERVER = Path(__file__).parents[1] / "named_server.py"
LIVE = 200
RATE = 200  # new connections a second
YOUNG_S = 1.0  # the sync interval, and all that a noisy machine may add
_numbers = itertools.count(1)


class Pair:
    """Two directors of one service, and the machines around them."""

    def __init__(self, made: Lan) -> None:
        self.lan = made
        self.pins = bpffs.MOUNT_POINT / f"trimaran-test-{os.getpid()}-s{next(_numbers)}"
        self.roles: dict[str, Role] = {}
        for name, address in ADDRESSES.items():
            namespace = made.machine(name, address)
            if name.startswith("r"):
                with inside(namespace):
                    for at in ("all", "ens33"):
                        Path(f"/proc/sys/net/ipv4/conf/{at}/arp_ignore").write_text("1")
                ip("-n", namespace, "address", "add", f"{VIP}/32", "dev", "lo")
                made.run(name, sys.executable, str(SERVER), name, str(PORT))
        for name in ("r1", "r2", "r3"):
            wait_until(f"{name} listens", lambda name=name: self._listens(ADDRESSES[name]))

    def _listens(self, address: str) -> bool:
        with suppress(OSError), self.connect(address):
            return True
        return False

    def start(
        self,
        name: str,
        servers: tuple[str, ...] = ("r1", "r2"),
        *,
        key: bytes = b"0123456789abcdef",
        hold_s: float = 2.0,
    ) -> Role:
        """That director, ready."""
        reals = tuple(
            RealServerSettings(server, IPv4Address(ADDRESSES[server]), PORT, 1)
            for server in servers
        )
        service = ServiceSettings("web", IPv4Address(VIP), PORT, "tcp", "rr", reals)
        peer = "d1" if name == "d2" else "d2"
        sync = FlowSyncSettings(
            key,
            IPv4Address(ADDRESSES[name]),
            8849,
            ((peer, IPv4Address(ADDRESSES[peer])),),
            0.002,
            hold_s,
        )
        settings = DirectorSettings(
            name, "ens33", str(self.pins / name), (service,), 1 << 16, flow_sync=sync
        )
        self.roles[name] = Role(self.lan, name, "trimaran.node.director_role", settings)
        return self.roles[name]

    def start_both(self) -> None:
        for name in ("d1", "d2"):
            self.start(name)
        for role in self.roles.values():
            role.wait_for(kind="ready")
            wait_until("they have met", lambda role=role: met(role))

    def lead(self, name: str) -> None:
        """The client sends to that director from now on."""
        mac = ":".join(f"{byte:02x}" for byte in self.lan.mac(name))
        ip("-n", self.lan.namespace("client"), "neighbour", "replace", VIP, "lladdr", mac,
           "dev", "ens33", "nud", "permanent")  # fmt: skip

    def power_off(self, name: str) -> None:
        """Nothing of the node is left, its pinned tables neither."""
        self.lan.unplug(name)
        self.roles[name].close()
        self._forget(name)

    def power_on(self, name: str) -> None:
        """The machine, as yet without a director."""
        self.lan.plug_in(name)
        namespace = self.lan.namespace(name)
        ip("-n", namespace, "address", "add", f"{ADDRESSES[name]}/24", "dev", "ens33")

    def _forget(self, name: str) -> None:
        with suppress(FileNotFoundError):
            for pin in (self.pins / name).iterdir():
                pin.unlink()
        bpffs.remove(self.pins / name)

    def connect(self, address: str = VIP) -> socket.socket:
        with inside(self.lan.namespace("client")):
            connection = socket.socket()
        connection.settimeout(10.0)
        try:
            connection.connect((address, PORT))
        except OSError:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        for name, role in self.roles.items():
            role.close()
            self._forget(name)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with lan() as made:
        pair = Pair(made)
        try:
            yield pair
        finally:
            pair.close()


def sync(role: Role) -> Any:
    return role.status()["flow_sync"]


def met(role: Role) -> bool:
    peer = sync(role)["peers"][0]
    return bool(peer["up"] and peer["caught_up"])


def says(connection: socket.socket) -> str:
    connection.sendall(b"who\n")
    return connection.recv(100).decode().strip()


@dataclass
class Held:
    """Connections that must outlive every director; half are idle after their handshake."""

    idle: list[socket.socket]
    known: dict[socket.socket, str]

    @classmethod
    def open(cls, pair: Pair) -> "Held":
        connections = [pair.connect() for _ in range(LIVE)]
        half = LIVE // 2
        return cls(connections[:half], {each: says(each) for each in connections[half:]})

    def broken(self, wake: int) -> int:
        """How many do not answer as before; `wake` of the idle ones speak for the first time."""
        lost = 0
        for connection in [self.idle.pop() for _ in range(wake)]:
            try:
                self.known[connection] = says(connection)
            except OSError:
                lost += 1
        for connection, name in self.known.items():
            try:
                lost += says(connection) != name
            except OSError:
                lost += 1
        return lost

    def close(self) -> None:
        for connection in (*self.idle, *self.known):
            connection.close()


@dataclass
class Stream:
    """New connections all the time, each asking three times over half a second."""

    pair: Pair
    lost: list[tuple[float, float, str]] = field(default_factory=list)
    done: int = 0
    _open: list[tuple[float, float, int, str, socket.socket]] = field(default_factory=list)
    _stopping: bool = False

    def __enter__(self) -> "Stream":
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join()
        for *_rest, connection in self._open:
            connection.close()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping:
            now = time.monotonic()
            if now >= due:
                due = max(due + 1 / RATE, now - 0.1)
                self._begin(now)
            while self._open and self._open[0][0] <= now:
                self._go_on(*self._open.pop(0)[1:])
            time.sleep(0.001)

    def _begin(self, now: float) -> None:
        try:
            connection = self.pair.connect()
        except OSError as error:
            self.lost.append((now, time.monotonic(), f"connect: {error}"))
            return
        self._go_on(time.monotonic(), 3, "", connection)

    def _go_on(self, born: float, left: int, before: str, connection: socket.socket) -> None:
        try:
            name = says(connection)
            assert name and before in ("", name)
        except (OSError, AssertionError) as error:
            self.lost.append((born, time.monotonic(), repr(error)))
            connection.close()
            return
        if left == 1:
            connection.close()
            self.done += 1
        else:
            self._open.append((time.monotonic() + 0.25, born, left - 1, name, connection))


def test_connections_outlive_every_director(pair: Pair) -> None:
    """Power loss, return and failback, power loss of the other."""
    pair.start_both()
    pair.lead("d1")
    held = Held.open(pair)
    try:
        with Stream(pair) as stream:
            wait_until("the stream flows", lambda: stream.done > RATE // 2, 30)
            assert stream.lost == []
            died = time.monotonic()
            pair.power_off("d1")
            pair.lead("d2")
            assert held.broken(LIVE // 8) == 0
            wait_until("the stream goes on", lambda n=stream.done: stream.done > n + RATE, 30)
            young = list(stream.lost)
            assert [each for each in young if each[0] < died - YOUNG_S] == []
            assert [each for each in young if each[0] > died + YOUNG_S] == []

            pair.power_on("d1")
            pair.start("d1").wait_for(kind="ready")
            back = pair.roles["d1"].status()
            assert back["flow_sync"]["peers"][0]["caught_up"]
            assert back["flows"]["live"] >= LIVE, "it has the whole table before it may lead"
            pair.lead("d1")
            assert held.broken(LIVE // 8) == 0
            wait_until("the stream goes on", lambda n=stream.done: stream.done > n + RATE, 30)
            assert stream.lost == young, "a graceful failback breaks nothing"

            died = time.monotonic()
            pair.power_off("d2")
            assert held.broken(0) == 0
            pair.power_on("d2")
            pair.start("d2").wait_for(kind="ready")
            pair.lead("d2")
            pair.power_off("d1")
            assert held.broken(LIVE // 4) == 0
        print(f"{len(young)} younger than the sync interval were lost, {stream.done} were not")
    finally:
        held.close()
