"""How a scheduler becomes a table: what user space decides of it, for the program to look up.

IPVS adds a new real server at the head of its list, so its orders run from the newest to the
oldest: ours run from the last of the configuration to the first.

| scheduler         | slots                                      | the program takes               |
|-------------------|--------------------------------------------|---------------------------------|
| rr wrr            | one cycle, in IPVS's order                 | the next one                    |
| fo ovf            | by falling weight                          | the first that may have it      |
| sh dh             | 256, as IPVS fills them                    | the client's (dh: the service's)|
| mh                | 4,093, as IPVS fills them (Maglev)         | the client's                    |
| the others        | every real server with a weight            | by the flows it has now         |

A cycle that needs more than MAX_SLOTS turns is not written out: its levels are (Interleaved).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice, pairwise
from math import gcd

from trimaran.director.settings import Scheduler

MAX_SLOTS = 65536
HASH_SLOTS = 256  # of sh and dh (IP_VS_SH_TAB_BITS, IP_VS_DH_TAB_BITS)
MAGLEV_SLOTS = 4093  # of mh (CONFIG_IP_VS_MH_TAB_INDEX 12)
MAGLEV_BITS = 6  # a turn's weight has no more


@dataclass(frozen=True)
class Member:
    """A real server as its scheduler sees it. `last_weight` is the last one above 0: mh leaves the
    slots of a real server that drains in place."""

    real: int
    address: str
    port: int
    weight: int
    last_weight: int


@dataclass(frozen=True)
class Level:
    """Of an interleaved cycle: up to turn `end` those with at least `weight` take turns, `count`
    of them."""

    end: int
    weight: int
    count: int


@dataclass(frozen=True)
class Slots:
    """A table as it stands in the kernel; `levels` only where the cycle is interleaved there."""

    reals: tuple[int, ...] = ()
    levels: tuple[Level, ...] = ()


@dataclass(frozen=True)
class Maglev:
    """A table of mh, which the native module fills: (real, address, port, turns), newest first."""

    members: tuple[tuple[int, str, int, int], ...] = field(default=())

    @property
    def reals(self) -> tuple[int, ...]:
        """Whom it may name."""
        return tuple(real for real, _, _, turns in self.members if turns)


Table = Slots | Maglev


def table_of(scheduler: Scheduler, members: Sequence[Member]) -> Table:
    """The table of a service over its real servers, in the order of the configuration."""
    newest_first = [*reversed(members)]
    if scheduler == "mh":
        return _maglev(newest_first)
    if scheduler == "sh":
        return Slots(_filled([(each.real, max(each.weight, 1)) for each in newest_first]))
    if scheduler == "dh":
        return Slots(_filled([(each.real, 1) for each in newest_first]))
    weighted = [(each.real, each.weight) for each in newest_first if each.weight > 0]
    if scheduler == "wrr":
        return _interleaved(weighted)
    if scheduler in ("fo", "ovf"):  # of equals the newest is first: sorted() is stable
        weighted.sort(key=lambda each: -each[1])
    return Slots(tuple(real for real, _ in weighted))


def _filled(turns: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """Each real server for its number of slots, round and round. IPVS gives one with weight 0 a
    slot as well, and refuses what falls on it."""
    once = [real for real, count in turns for _ in range(min(count, HASH_SLOTS))]
    return tuple(islice(cycle(once), HASH_SLOTS)) if once else ()


def _maglev(newest_first: Sequence[Member]) -> Maglev:
    weights = [each.last_weight for each in newest_first]
    step = gcd(*weights) if weights else 0
    if step == 0:
        return Maglev()
    shift = max((max(weights) // step).bit_length() - MAGLEV_BITS, 0)
    return Maglev(
        tuple(
            (each.real, each.address, each.port, _turns(each.last_weight // step, shift))
            for each in newest_first
        )
    )


def _turns(weight: int, shift: int) -> int:
    return weight >> shift or int(weight > 0)


def _interleaved(weighted: Sequence[tuple[int, int]]) -> Slots:
    """ip_vs_wrr: a threshold falls from the greatest weight by the weights' divisor; at each step
    everyone who reaches it takes a turn."""
    if not weighted:
        return Slots()
    step = gcd(*(weight for _, weight in weighted))
    if sum(weight for _, weight in weighted) // step > MAX_SLOTS:
        return Slots(tuple(real for real, _ in weighted), _levels(weighted, step))
    greatest = max(weight for _, weight in weighted)
    return Slots(
        tuple(
            real
            for threshold in range(greatest, 0, -step)
            for real, weight in weighted
            if weight >= threshold
        )
    )


def _levels(weighted: Sequence[tuple[int, int]], step: int) -> tuple[Level, ...]:
    """While the threshold falls from one weight that occurs to the next, the same ones reach it."""
    falling = sorted((weight for _, weight in weighted), reverse=True)
    levels: list[Level] = []
    end = 0
    for count, (weight, below) in enumerate(pairwise([*falling, 0]), 1):
        if weight > below:
            end += count * (weight - below) // step
            levels.append(Level(end, weight, count))
    return tuple(levels)
