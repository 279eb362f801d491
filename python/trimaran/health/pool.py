"""What the health of real servers makes of a virtual service: quorum, sorry server, weights. Pure.

The quorum, of the weights of those who are well (keepalived's rules):

| has quorum | weight of the well | then |
|---|---|---|
| no | at least quorum + hysteresis | gained |
| yes | 0, or less than quorum - hysteresis | lost |

A real server's place:

| well | without quorum, and a sorry server is there | inhibit_on_failure | then |
|---|---|---|---|
| yes | no | | in the table with its weight |
| yes | yes | | weight 0: its flows go on, no new one comes |
| no | | yes | weight 0 |
| no | | no | out of the table |

The sorry server is in the table with its weight while there is no quorum; else it is out, or has
weight 0 (`sorry_server_inhibit`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from trimaran.health.settings import PoolSettings
from trimaran.health.verdict import Outcome

MAX_WEIGHT = 65535


@dataclass(frozen=True)
class Member:
    """A real server as the rules see it; `weight` is its present one."""

    well: bool
    weight: int
    inhibit: bool = False


@dataclass(frozen=True)
class Place:
    """In the table (`listed`) with a weight, or not."""

    listed: bool
    weight: int


@dataclass(frozen=True)
class Standing:
    """Whether there is a quorum, the `weight` of the well ones, the members' places in their order,
    and the sorry server's."""

    quorum: bool
    weight: int
    places: tuple[Place, ...]
    sorry: Place


def stand(
    rules: PoolSettings,
    members: Sequence[Member],
    quorum_before: bool,
    sorry_weight: int | None = None,
) -> Standing:
    """How a service stands. `sorry_weight` None: it has no sorry server."""
    weight = sum(member.weight for member in members if member.well)
    if quorum_before:
        quorum = weight > 0 and weight >= rules.quorum - rules.hysteresis
    else:
        quorum = weight >= rules.quorum + rules.hysteresis
    relieved = not quorum and sorry_weight is not None
    places = tuple(_place(member, relieved) for member in members)
    listed = relieved or (sorry_weight is not None and rules.sorry_inhibit)
    return Standing(quorum, weight, places, Place(listed, (sorry_weight or 0) if relieved else 0))


def _place(member: Member, relieved: bool) -> Place:
    if member.well:
        return Place(True, 0 if relieved else member.weight)
    return Place(member.inhibit, 0 if member.inhibit else member.weight)


def weight_of(configured: int, outcomes: Iterable[Outcome]) -> int:
    """The weight that the checks' outcomes make of the configured one: each that names one, or
    changes it, adds its difference (keepalived's misc_dynamic and FILE_CHECK)."""
    total = configured
    for outcome in outcomes:
        total += outcome.change
        if outcome.weight is not None:
            total += outcome.weight - configured
    return min(MAX_WEIGHT, max(0, total))


def slow_start(weight: int, up_for_s: float, slow_start_s: float) -> int:
    """The share of its weight that a real server has, `up_for_s` after it came back: it grows
    evenly, and is never 0."""
    if weight == 0 or up_for_s >= slow_start_s:
        return weight
    return max(1, ceil(weight * up_for_s / slow_start_s))
