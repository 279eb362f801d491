"""When a real server counts as down, and when as up again: keepalived's rules.

| is | probe | then | next probe after |
|---|---|---|---|
| up | good | up | interval |
| up | failed, fewer than 1 + retries in a row | up | retry_delay |
| up | failed, 1 + retries in a row | down | interval |
| down | failed | down | interval |
| down | good, fewer than rise in a row | down | interval |
| down | good, rise in a row | up | interval |

A real server starts up, as keepalived's does (without `alpha`).
"""

from dataclasses import dataclass, replace

from trimaran.health.settings import CheckSettings


@dataclass(frozen=True)
class Verdict:
    """What is thought of one real server. `run` counts the probes in a row that speak against
    `up`; `error` is the last failed probe's."""

    up: bool = True
    run: int = 0
    error: str = ""


def judge(check: CheckSettings, verdict: Verdict, error: str | None) -> tuple[Verdict, float]:
    """The verdict after one more probe (`error` None: it was good), and the seconds until the
    next."""
    good = error is None
    last = verdict.error if error is None else error
    if good == verdict.up:
        return replace(verdict, run=0, error=last), check.interval_s
    run = verdict.run + 1
    if run >= (check.rise if good else 1 + check.retries):
        return Verdict(good, 0, last), check.interval_s
    delay = check.interval_s if good else check.retry_delay_s
    return Verdict(verdict.up, run, last), delay
