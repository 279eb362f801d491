"""What is said of checks, wherever they are used: the same words for real servers and peers. Pure
but for `now`, which is an argument."""

from collections.abc import Iterable, Mapping
from typing import Any

from trimaran.health.runner import Watched
from trimaran.health.settings import CheckSettings, kind_of

Row = dict[str, Any]


def cause_of(flipped: CheckSettings, watched: Watched, checks: Mapping[str, CheckSettings]) -> str:
    """Why the one with these checks is what it is now; one of several checks is named."""
    named = ""
    if len(checks) > 1:
        named = next(name for name, each in checks.items() if each == flipped) + ": "
    verdict = watched.verdict
    if verdict.up:
        count = 1 if flipped.alpha and verdict.error == "" else flipped.rise
        return f"{named}{count} good probe{'s' * (count > 1)} in a row"
    times = 1 + flipped.retries
    return f"{named}{times} failed probe{'s' * (times > 1)} in a row: {verdict.error}"


def rows_of(
    checks: Mapping[str, CheckSettings], watched: Mapping[CheckSettings, Watched], now: float
) -> list[Row]:
    """The checks' part of `status` (docs/decisions/0002)."""
    return [_row(name, check, watched[check], now) for name, check in checks.items()]


def last_of(rows: Iterable[Row]) -> Row | None:
    """The last probe of all: a failed one before a good one."""
    probed = [row for row in rows if row["ago_s"] is not None]
    last = min(probed, key=lambda row: (row["ok"], row["ago_s"]), default=None)
    return last and {key: last[key] for key in ("ok", "ago_s", "latency_ms", "error")}


def _row(name: str, check: CheckSettings, watched: Watched, now: float) -> Row:
    last = watched.last
    return {
        "name": name,
        "kind": kind_of(check),
        "up": watched.verdict.up,
        "ok": last is not None and not last.error,
        "ago_s": last and round(now - last.at, 3),
        "latency_ms": last and round(last.latency_s * 1000, 3),
        "error": last.error if last else "",
        "last_error": watched.verdict.error,
        "suspended": watched.suspended,
    }
