"""A socket of generic netlink: questions to one of the kernel's families, and its answers."""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from itertools import count
from typing import Protocol

NETLINK_GENERIC = 16
HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
REQUEST, ACK, DUMP = 1, 4, 0x300
ERROR, DONE = 2, 3
CONTROL = 16  # the family that knows the others
GET_FAMILY = 3
FAMILY_ID, FAMILY_NAME = 1, 2
RECEIVE = 1 << 20


class Wire(Protocol):
    """What carries whole datagrams to the kernel and back."""

    def send(self, data: bytes, /) -> object: ...
    def recv(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class NoFamilyError(OSError):
    """The kernel has no such family, nor a module for it."""


def open_wire() -> Wire:
    """To the kernel, in the calling thread's network namespace."""
    wire = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_GENERIC)
    wire.bind((0, 0))
    wire.settimeout(10.0)  # the kernel answers at once; a lost answer must not hold us for ever
    return wire


class GenericNetlink:
    """Asks one family, one question at a time."""

    def __init__(self, family: str, wire: Wire | None = None) -> None:
        """Raises NoFamilyError; asking for it makes the kernel load its module."""
        self._wire = wire or open_wire()
        self._numbers = count(1)
        try:
            self._family = self._resolve(family)
        except OSError as error:
            self._wire.close()
            if error.errno in (errno.ENOENT, errno.EPERM):
                raise NoFamilyError(error.errno, f"the kernel has no {family}") from error
            raise

    def close(self) -> None:
        """Close the socket."""
        self._wire.close()

    def ask(self, payload: bytes, *, dump: bool = False) -> list[bytes]:
        """The answers' payloads (none to a change). Raises OSError with the kernel's errno."""
        return self._exchange(self._family, payload, dump)

    def _resolve(self, family: str) -> int:
        name = family.encode() + b"\0"
        attribute = struct.pack("=HH", 4 + len(name), FAMILY_NAME) + name
        question = struct.pack("=BBH", GET_FAMILY, 1, 0) + attribute + b"\0" * (-len(name) % 4)
        (answer,) = self._exchange(CONTROL, question, False)
        rest = answer[4:]
        while len(rest) >= 4:
            length, kind = struct.unpack_from("=HH", rest)
            if kind == FAMILY_ID:
                return int(struct.unpack_from("=H", rest, 4)[0])
            rest = rest[max(4, (length + 3) & ~3) :]
        raise OSError(errno.EPROTO, f"the kernel names no number for {family}")

    def _exchange(self, family: int, payload: bytes, dump: bool) -> list[bytes]:
        number = next(self._numbers)
        flags = REQUEST | (DUMP if dump else ACK)
        self._wire.send(HEADER.pack(16 + len(payload), family, flags, number, 0) + payload)
        answers: list[bytes] = []
        while True:
            for kind, sequence, body in frames(self._wire.recv(RECEIVE)):
                if sequence != number:
                    continue  # the rest of an earlier question that was given up
                if kind in (ERROR, DONE):
                    code = -int(struct.unpack_from("=i", body)[0]) if len(body) >= 4 else 0
                    if code:
                        raise OSError(code, os.strerror(code))
                    return answers
                answers.append(body)


def frames(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, sequence, body) of each message in a datagram."""
    while len(data) >= HEADER.size:
        length, kind, _flags, sequence, _port = HEADER.unpack_from(data)
        if not HEADER.size <= length <= len(data):
            return
        yield kind, sequence, data[HEADER.size : length]
        data = data[(length + 3) & ~3 :]
