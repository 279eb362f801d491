"""The L7 engine (native code): serves a snapshot on listening sockets until it is stopped."""

import json
import socket
from collections.abc import Sequence
from typing import Any

from trimaran import _native

Door = tuple[str, int]  # address, port


class EngineError(Exception):
    """A snapshot that the engine refuses; says what is wrong."""


class Engine:
    """Serves from construction on, in threads of its own that never take the GIL."""

    def __init__(self, snapshot: str, listeners: list[socket.socket], workers: int = 1) -> None:
        try:
            self._engine = _native.Engine(snapshot, _doors(listeners), workers)
        except ValueError as error:
            raise EngineError(str(error)) from error

    def swap(self, snapshot: str, listeners: Sequence[socket.socket | Door] | None = None) -> None:
        """Serve by another snapshot from the next request on; no connection is closed. `listeners`,
        where given, are all that there shall be: a listening socket, or the address of one that is
        served already. Raises EngineError, and then goes on as before."""
        doors = None if listeners is None else [_door(each) for each in listeners]
        try:
            self._engine.swap(snapshot, doors)
        except ValueError as error:
            raise EngineError(str(error)) from error

    def check(self, snapshot: str) -> None:
        """Raises EngineError if `swap` would."""
        try:
            self._engine.check(snapshot)
        except ValueError as error:
            raise EngineError(str(error)) from error

    def stop(self, graceful_timeout_s: float) -> None:
        """Stop accepting, finish the requests that run, end; cut off after the timeout."""
        self._engine.stop(graceful_timeout_s)

    def set_peer(self, upstream: str, peer: str, state: str) -> None:
        """Say what a peer's probes found: 'up', 'down' or 'drain' (only clients that stick to it).
        It holds until the next word on it, through every swap. `peer` is its name as written, or
        its address. Raises EngineError when there is no such upstream or peer."""
        try:
            self._engine.set_peer(upstream, peer, state)
        except ValueError as error:
            raise EngineError(str(error)) from error

    def status(self) -> dict[str, Any]:
        """Listeners, counters, peers: docs/decisions/0002."""
        status: dict[str, Any] = json.loads(self._engine.status())
        return status

    def events(self) -> list[dict[str, Any]]:
        """Peers that went down or came up since the last call: name, upstream, peer, cause."""
        return [json.loads(event) for event in self._engine.events()]

    def fileno(self) -> int:
        """Readable while there are events."""
        return self._engine.event_fd()


def _doors(listeners: list[socket.socket]) -> list[tuple[str, int, int]]:
    return [(*listener.getsockname()[:2], listener.fileno()) for listener in listeners]


def _door(listener: socket.socket | Door) -> tuple[str, int, int | None]:
    return (*listener, None) if isinstance(listener, tuple) else _doors([listener])[0]
