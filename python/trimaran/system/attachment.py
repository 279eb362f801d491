"""The director's place on an interface: a filter on its clsact, or XDP in its driver. What others
put there is neither replaced nor removed."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from trimaran._native import Datapath
from trimaran.system.datapath import DatapathError, Hook

FILTER_NAME = "trimaran-director#"  # and the program's id, which pyroute2 does not decode
XDP_NAME = "director_xdp"  # bpf/director.bpf.c: a program so named is ours, or an earlier process's
INGRESS = 0xFFFFFFF2  # clsact's ingress side
EGRESS = INGRESS + 1
PRIORITY = 100  # room for filters that come first, and mark packets for instance
HANDLE = 1
DIRECT_ACTION = 1  # the program's return value is the verdict
ETH_P_ALL = 3
XDP_ONLY_WHERE_NONE_IS = 1
XDP_DRIVER_MODE = 4
XDP_ONLY_IN_PLACE_OF = 16
NO_PROGRAM = -1
XDP_IDS = ("IFLA_XDP_PROG_ID", "IFLA_XDP_DRV_PROG_ID", "IFLA_XDP_SKB_PROG_ID")


class ForeignProgramError(DatapathError):
    """Somebody else's program is where ours should be."""


@dataclass(frozen=True)
class _Filter:
    priority: int
    handle: int
    kind: str
    name: str

    @property
    def program_id(self) -> int | None:
        """None where the filter is not ours."""
        number = self.name.removeprefix(FILTER_NAME)
        ours = self.kind == "bpf" and number != self.name and number.isdigit()
        return int(number) if ours else None


class Attachment:
    """Belongs to the calling thread's namespace."""

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

    def attach(self, interface: int, descriptor: int, program_id: int, hook: Hook) -> None:
        """Put a program of ours there, in place of an earlier one without a gap. Idempotent."""
        try:
            if hook == "xdp":
                self._set_xdp(interface, descriptor)
            else:
                self._attach_tc(interface, descriptor, program_id)
        except NetlinkError as error:
            raise DatapathError(
                error.code, f"cannot attach the director to interface {interface}: {error}"
            ) from error

    def attached(self, interface: int, hook: Hook) -> int | None:
        """The id of the program that sits at our place there, somebody else's too where it is
        XDP's; None: none does."""
        try:
            if hook == "xdp":
                return self._xdp_id(interface)
            ids = [each.program_id for each in self._filters(interface) if each.program_id]
        except NetlinkError:
            return None
        return ids[0] if ids else None

    def detach(self, interface: int, hook: Hook) -> None:
        """Take our program away. Idempotent."""
        try:
            if hook == "tc":
                self._detach_tc(interface)
            else:
                self._detach_xdp(interface)
        except NetlinkError as error:
            if error.code not in (errno.ENODEV, errno.ENOENT, errno.EINVAL):
                raise DatapathError(
                    error.code, f"cannot detach the director from interface {interface}: {error}"
                ) from error

    def _set_xdp(self, interface: int, descriptor: int) -> None:
        """Where there is no program, or in place of ours: the kernel itself makes sure."""
        there = self._xdp_id(interface)
        if there is None:
            flags = XDP_DRIVER_MODE | XDP_ONLY_WHERE_NONE_IS
            self._change_xdp(interface, descriptor, flags)
            return
        with _program(there) as (name, expected):
            if name != XDP_NAME:
                message = f"the XDP program '{name}' (id {there}) of somebody else is attached"
                raise ForeignProgramError(errno.EBUSY, message)
            flags = XDP_DRIVER_MODE | XDP_ONLY_IN_PLACE_OF
            self._change_xdp(interface, descriptor, flags, ["IFLA_XDP_EXPECTED_FD", expected])

    def _change_xdp(
        self, interface: int, descriptor: int, flags: int, *more: list[str | int]
    ) -> None:
        attributes = [["IFLA_XDP_FD", descriptor], ["IFLA_XDP_FLAGS", flags], *more]
        self._route.link("set", index=interface, IFLA_XDP={"attrs": attributes})

    def _detach_xdp(self, interface: int) -> None:
        try:
            if self._xdp_id(interface) is not None:
                self._set_xdp(interface, NO_PROGRAM)
        except ForeignProgramError:
            pass  # it stays

    def _xdp_id(self, interface: int) -> int | None:
        xdp = self._route.get_links(interface)[0].get_attr("IFLA_XDP")
        ids = [xdp.get_attr(name) for name in XDP_IDS] if xdp else []
        return next((number for number in ids if number), None)

    def _attach_tc(self, interface: int, descriptor: int, program_id: int) -> None:
        try:
            self._route.tc("add", "clsact", interface)
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise
        there = self._filters(interface)
        for each in there:
            if each.priority == PRIORITY and each.program_id is None:
                what = f"'{each.name}' ({each.kind})" if each.name else each.kind
                message = (
                    f"a filter of somebody else, {what}, has priority {PRIORITY} on the ingress "
                    "side of the interface: move it to another"
                )
                raise ForeignProgramError(errno.EBUSY, message)
        self._route.tc(
            "replace-filter",
            "bpf",
            interface,
            HANDLE,
            fd=descriptor,
            name=f"{FILTER_NAME}{program_id}",
            parent=INGRESS,
            flags=DIRECT_ACTION,
            prio=PRIORITY,
            protocol=ETH_P_ALL,
        )
        for each in there:
            if each.program_id and (each.priority, each.handle) != (PRIORITY, HANDLE):
                self._remove(interface, each)

    def _detach_tc(self, interface: int) -> None:
        """Our filter goes, and clsact too if nobody else uses it."""
        ours = [each for each in self._filters(interface) if each.program_id]
        for each in ours:
            self._remove(interface, each)
        if ours and not self._filters(interface) and not self._filters(interface, EGRESS):
            self._route.tc("del", "clsact", interface)

    def _remove(self, interface: int, ours: _Filter) -> None:
        self._route.tc(
            "del-filter",
            "bpf",
            interface,
            ours.handle,
            parent=INGRESS,
            prio=ours.priority,
            protocol=ETH_P_ALL,
        )

    def _filters(self, interface: int, side: int = INGRESS) -> list[_Filter]:
        found = []
        for row in self._route.get_filters(index=interface, parent=side):
            if not row["handle"]:  # the head of a priority's list
                continue
            options = row.get_attr("TCA_OPTIONS")
            kind = row.get_attr("TCA_KIND")
            name = options.get_attr("TCA_BPF_NAME") if options and kind == "bpf" else None
            found.append(_Filter(row["info"] >> 16, row["handle"], kind, name or ""))
        return found


@contextmanager
def _program(number: int) -> Iterator[tuple[str, int]]:
    """The name of a loaded program, and a descriptor of it. The program may have gone: then the
    name is empty."""
    found = Datapath.program_of(number)
    if found is None:
        yield "", NO_PROGRAM
        return
    try:
        yield found
    finally:
        os.close(found[1])
