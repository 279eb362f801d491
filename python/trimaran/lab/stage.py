"""What the demo's steps play on: the lab, its client, what is seen and shown, and what came out."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from trimaran.lab.cast import Cast
from trimaran.lab.lab import Lab, LabError
from trimaran.lab.traffic import Traffic, longest_gap
from trimaran.lab.view import View

POLL_S = 0.05
BEFORE_S = 0.5  # a gap begins with the last answer before the event


class StepFailedError(Exception):
    """Something is not as it must be; the message says what was expected and what was seen."""


@dataclass
class Step:
    """One step as it was played. `figures` are lines for people: what was measured and seen."""

    name: str
    start_s: float
    end_s: float = 0.0
    ok: bool = False
    error: str = ""
    requests: int = 0
    failed: int = 0
    figures: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    """Everything that came out of a demo. Times in milliseconds; None: not measured."""

    steps: list[Step] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)
    failover: dict[str, float | None] = field(
        default_factory=lambda: {"graceful_ms": None, "kill_ms": None, "link_cut_ms": None}
    )
    health: dict[str, float | None] = field(
        default_factory=lambda: {"removed_ms": None, "relisted_ms": None}
    )

    @property
    def ok(self) -> bool:
        """Every step held."""
        return bool(self.steps) and all(step.ok for step in self.steps)


class Screen(Protocol):
    """Who shows the demo; everything may be shown nowhere."""

    def begin(self, step: Step) -> None:
        """A step begins."""

    def say(self, text: str) -> None:
        """Something was done or seen."""

    def wait(self, text: str, since_s: float, at_most_s: float) -> None:
        """A wait has begun; '' when it is over."""

    def end(self, step: Step) -> None:
        """The step has ended."""


class Stage:
    """Handed to every step."""

    def __init__(self, lab: Lab, cast: Cast, view: View, screen: Screen) -> None:
        self.lab = lab
        self.cast = cast
        self.view = view
        self.screen = screen
        self.outcome = Outcome()
        self.clients: list[Traffic] = []

    @property
    def step(self) -> Step:
        """The step that is being played."""
        return self.outcome.steps[-1]

    @property
    def traffic(self) -> Traffic:
        """The client that is at work now."""
        return self.clients[-1]

    @contextmanager
    def playing(self, name: str) -> Iterator[None]:
        """A step: what goes wrong within is noted, and the demo goes on."""
        step = Step(name, time.monotonic())
        self.outcome.steps.append(step)
        self.screen.begin(step)
        try:
            yield
            step.ok = True
        except (StepFailedError, LabError) as error:
            step.error = str(error)
            self.screen.say(f"failed: {error}")
        finally:
            step.end_s = time.monotonic()
            self.count(step)
            self.screen.end(step)

    def restore(self) -> None:
        """Whatever a failed step left behind: cables are mended and daemons started, so that the
        next step is judged by its own doing."""
        for name in self.lab.topology.nodes:
            if self.lab.has_power(name) and self.lab.link(name) != "up":
                self.lab.heal(name)
            if self.lab.daemon(name) is None:
                self.lab.start(name)
        self.lab.wait_ready(list(self.lab.topology.nodes))
        for name in self.lab.topology.nodes:
            for role in self.lab.stopped_roles(name):
                self.lab.role(name, role, "start")

    def count(self, step: Step) -> None:
        """Requests that started within the step, and how many of them failed."""
        window = [
            each for client in self.clients for each in client.between(step.start_s, step.end_s)
        ]
        step.requests = len(window)
        step.failed = sum(not each.ok for each in window)

    def mark(self, text: str) -> float:
        """Note what is being done, for the report's time line; the time of it."""
        now = time.monotonic()
        self.outcome.marks.append((now, text))
        self.screen.say(text)
        return now

    def figure(self, text: str) -> None:
        """Note a result for people."""
        self.step.figures.append(text)
        self.screen.say(text)

    def expect(self, holds: bool, message: str) -> None:
        """Fail the step with `message` unless it holds."""
        if not holds:
            raise StepFailedError(message)

    def wait(self, text: str, condition: Callable[[], bool], at_most_s: float) -> float:
        """Wait until the condition holds; the time when it did. Fails the step after
        `at_most_s`."""
        start = time.monotonic()
        self.screen.wait(text, start, at_most_s)
        try:
            while not condition():
                if time.monotonic() - start > at_most_s:
                    raise StepFailedError(f"waited {at_most_s:.1f} s in vain for: {text}")
                time.sleep(POLL_S)
            return time.monotonic()
        finally:
            self.screen.wait("", start, at_most_s)

    def watch(self, seconds: float, text: str) -> tuple[float, float]:
        """Let the client go on for a while; the window, once its requests have all ended."""
        start = time.monotonic()
        end = start + seconds
        self.wait(text, lambda: time.monotonic() >= end, seconds + 1)
        self.settle(end)
        return start, end

    def settle(self, until_s: float) -> None:
        """Wait until every request that started before `until_s` has ended."""
        self.wait(
            "the last answers",
            lambda: (
                any(each.started_s > until_s for each in self.traffic.latest(20))
                and time.monotonic() > until_s + 1.1
            ),
            5.0,
        )

    def expect_no_failure(self, start: float, end: float, why: str) -> None:
        """Fail the step when a request of the window failed, or when there was none at all."""
        self.settle(end)
        window = self.traffic.between(start, end)
        failed = [each for each in window if not each.ok]
        self.expect(bool(window), f"{why}: the client sent nothing")
        if failed:
            first = failed[0]
            raise StepFailedError(
                f"{why}: {len(failed)} of {len(window)} requests failed, the first "
                f"{first.started_s - start:.2f} s after it: {first.error}"
            )

    def gap_ms(self, start: float, end: float) -> tuple[float, float]:
        """The longest time without a good answer in the window, in milliseconds, and when it
        ended."""
        self.settle(end)
        before, after = longest_gap(self.traffic.requests, start - BEFORE_S, end)
        return (after - before) * 1000, after
