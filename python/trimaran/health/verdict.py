"""When a check counts as failed, and when as good again: keepalived's rules, and rise.

| is | probe | then | next probe after |
|---|---|---|---|
| up | good | up | interval |
| up | failed, fewer than 1 + retries in a row | up | retry_delay |
| up | failed, 1 + retries in a row | down | interval |
| down | failed | down | interval |
| down | good, fewer than rise in a row | down | interval |
| down | good, rise in a row | up | interval |

A check starts up, as keepalived's does; with `alpha` it starts down, and one good probe is enough
for the first time.
"""

from dataclasses import dataclass, replace

from trimaran.health.settings import CheckSettings


@dataclass(frozen=True)
class Outcome:
    """What a good probe brought: nothing more, or a weight (a script's, in place of the configured
    one), or a change of it (a file's)."""

    weight: int | None = None
    change: int = 0


@dataclass(frozen=True)
class Verdict:
    """What is thought of one check. `run` counts the probes in a row that speak against `up`;
    `error` is the last failed probe's; `probed`: there was one."""

    up: bool = True
    run: int = 0
    error: str = ""
    probed: bool = False


def judge(check: CheckSettings, verdict: Verdict, error: str | None) -> tuple[Verdict, float]:
    """The verdict after one more probe (`error` None: it was good), and the seconds until the
    next."""
    good = error is None
    last = verdict.error if error is None else error
    if good == verdict.up:
        return replace(verdict, run=0, error=last, probed=True), check.interval_s
    run = verdict.run + 1
    first = check.alpha and not verdict.probed
    if run >= (1 if good and first else check.rise if good else 1 + check.retries):
        return Verdict(good, 0, last, True), check.interval_s
    delay = check.interval_s if good else check.retry_delay_s
    return Verdict(verdict.up, run, last, True), delay
