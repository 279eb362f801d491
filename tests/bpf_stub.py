"""Tiny eBPF programs of somebody else, made without any compiler: one that passes everything for
XDP, one that marks packets for tc."""

import ctypes
import os
import platform
import struct
from contextlib import suppress

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]  # the system call's number
BPF_PROG_LOAD = 5
SCHED_CLS, XDP = 3, 6
XDP_PASS = 2
TC_GO_ON = 0xFFFFFFFF  # TC_ACT_UNSPEC: the next filter decides
INGRESS = 0xFFFFFFF2  # clsact's ingress side
MARK_OFFSET = 8  # of __sk_buff
_libc = ctypes.CDLL(None, use_errno=True)


def _instruction(code: int, registers: int, offset: int, value: int) -> bytes:
    return struct.pack("=BBhI", code, registers, offset, value)


def _load(kind: int, name: str, instructions: list[bytes]) -> int:
    code = ctypes.create_string_buffer(b"".join(instructions))
    licence = ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack(
        "=IIQQIIQII16s",
        kind,
        len(instructions),
        ctypes.addressof(code),
        ctypes.addressof(licence),
        *(0, 0, 0, 0, 0),
        name.encode(),
    )
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    descriptor = _libc.syscall(BPF, BPF_PROG_LOAD, buffer, len(attributes))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), f"the kernel refused the program {name}")
    return descriptor


def xdp_pass(name: str = "pass_all") -> int:
    """A descriptor of a program that lets every frame go up."""
    exit_, set_r0 = _instruction(0x95, 0, 0, 0), _instruction(0xB7, 0, 0, XDP_PASS)
    return _load(XDP, name, [set_r0, exit_])


def tc_mark(mark: int, name: str = "mark_all") -> int:
    """A descriptor of a program that gives every packet that mark, and lets the next filter
    decide."""
    store = _instruction(0x62, 1, MARK_OFFSET, mark)  # *(u32 *)(r1 + 8) = mark
    set_r0 = _instruction(0xB4, 0, 0, TC_GO_ON)
    return _load(SCHED_CLS, name, [store, set_r0, _instruction(0x95, 0, 0, 0)])


def attach_xdp(interface: int, descriptor: int) -> None:
    """In the driver of a device of the calling thread's namespace."""
    with IPRoute() as route:
        attributes = [["IFLA_XDP_FD", descriptor], ["IFLA_XDP_FLAGS", 4]]
        route.link("set", index=interface, IFLA_XDP={"attrs": attributes})
    os.close(descriptor)


def attach_tc(interface: int, descriptor: int, priority: int) -> None:
    """On the ingress side, before or behind others."""
    with IPRoute() as route:
        with suppress(NetlinkError):  # it has one
            route.tc("add", "clsact", interface)
        route.tc(
            "add-filter", "bpf", interface, 1, fd=descriptor, name="stub", parent=INGRESS,
            flags=1, prio=priority, protocol=3,
        )  # fmt: skip
    os.close(descriptor)


def detach_tc(interface: int, priority: int) -> None:
    """Take it away."""
    with IPRoute() as route:
        route.tc("del-filter", "bpf", interface, 1, parent=INGRESS, prio=priority, protocol=3)
