"""The line between the supervisor and a role: one JSON object a line over a Unix stream socket.

Imports nothing heavy: the vrrp process uses it too. See docs/decisions/0001 for the messages.
"""

import os
import socket
from typing import Any

import msgspec

CHANNEL_VARIABLE = "TRIMARAN_CHANNEL_FD"
MAX_LINE = 8 << 20  # bytes; a configuration of thousands of services fits

Message = dict[str, Any]


class ChannelClosedError(Exception):
    """The other side is gone."""


class Channel:
    """One end. Non-blocking to read (wait on `fileno()` yourself), blocking to write."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = bytearray()

    @classmethod
    def pair(cls) -> tuple["Channel", socket.socket]:
        """The supervisor's end, and the raw socket that the role process inherits."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(ours), theirs

    @classmethod
    def inherited(cls) -> "Channel":
        """The role's end, from the descriptor named in the environment."""
        return cls(socket.socket(fileno=int(os.environ.pop(CHANNEL_VARIABLE))))

    def fileno(self) -> int:
        """The descriptor to wait on for reading; -1 once closed."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Write one message. Raises ChannelClosedError."""
        try:
            self._socket.sendall(msgspec.json.encode(message) + b"\n")
        except OSError as error:
            raise ChannelClosedError(str(error)) from error

    def receive(self) -> list[Message]:
        """Every whole message that has arrived, without waiting. Raises ChannelClosedError at the
        end of the stream, once nothing whole is left to return."""
        ended = False
        while True:
            try:
                data = self._socket.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                ended = True
                break
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
