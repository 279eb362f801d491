"""What happened on this node, and why: a bounded ring, followed by the API, printed to stderr."""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import structlog

from trimaran.system import clock

KEPT = 4096
_FIELDS = ("name", "subject", "message", "cause", "data")


@dataclass(frozen=True)
class Event:
    """One event; see docs/decisions/0002. `time` is for people, `seq` for order."""

    seq: int
    time: str
    node: str
    role: str
    name: str
    subject: str
    message: str
    cause: str
    data: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As the API sends it."""
        return asdict(self)


class Events:
    """The ring. A follower that falls more than KEPT events behind misses the oldest: the gap in
    `seq` shows it."""

    def __init__(self, node: str, *, printed: bool = True) -> None:
        self._node = node
        self._ring: deque[Event] = deque(maxlen=KEPT)
        self._seq = 0
        self._changed = asyncio.Event()
        self._closed = False
        self._log = console() if printed else None

    def add(
        self,
        role: str,
        name: str,
        *,
        subject: str = "",
        message: str,
        cause: str,
        data: dict[str, Any] | None = None,
    ) -> Event:
        """Note that something happened."""
        self._seq += 1
        event = Event(
            self._seq, clock.wall(), self._node, role, name, subject, message, cause, data or {}
        )
        self._ring.append(event)
        if self._log is not None:
            _print(self._log, event)
        self._wake()
        return event

    def pass_on(self, role: str, line: str) -> None:
        """Print what a role wrote itself: a traceback, for example. It is no event."""
        if self._log is not None and line:
            with suppress(OSError):
                self._log.info(line, node=self._node, role=role)

    def since(self, seq: int) -> list[Event]:
        """Every kept event later than `seq`, oldest first."""
        return [event for event in self._ring if event.seq > seq]

    async def follow(self, seq: int) -> AsyncIterator[Event]:
        """Every event later than `seq`, for ever; ends when the node ends."""
        while True:
            changed = self._changed
            for event in self.since(seq):
                seq = event.seq
                yield event
            if self._closed:
                return
            if self._seq <= seq:
                await changed.wait()

    def close(self) -> None:
        """The node ends: so does every follower."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def console() -> Any:
    """A logger to stderr: coloured lines for a terminal, JSON lines for anything else."""
    processors: list[Any] = [structlog.processors.add_log_level]
    if sys.stderr.isatty():
        processors.append(structlog.dev.ConsoleRenderer(pad_event=44))
    else:
        processors.append(structlog.processors.JSONRenderer(ensure_ascii=False))
    return structlog.wrap_logger(structlog.PrintLogger(sys.stderr), processors=processors)


def _print(log: Any, event: Event) -> None:
    values: dict[str, Any] = {
        "time": event.time,
        "node": event.node,
        "role": event.role,
        "name": event.name,
    }
    values |= {"cause": event.cause} if event.cause else {}
    values |= {"data": event.data} if event.data and not sys.stderr.isatty() else {}
    say = log.warning if event.name in _WARNINGS else log.info
    with suppress(OSError):  # nobody reads stderr any more: the ring still has it
        say(event.message, **values)


_WARNINGS = {
    "preflight.warning", "role.exited", "director.real_server_down", "director.quorum_lost",
    "director.check_failed", "director.script_failed", "proxy.peer_down",
}  # fmt: skip
