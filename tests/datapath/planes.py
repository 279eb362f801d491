"""The two data planes behind one small face: services and health in, frames through."""

import itertools
import os
from collections.abc import Set
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, Protocol

from director_rig import DIRECTOR_MAC, EGRESS, MTU, REDIRECT, real_mac
from scapy.packet import Packet

from trimaran.director.plan import RealKey, desired, difference
from trimaran.director.settings import (
    DirectorSettings,
    IPAddress,
    RealServerSettings,
    ServiceSettings,
    TunnelSettings,
)
from trimaran.director.tables import Hop, Way
from trimaran.system.datapath import Director
from trimaran.system.ipvs_machine import IpvsMachine
from vm.relayed import World

REALS = (1, 2, 3)
FORWARDED = bytes([2, 0, 0, 0, 1])  # how the MACs of real servers begin
_sources = itertools.count(20000)


def source_port() -> int:
    """Another for each flow: a data plane may know the others from an earlier test."""
    return next(_sources)


def real_address(index: int, version: int = 4) -> IPAddress:
    """Where real server `index` is."""
    return ip_address(f"10.0.0.{10 + index}" if version == 4 else f"fd00::{10 + index:x}")


def service(
    weights: dict[int, int],
    *,
    scheduler: Literal["rr", "wrr", "fo"] = "rr",
    vip: str = "10.0.0.100",
    port: int = 80,
    protocol: Literal["tcp", "udp"] = "tcp",
    tunnel: TunnelSettings | None = None,
) -> ServiceSettings:
    """A service by real servers' indices and weights; through that tunnel if there is one."""
    version = ip_address(vip).version
    reals = tuple(
        RealServerSettings(f"real{index}", real_address(index, version), port, weight)
        for index, weight in weights.items()
    )
    if tunnel is not None:
        reals = tuple(replace(real, forward="tunnel", tunnel=tunnel) for real in reals)
    return ServiceSettings("web", ip_address(vip), port, protocol, scheduler, reals)


class Plane(Protocol):
    """A director."""

    def converge(self, services: tuple[ServiceSettings, ...], down: Set[RealKey]) -> None: ...
    def forward(self, frame: Packet) -> bytes | None: ...


class EbpfPlane:
    """Our program, by BPF_PROG_TEST_RUN."""

    def __init__(self) -> None:
        self._pins = Path(f"/sys/fs/bpf/trimaran-planes-{os.getpid()}")
        self._director = Director(self._pins, 1024, 1024)
        self._director.set_station(DIRECTOR_MAC)

    def converge(self, services: tuple[ServiceSettings, ...], down: Set[RealKey]) -> None:
        hops = {
            real_address(index, version): Hop(real_mac(index), DIRECTOR_MAC, EGRESS, MTU)
            for index in REALS
            for version in (4, 6)
        }
        sources = {4: ip_address("10.0.0.1"), 6: ip_address("fd00::1")}
        ways = {address: Way(hop, sources[address.version]) for address, hop in hops.items()}
        found = self._director.tables()
        wanted = desired(services, found, down, hops, None, ways=ways)
        self._director.apply(difference(found, wanted))

    def forward(self, frame: Packet) -> bytes | None:
        verdict, packet, _ = self._director._native.test_run(bytes(frame))
        return packet if verdict == REDIRECT else None

    def close(self) -> None:
        self._director.unpin()


def machine(world: World, state: Path, services: tuple[ServiceSettings, ...] = ()) -> IpvsMachine:
    """A director of the kernel's IPVS there; `state` is its file."""
    settings = DirectorSettings("node1", "ens33", "", services, hook="ipvs", state_file=str(state))
    return IpvsMachine(settings, world.wire())


class IpvsPlane:
    """The kernel's, in the test machine."""

    def __init__(self, world: World, state: Path) -> None:
        self._world = world
        world.cable()
        world.run("ip addr add 10.0.0.100/32 dev lo; ip addr add fd00::100/128 dev lo nodad")
        for index, version in itertools.product(REALS, (4, 6)):
            mac, place = real_mac(index).hex(":"), real_address(index, version)
            world.run(f"ip neigh replace {place} lladdr {mac} dev ens33 nud permanent")
        self.machine = machine(world, state)

    def converge(self, services: tuple[ServiceSettings, ...], down: Set[RealKey]) -> None:
        condition = self.machine.converge(services, down)
        assert condition.well, condition.cause

    def forward(self, frame: Packet) -> bytes | None:
        sent = frame.copy()
        sent.dst = DIRECTOR_MAC.hex(":")
        out = [each for each in self._world.forward([bytes(sent)]) if each[:5] == FORWARDED]
        assert len(out) <= 1, out
        return out[0] if out else None

    def close(self) -> None:
        self.machine.close()
