"""The director's tables, flows and program in the kernel, through the native module."""

import errno
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from ipaddress import IPv4Address, ip_address
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from trimaran._native import Datapath
from trimaran.director.explain import KnownFlow, Outcome, Verdict
from trimaran.director.ipvs import Connection
from trimaran.director.packet import Question, frame
from trimaran.director.plan import (
    FreeReal,
    RemoveService,
    SetReal,
    SetService,
    SetSlots,
    Step,
)
from trimaran.director.schedulers import Maglev, Slots, Table
from trimaran.director.settings import FlowSyncSettings, Scheduler
from trimaran.director.tables import PROTOCOLS, Hop, Listen, Origin, Real, Served, Tables, Tunnel
from trimaran.system import bpffs

# bpf/layout.h, service_flags and scheduler
SYNCED, FALLS_BACK, HASHES_PORT, ONE_PACKET, UNPIN, RESET = 1, 2, 4, 8, 16, 32
SCHEDULERS: tuple[Scheduler, ...] = (
    "rr", "fo", "ovf", "sh", "dh", "mh", "lc", "wlc", "sed", "nq", "twos", "lblc", "lblcr"
)  # fmt: skip

Hook = Literal["tc", "xdp"]
_VERDICTS: dict[Hook, dict[int, Verdict]] = {
    "tc": {0: "local", 7: "forwarded"},  # TC_ACT_OK, TC_ACT_REDIRECT
    "xdp": {2: "local", 3: "forwarded", 4: "forwarded"},  # XDP_PASS, XDP_TX, XDP_REDIRECT
}


NOWHERE = (IPv4Address(0), 0)


class DatapathError(OSError):
    """The kernel refused; the message says what was asked."""


@dataclass(frozen=True)
class Traffic:
    """A real server's counters: IP bytes, and connections begun."""

    packets: int
    bytes: int
    connections: int

    def since(self, earlier: "Traffic") -> "Traffic":
        """What came after `earlier`; all, if a counter began anew meanwhile."""
        if earlier.packets > self.packets:
            return self
        return Traffic(
            self.packets - earlier.packets,
            self.bytes - earlier.bytes,
            self.connections - earlier.connections,
        )


NOTHING = Traffic(0, 0, 0)


@dataclass(frozen=True)
class Count:
    """One pass over the flow table: by real server's index, (active, inactive)."""

    by_real: dict[int, tuple[int, int]]
    live: int
    ended: int


