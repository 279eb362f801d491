"""Well when the number in a file is 0, or weighs."""

import re

from trimaran.health.probes.errors import ProbeError, explained
from trimaran.health.settings import CheckSettings, FileProbe
from trimaran.health.verdict import Outcome
from trimaran.system.files import beginning

LONGEST = 64  # bytes


async def probe(check: CheckSettings, asked: FileProbe) -> Outcome:
    """Read it; a number times the weight below -253 is a failure. Raises ProbeError."""
    try:
        text = beginning(asked.path, LONGEST).decode(errors="replace")
    except OSError as error:
        raise explained(error) from error
    match = re.match(r"\s*([-+]?[0-9]{1,10})(\s|$)", text)
    if match is None:
        raise ProbeError(f"'{asked.path}' holds no number: '{text.strip()[:20]}'")
    value = int(match[1])
    if asked.weight is None:
        if value:
            raise ProbeError(f"'{asked.path}' holds {value}, not 0")
        return Outcome()
    change = value * asked.weight
    if change < -253:
        raise ProbeError(f"'{asked.path}' holds {value}: {change} is below -253")
    return Outcome(change=change)
