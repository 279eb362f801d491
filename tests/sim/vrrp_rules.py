"""What must hold in every simulated world, and the misfortunes that try to break it.

Always:
  * the kernel carries the address if and only if the router is MASTER, or leaves (priority 0 was
    sent) and has not heard its successor, or is a BACKUP that found the address of its killed
    predecessor and has not heard another master
  * who leaves holds it for the longest master-down time at most, and a lease is no longer than
    that in whole seconds, plus one: so a killed or frozen process has it no longer either
  * a master that was silent for longer than its peers wait does not speak as master
  * a rejected packet moves no timer and changes no state (asserted in vrrp_world.py)

Once the LAN is whole, and everybody on it alive:
  * never two holders for longer than one interval: the stronger one's advert ends it
  * never none for longer than three intervals and the longest skew
  * after ten intervals one master, who alone holds the address and whom every client believes; and
    from then on no change of mastership without a cause
A death is made good in time and by one take-over; a planned change leaves no moment without a
holder.
"""

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from vrrp_machine import Election, Machine, Member
from vrrp_world import LINK, LOAD, Wire, World

from trimaran.vrrp.table import State

HOLDS = (State.MASTER, State.RESIGNING)
LINGERS = (State.BACKUP, State.FAULT)
SETTLED = 10.0  # intervals
SLACK_S = 0.03  # delays on the whole LAN, clocks that run slow
DRIFT = 1.005


@contextmanager
def explained(world: World, seed: int) -> Iterator[None]:
    """A failure tells how to see it again, and what had happened."""
    try:
        yield
    except AssertionError as error:
        story = "\n".join(world.history[-120:])
        raise AssertionError(f"{story}\nTRIMARAN_SIM_SEED={seed}: {error}") from error


