"""The native module: the L4 data plane driver and the L7 engine."""

from typing import final

__all__ = ["Engine", "check_snapshot"]

@final
class Engine:
    """The L7 engine, serving from construction on. `snapshot` is JSON from proxy.snapshot;
    `listeners` are (address, port, descriptor) of listening sockets, which stay the caller's.
    Raises ValueError for a snapshot that cannot be served, and says why."""

    def __new__(
        cls, snapshot: str, listeners: list[tuple[str, int, int]], workers: int
    ) -> Engine: ...
    def swap(self, snapshot: str) -> None:
        """Serve by another snapshot from the next request on; closes nothing. ValueError as above,
        the old one staying."""
    def stop(self, graceful_timeout_s: float) -> None:
        """Stop accepting, finish what runs, end. What is left after the timeout is cut off."""
    def status(self) -> str:
        """JSON in the shape of docs/decisions/0002."""
    def events(self) -> list[str]:
        """Peers that went down or came up since the last call, a JSON object each."""
    def event_fd(self) -> int:
        """Readable while there are events."""

def check_snapshot(snapshot: str) -> None:
    """Raises ValueError if an Engine would refuse it. Opens the files that it names."""
