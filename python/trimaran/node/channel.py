"""The line between the supervisor and a role: one JSON object a line over a Unix stream socket.

Imports nothing heavy: the vrrp process uses it too. See docs/decisions/0001 for the messages.
"""

import os
import socket
import threading
from array import array
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

CHANNEL_VARIABLE = "TRIMARAN_CHANNEL_FD"
MAX_LINE = 8 << 20  # bytes; a configuration of thousands of services fits

_SO_SNDBUFFORCE = 32
_SEND_BUFFER = 1 << 20  # bytes; the kernel takes it twice
_DESCRIPTORS_AT_ONCE = 200  # the kernel takes 253 (SCM_MAX_FD)
_ROOM = socket.CMSG_SPACE(_DESCRIPTORS_AT_ONCE * array("i").itemsize)
_RECEIVE_FLAGS = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC

Message = dict[str, Any]


class ChannelClosedError(Exception):
    """The other side is gone."""


class Channel:
    """One end. Non-blocking to read (wait on `fileno()` yourself), blocking to write."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = bytearray()
        self._sending = threading.Lock()
        self.descriptors: list[int] = []  # that came; who takes one out owns it

    @classmethod
    def pair(cls) -> tuple["Channel", socket.socket]:
        """The supervisor's end, and the raw socket that the role process inherits."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(ours), theirs

    @classmethod
    def inherited(cls) -> "Channel":
        """The role's end, from the descriptor named in the environment. What it says at once (the
        status of hundreds of virtual routers) fits into its buffer."""
        connection = socket.socket(fileno=int(os.environ.pop(CHANNEL_VARIABLE)))
        with suppress(PermissionError):
            connection.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BUFFER)
        return cls(connection)

    def fileno(self) -> int:
        """The descriptor to wait on for reading; -1 once closed."""
        return self._socket.fileno()

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Write one message, from any thread. The other end has `descriptors` in its own list of
        that name once it has the message. Raises ChannelClosedError."""
        data = memoryview(msgspec.json.encode(message) + b"\n")
        try:
            with self._sending:
                for first in range(0, len(descriptors), _DESCRIPTORS_AT_ONCE):
                    some = descriptors[first : first + _DESCRIPTORS_AT_ONCE]
                    socket.send_fds(self._socket, [data[:1]], some)
                    data = data[1:]
                self._socket.sendall(data)
        except OSError as error:
            raise ChannelClosedError(str(error)) from error

    def receive(self) -> list[Message]:
        """Every whole message that has arrived, without waiting. Raises ChannelClosedError at the
        end of the stream, once nothing whole is left to return."""
        ended = False
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(1 << 16, _ROOM, _RECEIVE_FLAGS)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                ended = True
                break
            for _, _, descriptors in ancillary:  # socket.recv_fds() drops the flags
                self.descriptors += array("i", descriptors)
            self._buffer += data
            if len(self._buffer) > MAX_LINE:
                raise ChannelClosedError(f"a message longer than {MAX_LINE} bytes")
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        if ended and not lines:
            raise ChannelClosedError("the other side closed the channel")
        return [msgspec.json.decode(line) for line in lines]

    def close(self) -> None:
        """Close this end."""
        self._socket.close()
