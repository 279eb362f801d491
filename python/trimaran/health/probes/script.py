"""Well when a program exits with 0."""

from trimaran.health.probes.errors import ProbeError
from trimaran.health.settings import CheckSettings, ScriptProbe
from trimaran.health.verdict import Outcome
from trimaran.system import scripts


async def probe(check: CheckSettings, asked: ScriptProbe) -> Outcome:
    """Run it; the timeout ends its process group. Exit status 2-255 of a dynamic one is well too,
    with a weight of two less. Raises ProbeError."""
    try:
        status = await scripts.run(asked.command, asked.user)
    except scripts.ScriptError as error:
        raise ProbeError(str(error)) from error
    if status == 0:
        return Outcome()
    if asked.dynamic and status > 1:
        return Outcome(weight=status - 2)
    raise ProbeError(scripts.exit_words(status))
