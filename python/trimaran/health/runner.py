"""Runs the probes: one task per check, their starts spread so that they never come in one burst."""

import asyncio
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field

from trimaran.health.probes import ask
from trimaran.health.probes.errors import ProbeError
from trimaran.health.settings import CheckSettings
from trimaran.health.verdict import Outcome, Verdict, judge
from trimaran.system import clock


@dataclass(frozen=True)
class LastProbe:
    """One probe's outcome; `at` is monotonic, `error` empty when it was good."""

    at: float
    latency_s: float
    error: str


@dataclass
class Watched:
    """What is known of one check; `outcome` is the last good probe's. While it is `suspended`
    nobody probes, and what is known stays."""

    verdict: Verdict
    last: LastProbe | None = None
    outcome: Outcome = field(default_factory=Outcome)
    suspended: bool = False


class Runner:
    """Watches checks, each once however many real servers share it. `changed(check)` is called when
    one goes down or comes up, or brings another weight; `failed(check, error)` at every failed
    probe. Those in `down` were found so by an earlier process."""

    def __init__(
        self,
        checks: Iterable[CheckSettings],
        changed: Callable[[CheckSettings], None],
        down: Set[CheckSettings] = frozenset(),
        failed: Callable[[CheckSettings, str], None] = lambda check, error: None,
    ) -> None:
        self.watched: dict[CheckSettings, Watched] = {}
        self._changed = changed
        self._failed = failed
        self._tasks: dict[CheckSettings, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self.watch(checks, down)

    def watch(
        self, checks: Iterable[CheckSettings], down: Set[CheckSettings] = frozenset()
    ) -> None:
        """Watch these from now on, and no others; what is known of those that stay, stays."""
        before = self.watched
        self.watched = {
            check: before.get(check) or Watched(Verdict(up=check not in down and not check.alpha))
            for check in dict.fromkeys(checks)
        }
        for check in before.keys() - self.watched.keys():
            if task := self._tasks.pop(check, None):
                task.cancel()
        self._start()

    async def run(self) -> None:
        """Probe until cancelled, also when there is nothing to watch yet."""
        try:
            async with asyncio.TaskGroup() as self._group:
                self._start()
                await asyncio.Event().wait()
        finally:
            self._group = None
            self._tasks.clear()

    def _start(self) -> None:
        if self._group is None:
            return
        fresh = [check for check in self.watched if check not in self._tasks]
        for place, check in enumerate(fresh):
            delay = first_delay(check, place, len(fresh))
            work = self._watch(check, self.watched[check], delay)
            self._tasks[check] = self._group.create_task(work)

    async def _watch(self, check: CheckSettings, watched: Watched, delay: float) -> None:
        due = clock.now() + delay
        while True:
            await asyncio.sleep(max(0.0, due - clock.now()))
            started = clock.now()
            if watched.suspended:
                due = max(due + check.interval_s, started)
                continue
            outcome, error = await _probe(check)
            ended = clock.now()
            watched.last = LastProbe(ended, ended - started, error or "")
            before = (watched.verdict.up, watched.outcome)
            watched.verdict, wait = judge(check, watched.verdict, error)
            watched.outcome = outcome or watched.outcome
            if error is not None:
                self._failed(check, error)
            if (watched.verdict.up, watched.outcome) != before:
                self._changed(check)
            # From when it was due, so that the checks stay spread; late ones follow at once.
            due = max(due + wait, ended)


def first_delay(check: CheckSettings, place: int, count: int) -> float:
    """Seconds until the first probe of one of `count` checks: evenly over `warmup`, or over the
    interval, after which it all begins again."""
    return (check.interval_s if check.warmup_s is None else check.warmup_s) * place / count


async def _probe(check: CheckSettings) -> tuple[Outcome | None, str | None]:
    try:
        return await ask(check), None
    except ProbeError as error:
        return None, str(error)
