"""What the client saw, and what follows from it. The questions are pure; `Traffic` runs the client.

A window is a pair of times on the monotonic clock; a request belongs to it by its start.
"""

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from types import TracebackType

from trimaran.lab.client import Request, read
from trimaran.system import namespaces

MAX_REQUESTS = 1_000_000
END_S = 5.0


def longest_gap(requests: Iterable[Request], start: float, end: float) -> tuple[float, float]:
    """The longest time without a good answer within the window: (when the last one before it
    came, when the first one after it came); the window's borders count as answers."""
    answers = sorted(each.ended_s for each in requests if each.ok and start <= each.ended_s <= end)
    return max(itertools.pairwise([start, *answers, end]), key=lambda gap: gap[1] - gap[0])


def failures(requests: Iterable[Request], start: float, end: float) -> list[Request]:
    """The requests of the window that failed."""
    return [each for each in requests if start <= each.started_s <= end and not each.ok]


class Traffic:
    """The client at work in its namespace, fetching from `target` ('ADDRESS:PORT')."""

    def __init__(
        self, namespace: str, target: str, pages: Iterable[str], *, rate: float, count: int = 0
    ) -> None:
        self.target = target
        self._requests: list[Request] = []
        wanted = [word for page in pages for word in ("--page", page)]
        limits = ["--rate", str(rate), "--count", str(count)]
        with namespaces.entered(namespace):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "trimaran.lab.client", target, *wanted, *limits],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Traffic":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def requests(self) -> list[Request]:
        """Everything that has ended so far."""
        return self._requests[:]

    def between(self, start: float, end: float) -> list[Request]:
        """The requests that started in the window."""
        return [each for each in self._requests[:] if start <= each.started_s <= end]

    def latest(self, count: int) -> list[Request]:
        """The last `count` requests to have ended."""
        return self._requests[-count:]

    def wait_end(self, timeout_s: float) -> list[Request]:
        """Wait until a client with a count has done its work."""
        self._process.wait(timeout_s)
        self._reader.join(END_S)
        return self.requests

    def stop(self) -> None:
        """Let the last requests end, then end the client. Idempotent."""
        self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(END_S)
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if len(self._requests) < MAX_REQUESTS:
                self._requests.append(read(line))


def wait_for_answers(traffic: Traffic, count: int, timeout_s: float) -> bool:
    """Wait until `count` more requests have ended well; False when time runs out."""
    start, deadline = time.monotonic(), time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if sum(each.ok for each in traffic.between(start, deadline)) >= count:
            return True
        time.sleep(0.02)
    return False
