"""The director in the kernel: its tables through the native module, its program on an interface
through tc."""

import errno
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

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
from trimaran.director.tables import Hop, Listen, Real, Served, Tables
from trimaran.system import bpffs

FILTER_NAME = "trimaran-director#"  # and the program's id, which pyroute2 does not decode
INGRESS = 0xFFFFFFF2  # clsact's ingress side
CLSACT = 0xFFFF0000
PRIORITY = 1
HANDLE = 1
DIRECT_ACTION = 1  # the program's return value is the verdict
ETH_P_ALL = 3
SYNCED = 1  # bpf/layout.h, SERVICE_SYNC
XDP_DRIVER_MODE = 4
NO_PROGRAM = -1

Hook = Literal["tc", "xdp"]


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

    def __init__(self, pin_directory: Path, max_flows: int, max_flows6: int = 1) -> None:
        bpffs.ensure(pin_directory)
        self._directory = pin_directory
        try:
            self._native = Datapath(pin_directory, max_flows=max_flows, max_flows6=max_flows6)
        except OSError as error:
            raise DatapathError(errno.EIO, f"cannot load the eBPF director: {error}") from error
        self.adopted = self._native.adopted
        self.descriptor, self.program_id = self._native.program()

    def turn_to(self, hook: Hook) -> None:
        """Use the program of that hook, over the same tables and flows."""
        try:
            self._native.turn_to(hook)
        except OSError as error:
            raise DatapathError(errno.EIO, f"cannot load the eBPF director: {error}") from error
        self.descriptor, self.program_id = self._native.program()

    def set_station(self, mac: bytes) -> None:
        """The MAC that frames for this machine have."""
        self._native.set_station(mac)

    def tables(self) -> Tables:
        """What is in the kernel now."""
        services = {
            Listen(ip_address(address), port, protocol): Served(index, bool(flags & SYNCED))
            for address, port, protocol, index, flags in self._native.services()
        }
        reals = {
            index: Real(ip_address(address), port, service, listed, hop and Hop(*hop), local)
            for index, address, port, service, listed, local, hop in self._native.reals()
        }
        named = {served.index for listen, served in services.items() if not listen.is_mark}
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
                        index,
                        str(real.address),
                        real.port,
                        real.service,
                        real.listed,
                        hop,
                        real.local,
                    )
                case SetSlots(service, slots):
                    native.set_table(service, slots)
                case SetService((address, port, protocol), served):
                    flags = SYNCED if served.synced else 0
                    native.set_service(str(address), port, protocol, served.index, flags)
                case RemoveService((address, port, protocol)):
                    native.remove_service(str(address), port, protocol)
                case FreeReal(index):
                    native.remove_real(index)

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
    """The program's place on an interface: a filter on its clsact, or XDP in its driver. Belongs
    to the calling thread's namespace."""

    def __init__(self) -> None:
        self._route = IPRoute()

    def close(self) -> None:
        """Close the socket; what is attached stays."""
        self._route.close()

    def has_driver(self, interface: int) -> bool:
        """A device with a driver of its own. Made-up ones (veth, bridge, bond, …) have a kind: XDP
        in them is slower than tc, and veth's drops what it sends to a peer without XDP."""
        row = self._route.get_links(interface)[0]
        info = row.get_attr("IFLA_LINKINFO")
        return info is None or info.get_attr("IFLA_INFO_KIND") is None

    def attach(self, interface: int, director: Director, hook: Hook) -> None:
        """Put the program there, in place of an earlier one without a gap, and none at the other
        hook. Idempotent."""
        try:
            if hook == "xdp":
                self._set_xdp(interface, director.descriptor)
                self._detach_tc(interface)
            else:
                self._attach_tc(interface, director)
                if self.attached(interface, "xdp") is not None:
                    self._set_xdp(interface, NO_PROGRAM)
        except NetlinkError as error:
            raise DatapathError(
                error.code, f"cannot attach the director to interface {interface}: {error}"
            ) from error

    def _set_xdp(self, interface: int, descriptor: int) -> None:
        attributes = [["IFLA_XDP_FD", descriptor], ["IFLA_XDP_FLAGS", XDP_DRIVER_MODE]]
        self._route.link("set", index=interface, IFLA_XDP={"attrs": attributes})

    def _attach_tc(self, interface: int, director: Director) -> None:
        try:
            self._route.tc("add", "clsact", interface)
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise
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

    def attached(self, interface: int, hook: Hook) -> int | None:
        """The id of the program that sits at our place there, or None."""
        try:
            if hook == "xdp":
                xdp = self._route.get_links(interface)[0].get_attr("IFLA_XDP")
                return (xdp and xdp.get_attr("IFLA_XDP_PROG_ID")) or None
            rows = list(self._route.get_filters(index=interface, parent=INGRESS))
        except NetlinkError:
            return None
        for row in rows:
            options = row.get_attr("TCA_OPTIONS")
            name = options and options.get_attr("TCA_BPF_NAME")
            if name and name.startswith(FILTER_NAME):
                return int(name.removeprefix(FILTER_NAME))
        return None

    def detach(self, interface: int, hook: Hook) -> None:
        """Take the program away. Idempotent."""
        try:
            if hook == "tc":
                self._detach_tc(interface)
            elif self.attached(interface, "xdp") is not None:
                self._set_xdp(interface, NO_PROGRAM)
        except NetlinkError as error:
            if error.code not in (errno.ENODEV, errno.ENOENT, errno.EINVAL):
                raise DatapathError(
                    error.code, f"cannot detach the director from interface {interface}: {error}"
                ) from error

    def _detach_tc(self, interface: int) -> None:
        """The filter goes, and clsact too if nobody else uses it."""
        if self.attached(interface, "tc") is None:
            return
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
