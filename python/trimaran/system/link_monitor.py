"""Hears from the kernel that an interface or its addresses changed. What they are now is asked of
`Netlink`: a change is only a reason to look, so a lost message (ENOBUFS) loses nothing."""

import errno
import socket
import struct
from collections.abc import Iterator

from trimaran.vrrp.address import Address

_NETLINK_ROUTE = 0
_RTMGRP_LINK = 0x1
_RTMGRP_IPV4_IFADDR = 0x10
_RTMGRP_IPV6_IFADDR = 0x100
_RTM_NEWADDR, _RTM_DELADDR = 20, 21
_IFA_ADDRESS, _IFA_LOCAL = 1, 2  # IPv6 has the former alone
_MESSAGE = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_IFADDRMSG_SIZE = 8
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_READ = 1 << 16


class LinkMonitor:
    """Readable when something changed. `ours` are addresses whose coming and going is our own
    doing and no news."""

    def __init__(self, ours: frozenset[Address] = frozenset()) -> None:
        self._ours = {address.packed for address in ours}
        self._socket = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
            _NETLINK_ROUTE,
        )
        self._socket.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR | _RTMGRP_IPV6_IFADDR))

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def changed(self) -> bool:
        """True when, since the last call, anything changed that is not our own doing."""
        news = False
        while True:
            try:
                data = self._socket.recv(_READ)
            except BlockingIOError:
                return news
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                news = True
            else:
                news = news or any(
                    address is None or address not in self._ours
                    for address in _addresses_spoken_of(data)
                )

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _addresses_spoken_of(data: bytes) -> Iterator[bytes | None]:
    """For each message the address it is about, None when it is about something else."""
    at = 0
    while at + _MESSAGE.size <= len(data):
        length, kind, *_ = _MESSAGE.unpack_from(data, at)
        if length < _MESSAGE.size:
            return
        message = data[at + _MESSAGE.size : at + length]
        yield _local_address(message) if kind in (_RTM_NEWADDR, _RTM_DELADDR) else None
        at += (length + 3) & ~3


def _local_address(message: bytes) -> bytes | None:
    at = _IFADDRMSG_SIZE
    address = None
    while at + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if length < _ATTRIBUTE.size:
            break
        value = message[at + _ATTRIBUTE.size : at + length]
        if kind == _IFA_LOCAL:
            return value
        if kind == _IFA_ADDRESS:
            address = value
        at += (length + 3) & ~3
    return address
