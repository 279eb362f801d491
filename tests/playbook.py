"""A test of a pure machine reads as a dialogue: what the world did, and what it must answer.

    play(machine, [
        (0.0, lambda m, now: m.start(now), [Event(...)]),
        ...
    ])

A failure prints the whole exchange so far, `>>` for the world and `<<` for the machine.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Machine(Protocol):
    def take_effects(self) -> list[Any]: ...
    def timeout(self, now: float) -> None: ...
    def next_timeout(self) -> float | None: ...


class Playbook:
    """Drives one machine through a dialogue. `ignore` are effect types that no line speaks of."""

    def __init__(self, machine: Machine, ignore: tuple[type, ...] = ()) -> None:
        self.machine = machine
        self.now = 0.0
        self._ignore = ignore
        self._said: list[str] = []

    def tell(self, at: float, what: str, act: Callable[[float], None], *answer: Any) -> None:
        """At `at` the world does `act`; exactly `answer` must come back. Timers due before `at`
        must have been played with `wait`: a forgotten one is a failure."""
        due = self.machine.next_timeout()
        if due is not None and due < at:
            self._fail(f"a timer was due at {due:.3f}, before {what} at {at:.3f}")
        self._play(at, what, act, answer)

    def wait(self, until: float, *answer: Any) -> None:
        """The next timer fires, and it does so at `until`."""
        due = self.machine.next_timeout()
        if due is None or abs(due - until) > 1e-9:
            self._fail(f"the next timer is at {due}, not at {until}")
        self._play(until, "timer", self.machine.timeout, answer)

    def _play(
        self, at: float, what: str, act: Callable[[float], None], answer: Sequence[Any]
    ) -> None:
        self.now = at
        act(at)
        effects = [e for e in self.machine.take_effects() if not isinstance(e, self._ignore)]
        self._said.append(f"{at:8.3f} >> {what}")
        self._said += [f"         << {effect}" for effect in effects]
        if effects != list(answer):
            wanted = (
                "\n".join(f"         -- {effect}" for effect in answer) or "         -- nothing"
            )
            self._fail(f"the answer should have been\n{wanted}")

    def _fail(self, why: str) -> None:
        raise AssertionError("\n".join(["", *self._said, why]))
