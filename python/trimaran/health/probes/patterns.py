"""Regular expressions over bodies, for a bounded time."""

from functools import lru_cache

import regex

from trimaran.health.probes.errors import ProbeError
from trimaran.health.settings import Regex
from trimaran.stack.patterns import compile_pattern

LONGEST_S = 0.1  # of one search: it holds up every other probe

_compiled = lru_cache(maxsize=4096)(compile_pattern)


def found(asked: Regex, body: bytes) -> bool:
    """Whether the pattern is found, from `min_offset` on and beginning before `max_offset`. Raises
    ProbeError where the search takes too long."""
    pattern: regex.Pattern[bytes] = _compiled(asked.pattern, asked.options)
    try:
        match = pattern.search(body, asked.min_offset, timeout=LONGEST_S)
    except TimeoutError:
        limit = f"{LONGEST_S * 1000:g} ms"
        raise ProbeError(f"searching for '{asked.pattern}' took more than {limit}") from None
    return match is not None and (asked.max_offset is None or match.start() < asked.max_offset)
