"""Runs the probes: one task per check, their starts spread so that they never come in one burst."""

import asyncio
from collections.abc import Callable, Hashable, Mapping, Set
from dataclasses import dataclass
from typing import Generic, TypeVar

from trimaran.health.probes import tcp
from trimaran.health.settings import CheckSettings
from trimaran.health.verdict import Verdict, judge
from trimaran.system import clock

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class LastProbe:
    """One probe's outcome; `at` is monotonic, `error` empty when it was good."""

    at: float
    latency_s: float
    error: str


class Runner(Generic[Key]):
    """Watches what the keys stand for. `changed(key, verdict)` is called when one goes down or
    comes up; those in `down` were found so by an earlier process."""

    def __init__(
        self,
        checks: Mapping[Key, CheckSettings],
        changed: Callable[[Key, Verdict], None],
        down: Set[Key] = frozenset(),
    ) -> None:
        self._checks = dict(checks)
        self._changed = changed
        self.verdicts = {key: Verdict(up=key not in down) for key in checks}
        self.last: dict[Key, LastProbe] = {}

    async def run(self) -> None:
        """Probe until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for place, (key, check) in enumerate(self._checks.items()):
                spread = check.interval_s * place / len(self._checks)
                tasks.create_task(self._watch(key, check, spread))

    async def _watch(self, key: Key, check: CheckSettings, delay: float) -> None:
        due = clock.now() + delay
        while True:
            await asyncio.sleep(max(0.0, due - clock.now()))
            started = clock.now()
            error = await _error_of(check)
            ended = clock.now()
            self.last[key] = LastProbe(ended, ended - started, error or "")
            before = self.verdicts[key]
            verdict, wait = judge(check, before, error)
            self.verdicts[key] = verdict
            if verdict.up != before.up:
                self._changed(key, verdict)
            # From the start of the last one; a probe that took longer is followed at once.
            due = max(started + wait, ended)


async def _error_of(check: CheckSettings) -> str | None:
    try:
        await tcp.probe(check.address, check.port, check.timeout_s)
    except tcp.ProbeError as error:
        return str(error)
    return None
