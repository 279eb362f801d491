"""The director in the kernel: its tables through the native module, its program on an interface
through tc."""

import errno
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from trimaran._native import Datapath
from trimaran.director.plan import (
    FreeReal,
    RemoveService,
    SetReal,
    SetService,
    SetSlots,
    Step,
)
from trimaran.director.settings import FlowSyncSettings
from trimaran.director.tables import Hop, Real, Served, Tables
from trimaran.system import bpffs

FILTER_NAME = "trimaran-director#"  # and the program's id, which pyroute2 does not decode
INGRESS = 0xFFFFFFF2  # clsact's ingress side
CLSACT = 0xFFFF0000
PRIORITY = 1
HANDLE = 1
DIRECT_ACTION = 1  # the program's return value is the verdict
ETH_P_ALL = 3
SYNCED = 1  # bpf/layout.h, SERVICE_SYNC
NOTICES = ("table_full", "adopted", "untold")  # counted, but forwarded


class DatapathError(OSError):
    """The kernel refused; the message says what was asked."""


@dataclass(frozen=True)
class Traffic:
    """A real server's counters: IP bytes, and connections begun."""

    packets: int
    bytes: int
    connections: int


@dataclass(frozen=True)
class Count:
    """One pass over the flow table: by real server's index, (active, inactive)."""

    by_real: dict[int, tuple[int, int]]
    live: int
    ended: int


class Director:
    """Tables and flows, pinned in a directory on bpffs so that they outlive this process."""

    def __init__(self, pin_directory: Path, max_flows: int) -> None:
        bpffs.ensure(pin_directory)
        self._directory = pin_directory
        try:
            self._native = Datapath(pin_directory, max_flows=max_flows)
        except OSError as error:
            raise DatapathError(errno.EIO, f"cannot load the eBPF director: {error}") from error
        self.adopted = self._native.adopted
        self.descriptor, self.program_id = self._native.program()

    def tables(self) -> Tables:
        """What is in the kernel now."""
        services = {
            (IPv4Address(address), port): Served(index, bool(flags & SYNCED))
            for address, port, index, flags in self._native.services()
        }
        reals = {
            index: Real(IPv4Address(address), port, service, listed, hop and Hop(*hop))
            for index, address, port, service, listed, hop in self._native.reals()
        }
        named = {served.index for (_, port), served in services.items() if port}
        slots = {index: tuple(self._native.table(index)) for index in named}
        return Tables(services, reals, slots)

    def apply(self, steps: Iterable[Step]) -> None:
        """Carry the steps out, in their order. Doing them twice does no harm."""
        native = self._native
        for step in steps:
            match step:
                case SetReal(index, real):
                    hop = astuple(real.hop) if real.hop else None
                    native.set_real(
                        index, str(real.address), real.port, real.service, real.listed, hop
                    )
                case SetSlots(service, slots):
                    native.set_table(service, slots)
                case SetService((address, port), served):
                    flags = SYNCED if served.synced else 0
                    native.set_service(str(address), port, served.index, flags)
                case RemoveService((address, port)):
                    native.remove_service(str(address), port)
                case FreeReal(index):
                    native.remove_real(index)

    def traffic(self, index: int) -> Traffic:
        """A real server's counters."""
        return Traffic(*self._native.counters(index))

    def reasons(self) -> dict[str, int]:
        """Drops, and what NOTICES names, by reason."""
        return dict(self._native.reasons())

    def count_flows(self) -> Count:
        """End the expired flows and count the others. Takes a third of a second for a million;
        other threads run meanwhile."""
        rows, live, ended = self._native.sweep()
        return Count({real: (active, inactive) for real, active, inactive in rows}, live, ended)

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


class Attachment:
    """The program's place: a filter on an interface's clsact. Belongs to the calling thread's
    namespace."""

    def __init__(self) -> None:
        self._route = IPRoute()

    def close(self) -> None:
        """Close the socket; what is attached stays."""
        self._route.close()

    def attach(self, interface: int, director: Director) -> None:
        """Put the program there, in place of an earlier one without a gap. Idempotent."""
        try:
            self._route.tc("add", "clsact", interface)
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise DatapathError(
                    error.code, f"cannot add clsact to interface {interface}: {error}"
                ) from error
        try:
            self._route.tc(
                "replace-filter",
                "bpf",
                interface,
                HANDLE,
                fd=director.descriptor,
                name=f"{FILTER_NAME}{director.program_id}",
                parent=INGRESS,
                flags=DIRECT_ACTION,
                prio=PRIORITY,
                protocol=ETH_P_ALL,
            )
        except NetlinkError as error:
            raise DatapathError(
                error.code, f"cannot attach the director to interface {interface}: {error}"
            ) from error

    def attached(self, interface: int) -> int | None:
        """The id of the program that sits at our place, or None."""
        try:
            rows = list(self._route.get_filters(index=interface, parent=INGRESS))
        except NetlinkError:
            return None
        for row in rows:
            options = row.get_attr("TCA_OPTIONS")
            name = options and options.get_attr("TCA_BPF_NAME")
            if name and name.startswith(FILTER_NAME):
                return int(name.removeprefix(FILTER_NAME))
        return None

    def detach(self, interface: int) -> None:
        """Take the program away, and clsact too if nobody else uses it. Idempotent."""
        try:
            if self.attached(interface) is not None:
                self._route.tc(
                    "del-filter",
                    "bpf",
                    interface,
                    HANDLE,
                    parent=INGRESS,
                    prio=PRIORITY,
                    protocol=ETH_P_ALL,
                )
            others = [
                *self._route.get_filters(index=interface, parent=INGRESS),
                *self._route.get_filters(index=interface, parent=INGRESS + 1),
            ]
            if not others:
                self._route.tc("del", "clsact", interface)
        except NetlinkError as error:
            if error.code not in (errno.ENODEV, errno.ENOENT, errno.EINVAL):
                raise DatapathError(
                    error.code, f"cannot detach the director from interface {interface}: {error}"
                ) from error
