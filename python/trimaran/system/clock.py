"""Time. The only place that reads a clock; every other room is told."""

import time
from datetime import UTC, datetime


def now() -> float:
    """Seconds on the monotonic clock: for every decision."""
    return time.monotonic()


def wall() -> str:
    """Now as ISO 8601 in UTC with milliseconds: for people only, never for a decision."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def time_of_day() -> float:
    """Seconds since 1970, which may jump: only for what other machines compare with theirs."""
    return time.time()
