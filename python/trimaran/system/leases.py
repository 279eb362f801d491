"""Addresses with a lifetime, by plain rtnetlink: a renewal stands between a master's adverts and
takes microseconds. (`Netlink` takes a millisecond for an address.)"""

import os
import socket
import struct
from collections.abc import Iterable, Sequence

from trimaran.system.netlink import NetworkError
from trimaran.vrrp.address import Interface

_MESSAGE = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, interface index
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_CACHE_INFO = struct.Struct("=IIII")  # preferred, valid, created, updated
_RTM_NEWADDR, _RTM_DELADDR = 20, 21
_NLMSG_ERROR = 2
_REQUEST, _ACK, _REPLACE, _CREATE = 0x1, 0x4, 0x100, 0x400
_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO, _IFA_FLAGS = 1, 2, 6, 8
_NO_DAD = 0x02  # a tentative address answers nobody, and the last master may still hold it
_ABSENT = {19, 99}  # ENODEV, EADDRNOTAVAIL: nothing to remove
_BATCH = 64  # requests; their acknowledgements must fit into the socket's buffer
_READ = 1 << 16
FOR_EVER = 0xFFFFFFFF  # as a lifetime


class Leases:
    """One rtnetlink socket in the namespace of the calling thread."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, 0)
        self._socket.bind((0, 0))
        self._sequence = 0

    def hold(self, index: int, addresses: Sequence[Interface], lifetime_s: int) -> None:
        """Add the addresses to the interface, or renew them. Raises NetworkError."""
        flags = _REQUEST | _ACK | _REPLACE | _CREATE
        bodies = [(each, _body(index, each, lifetime_s)) for each in addresses]
        for address, code in self._ask(_RTM_NEWADDR, flags, bodies):
            raise NetworkError(code, f"cannot add {address}: {os.strerror(code)}")

    def drop(self, index: int, addresses: Sequence[Interface]) -> None:
        """Remove the addresses, those that are there. Raises NetworkError."""
        bodies = [(each, _body(index, each, None)) for each in addresses]
        for address, code in self._ask(_RTM_DELADDR, _REQUEST | _ACK, bodies):
            if code not in _ABSENT:
                raise NetworkError(code, f"cannot remove {address}: {os.strerror(code)}")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _ask(
        self, kind: int, flags: int, bodies: Sequence[tuple[Interface, bytes]]
    ) -> list[tuple[Interface, int]]:
        """What the kernel refused, and its error numbers. It answers before send() returns."""
        refused = []
        for at in range(0, len(bodies), _BATCH):
            batch = bodies[at : at + _BATCH]
            first = self._sequence + 1
            self._sequence += len(batch)
            request = b"".join(
                _MESSAGE.pack(_MESSAGE.size + len(body), kind, flags, first + number, 0) + body
                for number, (_, body) in enumerate(batch)
            )
            self._socket.send(request)
            left = len(batch)
            while left:
                for sequence, code in _answers(self._socket.recv(_READ)):
                    left -= 1
                    if code:
                        refused.append((batch[sequence - first][0], code))
        return refused


def _answers(data: bytes) -> Iterable[tuple[int, int]]:
    at = 0
    while at + _MESSAGE.size <= len(data):
        length, kind, _, sequence, _ = _MESSAGE.unpack_from(data, at)
        if kind == _NLMSG_ERROR:
            yield sequence, -struct.unpack_from("=i", data, at + _MESSAGE.size)[0]
        at += (length + 3) & ~3


def _body(index: int, address: Interface, lifetime_s: int | None) -> bytes:
    """The request about one address; with a lifetime to add it, without to remove it."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    prefix = address.network.prefixlen
    body = _IFADDRMSG.pack(family, prefix, 0, 0, index)
    body += _attribute(_IFA_LOCAL, address.packed) + _attribute(_IFA_ADDRESS, address.packed)
    if lifetime_s is None:
        return body
    # An IPv6 host address is deprecated at once: nothing of this machine is to speak from it.
    preferred = 0 if address.version == 6 and prefix == 128 else lifetime_s
    body += _attribute(_IFA_CACHEINFO, _CACHE_INFO.pack(preferred, lifetime_s, 0, 0))
    if address.version == 6:
        body += _attribute(_IFA_FLAGS, struct.pack("=I", _NO_DAD))
    return body


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value
