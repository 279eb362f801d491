import time
from collections.abc import Callable, Iterator

import pytest
from http_wire import PATIENCE_S, Backend, Proxy, Script

from trimaran.stack.http import Http


@pytest.fixture
def backend() -> Iterator[Callable[..., Backend]]:
    """Makes backends; they end with the test."""
    made: list[Backend] = []

    def make(script: Script | None = None) -> Backend:
        made.append(Backend(script) if script else Backend())
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def proxy() -> Iterator[Callable[..., Proxy]]:
    """Makes proxies; they end with the test, and none may have met a panic."""
    made: list[Proxy] = []

    def make(http: Callable[[int], Http], workers: int = 1) -> Proxy:
        made.append(Proxy(http, workers))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Waits until a condition holds; fails when it never does."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "it never became true"
            time.sleep(0.005)

    return wait