class Director:
    """Tables and flows, pinned in a directory on bpffs so that they outlive this process."""

    def __init__(
        self, pin_directory: Path, max_flows: int, max_flows6: int = 1, max_clients: int = 1024
    ) -> None:
        bpffs.ensure(pin_directory)
        self._directory = pin_directory
        try:
            self._native = Datapath(
                pin_directory,
                max_flows=max_flows,
                max_flows6=max_flows6,
                max_clients=max_clients,
            )
        except OSError as error:
            raise DatapathError(errno.EIO, f"cannot load the eBPF director: {error}") from error
        self.adopted = self._native.adopted

    def program(self, hook: Hook) -> tuple[int, int]:
        """The program of that hook, over the same tables and flows: a descriptor (not to be closed)
        and its id."""
        try:
            return self._native.program(hook)
        except OSError as error:
            raise DatapathError(errno.EIO, f"cannot load the eBPF director: {error}") from error

    def set_station(self, mac: bytes) -> None:
        """The MAC that frames for this machine have."""
        self._native.set_station(mac)

    def tables(self) -> Tables:
        """What is in the kernel now; of an interleaved cycle, or mh's slots, only who is named."""
        services = {
            Listen(ip_address(address), port, protocol): _served(*how)
            for address, port, protocol, *how in self._native.services()
        }
        reals = {
            index: Real(
                ip_address(address),
                port,
                service,
                listed,
                hop and Hop(*hop),
                local,
                forward,
                tunnel and Tunnel(*tunnel[:3], ip_address(tunnel[3])),
                *share,
            )
            for (
                index,
                address,
                port,
                service,
                listed,
                local,
                hop,
                forward,
                tunnel,
                *share,
            ) in self._native.reals()
        }
        named = {served.index for listen, served in services.items() if not listen.is_mark}
        slots = {index: Slots(tuple(self._native.table(index))) for index in named}
        return Tables(services, reals, slots)

    def apply(self, steps: Iterable[Step]) -> None:
        """Carry the steps out, in their order. Doing them twice does no harm."""
        native = self._native
        # Tables all at once: the kernel waits for its readers each time.
        for are_tables, group in groupby(steps, lambda step: isinstance(step, SetSlots)):
            if are_tables:
                tables = [step for step in group if isinstance(step, SetSlots)]
                put_tables(native, [(step.service, step.slots) for step in tables])
                continue
            for step in group:
                match step:
                    case SetReal(index, real):
                        self._set_real(index, real)
                    case SetService((address, port, protocol), served):
                        native.set_service(str(address), port, protocol, *as_program(served))
                    case RemoveService((address, port, protocol)):
                        native.remove_service(str(address), port, protocol)
                    case FreeReal(index):
                        native.remove_real(index)

    def _set_real(self, index: int, real: Real) -> None:
        hop = astuple(real.hop) if real.hop else None
        self._native.set_real(
            index,
            str(real.address),
            real.port,
            real.service,
            real.listed,
            hop,
            real.local,
            real.forward,
            _row(real.tunnel),
            real.weight,
            real.upper,
            real.lower,
        )

    def load(self, index: int) -> tuple[int, int, bool]:
        """(active, inactive, overloaded) of a real server, as its scheduler sees it now."""
        return self._native.load(index)

    def set_origins(self, origins: Iterable[Origin]) -> None:
        """The real servers of NAT services, all of them."""
        self._native.set_origins(
            [
                (each.real, str(each.address), each.port, str(listen.address), *listen[1:])
                for each in origins
                for listen in (each.listen,)
            ]
        )

    def explain(self, question: Question, mac: bytes, hook: Hook) -> Outcome:
        """What the program would do with the packet; nothing that lives is changed."""
        try:
            said = self._native.explain(
                frame(question, mac),
                str(question.source),
                question.source_port,
                str(question.address),
                question.port,
                PROTOCOLS[question.protocol],
            )
        except OSError as error:
            raise DatapathError(errno.EIO, f"cannot run the program: {error}") from error
        verdict = _VERDICTS[hook].get(said["verdict"], "dropped")
        if "answered" in said["reasons"]:
            verdict = "answered"
        flow = KnownFlow(*said["flow"]) if said["flow"] else None
        return Outcome(verdict, said["packet"], flow, said["real"], tuple(said["reasons"]))

    def traffic(self, index: int) -> Traffic:
        """A real server's counters."""
        return Traffic(*self._native.counters(index))

    def reasons(self) -> dict[str, int]:
        """How often each reason (director/reasons.py explains them) was met."""
        return dict(self._native.reasons())

    def count_flows(self) -> Count:
        """End the expired flows and count the others. Takes a third of a second for a million;
        other threads run meanwhile."""
        rows, live, ended = self._native.sweep()
        return Count({real: (active, inactive) for real, active, inactive in rows}, live, ended)

    def connections(self, most: int) -> list[Connection]:
        """The flows one by one. A real server that is gone has no address: 0.0.0.0."""
        reals = {row[0]: (ip_address(row[1]), row[2]) for row in self._native.reals()}
        return [
            Connection(
                protocol,
                (ip_address(client[0]), client[1]),
                (ip_address(service[0]), service[1]),
                reals.get(real, NOWHERE),
                state,
                expires_s,
            )
            for protocol, client, service, real, state, expires_s in self._native.connections(most)
        ]

    def start_sync(self, settings: FlowSyncSettings) -> None:
        """Exchange flows with the peers from now on, from a socket in this thread's namespace."""
        try:
            self._native.start_sync(
                settings.key,
                str(settings.address),
                settings.port,
                [str(address) for _name, address in settings.peers],
                settings.interval_s,
            )
        except OSError as error:
            place = f"{settings.address}:{settings.port}"
            raise DatapathError(
                errno.EIO, f"cannot speak with peers from {place}: {error}"
            ) from error

    def stop_sync(self) -> None:
        """Tell the peers what they were not told yet, and end it. Idempotent."""
        self._native.stop_sync()

    def sync_status(self) -> dict[str, Any] | None:
        """As trimaran._native has it."""
        return self._native.sync_status()

    def unpin(self) -> None:
        """Let go: tables and flows end with the program that is attached. Idempotent."""
        self._native.unpin()
        bpffs.remove(self._directory)


def put_tables(native: Datapath, tables: Sequence[tuple[int, Table]]) -> None:
    """Swap services' tables, all at once."""
    native.set_tables(
        [
            (service, table.reals, [(at.end, at.weight, at.count) for at in table.levels])
            for service, table in tables
            if isinstance(table, Slots)
        ],
        [(service, table.members) for service, table in tables if isinstance(table, Maglev)],
    )


def as_program(served: Served) -> tuple[int, int, int, int, int]:
    """As bpf/layout.h has it: (index, flags, scheduler, granularity, persistence_s)."""
    flags = (
        SYNCED * served.synced
        | FALLS_BACK * served.falls_back
        | HASHES_PORT * served.hashes_port
        | ONE_PACKET * served.one_packet
        | {"drop": 0, "unpin": UNPIN, "reset": RESET}[served.dead_flows]
    )
    scheduler = SCHEDULERS.index(served.scheduler)
    return served.index, flags, scheduler, served.granularity, served.persistence_s


def _served(index: int, flags: int, scheduler: int, granularity: int, persistence_s: int) -> Served:
    """The reverse."""
    return Served(
        index,
        bool(flags & SYNCED),
        SCHEDULERS[scheduler],
        bool(flags & HASHES_PORT),
        bool(flags & FALLS_BACK),
        bool(flags & ONE_PACKET),
        "reset" if flags & RESET else "unpin" if flags & UNPIN else "drop",
        persistence_s,
        granularity,
    )


def _row(tunnel: Tunnel | None) -> tuple[str, int, bool, str] | None:
    if tunnel is None:
        return None
    return (tunnel.kind, tunnel.port, tunnel.checksum, str(tunnel.source))