class Watch:
    """Holds the invariants while the world turns."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.whole_since: float | None = None
        self._two_since: dict[int, float] = {}
        self._none_since: dict[int, float] = {}

    def whole(self, since: float | None) -> None:
        """From when on everything is well; None: it is not."""
        self.whole_since = since
        self._two_since.clear()
        self._none_since.clear()

    def acted(self, member: Member) -> None:
        """Whatever was done, the kernel and the machine agree."""
        state, router = member.state, member.router
        if member.held != (state in HOLDS):
            kept = state in LINGERS and router is not None and router.lingering
            assert kept and member.held, f"{member} is {state}, held: {member.held}"
        if not (member.held and state in (State.RESIGNING, State.FAULT)):
            member.leaving_since = None
        elif member.leaving_since is None:
            member.leaving_since = member.machine.clock(self.world.now)

    def held_changed(self, election: Election) -> None:
        """Somebody took or lost the address, or time passed."""
        self._leaves_in_time(election)
        if self.whole_since is None:
            return
        holders, number = election.holders(), election.number
        interval_s, skew_s = election.interval_s, election.longest_skew_s
        self._began(self._two_since, number, len(holders) > 1, interval_s, holders)
        self._began(self._none_since, number, not holders, 3 * interval_s + skew_s, holders)

    def _began(
        self, since: dict[int, float], number: int, holds: bool, bound_s: float, who: list[Member]
    ) -> None:
        assert self.whole_since is not None
        now = self.world.now
        if number in since:
            lasted = now - max(since[number], self.whole_since)
            bound_s = bound_s * DRIFT + SLACK_S
            assert lasted <= bound_s, f"not one holder for {lasted:.3f} s, {who} at last"
        if holds:
            since.setdefault(number, now)
        else:
            since.pop(number, None)

    def _leaves_in_time(self, election: Election) -> None:
        for member in election.members:
            machine = member.machine
            busy = machine.reading or not machine.awake
            if member.leaving_since is not None and member.held and not busy:
                lasted = member.machine.clock(self.world.now) - member.leaving_since
                bound_s = election.down_s(0)
                assert lasted <= bound_s + 0.01, f"{member} leaves for {lasted:.3f} s"

    def leased(self, member: Member, lifetime_s: int) -> None:
        """How long the kernel would keep it without the process."""
        bound_s = math.ceil(member.election.down_s(0)) + 1
        assert lifetime_s <= bound_s, f"{member} leases the address for {lifetime_s} s"

    def spoke(self, member: Member, priority: int) -> None:
        """A master that was silent for master down does not speak as master."""
        now, election = member.machine.clock(self.world.now), member.election
        as_master = member.state is State.MASTER and priority > 0
        if member.spoke_at is not None and as_master:
            silent, bound_s = now - member.spoke_at, election.down_s(1)
            assert silent < bound_s, f"{member} speaks as master after {silent:.2f} s"
        member.spoke_at = now if as_master else None


# -- misfortunes


def misfortune(world: World, dice: random.Random, unit_s: float) -> None:
    """One bad thing happens to somebody, for up to eight units."""
    world.faults += 1
    machine = dice.choice(world.machines)
    dice.choice(_MISFORTUNES)(world, machine, dice.choice(machine.members), dice, unit_s)


def _crash(world: World, machine: Machine, *_: Any) -> None:
    world.crash(machine)


def _stop(world: World, machine: Machine, *_: Any) -> None:
    world.stop(machine)


def _start(world: World, machine: Machine, *_: Any) -> None:
    world.start(machine)


def _sleep(world: World, machine: Machine, _: Member, dice: random.Random, unit_s: float) -> None:
    world.sleep(machine)
    world.at(world.now + unit_s * dice.uniform(0.01, 8), world.wake, machine)


def _freeze(world: World, machine: Machine, _: Member, dice: random.Random, unit_s: float) -> None:
    world.freeze(machine)
    world.at(world.now + unit_s * dice.uniform(0.01, 8), world.wake, machine)


def _unplug(world: World, _: Machine, member: Member, dice: random.Random, unit_s: float) -> None:
    world.cut_carrier(member, True)
    world.at(world.now + unit_s * dice.uniform(0.01, 8), world.cut_carrier, member, False)


def _fail(world: World, _: Machine, member: Member, dice: random.Random, unit_s: float) -> None:
    track = dice.choice((LOAD, LINK))
    world.track(member, track, False)
    world.at(world.now + unit_s * dice.uniform(0.01, 8), world.track, member, track, True)


def _deaf(world: World, _: Machine, member: Member, *rest: Any) -> None:
    world.note(f"deaf {member}")
    world.wire.deaf.add(member)


def _dumb(world: World, _: Machine, member: Member, *rest: Any) -> None:
    world.note(f"dumb {member}")
    world.wire.dumb.add(member)


def _cut_off(world: World, machine: Machine, member: Member, *rest: Any) -> None:
    _deaf(world, machine, member)
    _dumb(world, machine, member)


def _sever(world: World, _: Machine, member: Member, dice: random.Random, __: float) -> None:
    """Two switches do not hear each other any more, or only one of them does."""
    lan, here = member.election.lan, member.segment
    for other in range(world.segments):
        if other != here:
            ways = dice.choice((((here, other),), ((other, here),), ((here, other), (other, here))))
            world.note(f"severed {ways}")
            world.wire.severed |= {(lan, *way) for way in ways}


_MISFORTUNES: tuple[Callable[..., None], ...] = (
    _crash, _stop, _start, _sleep, _freeze, _unplug, _fail, _deaf, _dumb, _cut_off, _sever,
)  # fmt: skip


def make_whole(world: World) -> None:
    """Everything is mended at once, and everybody runs."""
    world.note("everything is mended")
    world.wire = Wire()
    for machine in world.machines:
        world.wake(machine)
        for member in machine.members:
            world.cut_carrier(member, False)
            for track in (LOAD, LINK):
                world.track(member, track, True)
        world.start(machine)
