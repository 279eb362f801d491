"""When each of many virtual routers wants to be woken."""

import heapq
import itertools
from collections.abc import Iterator

from trimaran.vrrp.router import Router


class Timers:
    """A heap of deadlines; one that was superseded is skipped when it comes up."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Router]] = []
        self._armed: dict[Router, float | None] = {}
        self._order = itertools.count()

    def arm(self, router: Router) -> None:
        """Take note of what it wants now. To be called after every input to it."""
        due = router.next_timeout()
        if self._armed.get(router) != due:
            self._armed[router] = due
            if due is not None:
                heapq.heappush(self._heap, (due, next(self._order), router))

    def next(self) -> float | None:
        """The earliest deadline."""
        heap = self._heap
        while heap and self._armed[heap[0][2]] != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def due(self, now: float) -> Iterator[Router]:
        """Every router whose time has come. It is to be armed again before the next is asked."""
        while (at := self.next()) is not None and at <= now:
            router = heapq.heappop(self._heap)[2]
            self._armed[router] = None
            yield router
