"""Machines with virtual routers, and clients, on one or two simulated LANs, all from one seed.

The routers are the real ones, the adverts real bytes. Simulated are time, the wire (loss, delay,
duplication, reordering, damage, one-way cuts between members and between switches), clocks that
run fast or slow, processes that crash or sleep, machines that freeze, and the kernel's side of it:
an address lives until its lease ends, whoever put it there.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from vrrp_machine import Election, Machine, Member

from trimaran.vrrp.effects import (
    Announce,
    Effect,
    Event,
    HoldAddresses,
    RemoveAddresses,
    SendAdvert,
)
from trimaran.vrrp.packet import Advert, Rejection
from trimaran.vrrp.router import Router
from trimaran.vrrp.settings import RouterSettings, Track
from trimaran.vrrp.table import State

LOAD = Track("watch", "load", -60)  # failing, it lowers the priority
LINK = Track("interface", "uplink")  # failing, it is a fault


@dataclass
class Wire:
    """How bad the LANs are. Delays in seconds. Who is in `deaf` hears nothing, who is in `dumb` is
    not heard; `severed` are (from, to) switches of one LAN."""

    loss: float = 0.0
    duplication: float = 0.0
    delay: tuple[float, float] = (0.0001, 0.001)
    corruption: float = 0.0
    spike: float = 0.0  # how often a packet is held up for as long as `spike_s`
    spike_s: float = 0.0
    deaf: set[Member] = field(default_factory=set)
    dumb: set[Member] = field(default_factory=set)
    severed: set[tuple[int, int, int]] = field(default_factory=set)  # LAN, from, to


class Rules(Protocol):
    """Who looks on (vrrp_rules.py)."""

    def acted(self, member: Member) -> None: ...
    def held_changed(self, election: Election) -> None: ...
    def leased(self, member: Member, lifetime_s: int) -> None: ...
    def spoke(self, member: Member, priority: int) -> None: ...


class Onlooker:
    """Minds nothing."""

    def acted(self, member: Member) -> None:
        pass

    held_changed = acted

    def leased(self, member: Member, lifetime_s: int) -> None:
        pass

    spoke = leased


class World:
    """Runs everything. `dialogue` writes every input down, too, not only what became of it."""

    def __init__(self, seed: int, dialogue: bool = False) -> None:
        self.random = random.Random(seed)
        self.dialogue = dialogue
        self.rules: Rules = Onlooker()
        self.wire = Wire()
        self.now = 0.0
        self.elections: list[Election] = []
        self.machines: list[Machine] = []
        self.segments = 1
        self.history: list[str] = []
        self.adverts = self.rejected = self.faults = 0
        self._lans: dict[int, list[Member]] = {}
        self._queue: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()

    # -- building it

    def elect(self, version: int = 2, interval_s: float = 1.0, lan: int = 0) -> Election:
        """One more virtual router."""
        election = Election(len(self.elections), lan, version, interval_s)
        self.elections.append(election)
        return election

    def machine(self) -> Machine:
        """One more machine, whose clock is its own."""
        drift, epoch = self.random.uniform(0.998, 1.002), self.random.uniform(0, 1e6)
        self.machines.append(Machine(len(self.machines), drift, epoch))
        return self.machines[-1]

    def join(
        self, machine: Machine, election: Election, priority: int, segment: int, **changes: object
    ) -> Member:
        """The machine stands for that election, on that switch."""
        settings = RouterSettings(
            f"front{election.lan}", 10, "ens33", priority, (election.vip,),
            version=election.version, advert_interval_s=election.interval_s,
            tracks=(LOAD, LINK), **changes,
        )  # type: ignore[arg-type]  # fmt: skip
        member = Member(machine, election, settings, segment)
        machine.members.append(member)
        election.members.append(member)
        self._lans.setdefault(election.lan, []).append(member)
        return member

    # -- what a scenario does

    def start(self, machine: Machine) -> None:
        """Start the process."""
        if not machine.running and machine.frozen_since is None:
            self.note(f"start {machine.number}")
            machine.begin(self.now)
            self._act(machine)

    def crash(self, machine: Machine) -> None:
        """kill -9: the address stays until its lease ends."""
        self.note(f"crash {machine.number}")
        machine.end()

    def stop(self, machine: Machine) -> None:
        """Told to stop gracefully."""
        self.note(f"stop {machine.number}")
        self.tell(machine, lambda router: router.stop(machine.clock(self.now)))

    def sleep(self, machine: Machine) -> None:
        """The process is not scheduled any more."""
        self.note(f"sleep {machine.number}")
        machine.awake = False

    def freeze(self, machine: Machine) -> None:
        """The hypervisor holds the whole machine, clock and all."""
        self.note(f"freeze {machine.number}")
        machine.awake = False
        if machine.frozen_since is None:
            machine.frozen_since = self.now

    def wake(self, machine: Machine) -> None:
        """It is scheduled again: it reads what waited, then looks at its timers."""
        if machine.awake:
            return
        self.note(f"wake {machine.number}")
        if machine.frozen_since is not None:
            lost = self.now - machine.frozen_since
            machine.epoch -= lost * machine.drift
            machine.frozen_since = None
            for member in machine.members:
                member.lease_ends += lost if member.held else 0
        machine.awake = machine.reading = True
        waiting, machine.waiting = machine.waiting, []
        for what, arguments in waiting:
            what(*arguments)
        machine.reading = False
        self.tell(machine, lambda router: router.timeout(machine.clock(self.now)))
        for member in machine.members:
            if member.router:
                self.rules.acted(member)

    def cut_carrier(self, member: Member, cut: bool) -> None:
        """The interface loses its carrier, or gets it back."""
        if member.carrier is not cut:
            return
        self.note(f"{'cut' if cut else 'heal'} {member}")
        member.carrier = not cut
        source = None if cut else member.address
        clock = member.machine.clock
        self._give(
            member,
            lambda router: router.set_interface(source, "no carrier", clock(self.now)),
        )

    def track(self, member: Member, track: Track, well: bool) -> None:
        """What a tracker of its finds."""
        self.note(f"{member}: {track.name} is {'well' if well else 'failing'}")
        clock = member.machine.clock
        cause = "well" if well else "failing"
        self._give(member, lambda router: router.set_track(track, well, cause, clock(self.now)))

    def tell(self, machine: Machine, what: Callable[[Router], None]) -> None:
        """Every router of that machine."""
        for member in machine.members:
            self._give(member, what)

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end, queue = self.now + seconds, self._queue
        while queue and queue[0][0] <= end:
            self.now, _, step, arguments = heapq.heappop(queue)
            step(*arguments)
        self.now = end
        for election in self.elections:
            self.rules.held_changed(election)

    def at(self, when: float, step: Callable[..., None], *arguments: Any) -> None:
        """Do `step` then."""
        heapq.heappush(self._queue, (when, next(self._order), step, arguments))

    def note(self, what: str) -> None:
        """Part of the story."""
        self.history.append(f"{self.now:10.3f} {what}")

    # -- how it works

    def _give(self, member: Member, what: Callable[[Router], None]) -> None:
        if not member.machine.awake:
            member.machine.waiting.append((self._give, (member, what)))
        elif member.router is not None:
            what(member.router)
            self._act(member.machine)

    def _act(self, machine: Machine) -> None:
        """As the vrrp process does it: the group first, then every effect, then the timers."""
        if machine.group is not None:
            machine.group.settle(machine.clock(self.now))
        for member in machine.members:
            router = member.router
            if router is None:
                continue
            for effect in router.take_effects():
                self._perform(member, effect)
            if router.state is State.STOPPED:
                member.router = member.armed = member.leaving_since = None
            else:
                self._arm(member)
            if not machine.reading:
                self.rules.acted(member)

    def _arm(self, member: Member) -> None:
        assert member.router is not None
        due = member.router.next_timeout()
        if due == member.armed:
            return
        member.armed = due
        if due is not None:
            self.at(max(self.now, member.machine.due(due)), self._fire, member, due)

    def _fire(self, member: Member, due: float) -> None:
        machine, router = member.machine, member.router
        if router is None or member.armed != due:
            return
        if not machine.awake:
            member.armed = None  # it is looked at, and armed again, when the machine wakes
            return
        now = machine.clock(self.now)
        if now < due - 1e-6:  # the clock stood still meanwhile
            self.at(machine.due(due), self._fire, member, due)
            return
        if self.dialogue:
            self.note(f"{member} timer")
        router.timeout(max(now, due))
        member.armed = None
        self._act(machine)

    def _perform(self, member: Member, effect: Effect) -> None:
        if isinstance(effect, SendAdvert):
            self.adverts += 1
            self.rules.spoke(member, effect.priority)
            self._multicast(member, effect.priority)
        elif isinstance(effect, HoldAddresses):
            self.rules.leased(member, effect.lifetime_s)
            member.lease_ends = self.now + effect.lifetime_s
            if not member.lease_watched:
                member.lease_watched = True
                self.at(member.lease_ends, self._expire, member)
            self._hold(member, True)
        elif isinstance(effect, RemoveAddresses):
            member.spoke_at = None
            self._hold(member, False)
        elif isinstance(effect, Announce):
            for segment in range(self.segments):
                if self._passes(member, segment):
                    self._transmit(self._hear_arp, segment, member)
        elif isinstance(effect, Event) and effect.name == "vrrp.transition":
            member.election.masterships += effect.data["to"] == "MASTER"
            self.note(f"{member} {effect.message} ({effect.cause})")

    def _hold(self, member: Member, held: bool) -> None:
        if member.held is not held:
            member.held = held
            self.rules.held_changed(member.election)

    def _expire(self, member: Member) -> None:
        member.lease_watched = False
        if not member.held:
            return
        if member.machine.frozen_since is not None or member.lease_ends > self.now:
            member.lease_watched = True
            self.at(max(member.lease_ends, self.now + 0.5), self._expire, member)
            return
        self.note(f"{member}'s lease is over")
        self._hold(member, False)

    # -- the wire

    def _passes(self, sender: Member, segment: int) -> bool:
        if not sender.carrier or sender in self.wire.dumb:
            return False
        return (sender.election.lan, sender.segment, segment) not in self.wire.severed

    def _multicast(self, sender: Member, priority: int) -> None:
        wire, dice = self.wire, self.random
        if self.dialogue:
            self.note(f"{sender} → priority {priority}")
        for other in self._lans[sender.election.lan]:
            if other is sender or other in wire.deaf or not self._passes(sender, other.segment):
                continue
            flip = None
            if wire.corruption and dice.random() < wire.corruption:
                flip = dice.randrange(1000), dice.randrange(1, 256)
            self._transmit(self._arrive, sender, other, other.understand(sender, priority, flip))

    def _transmit(self, arrive: Callable[..., None], *arguments: Any) -> None:
        wire, dice = self.wire, self.random
        if wire.loss and dice.random() < wire.loss:
            return
        copies = 2 if wire.duplication and dice.random() < wire.duplication else 1
        least, most = wire.delay
        for _ in range(copies):
            delay = least + dice.random() * (most - least)
            if wire.spike and dice.random() < wire.spike:
                delay += dice.random() * wire.spike_s
            self.at(self.now + delay, arrive, *arguments)

    def _arrive(self, sender: Member, to: Member, told: Advert | Rejection) -> None:
        if not to.carrier:
            return
        if not to.machine.awake:
            to.machine.waiting.append((self._arrive, (sender, to, told)))
        elif to.router is not None:
            if self.dialogue:
                what = told.name if isinstance(told, Rejection) else told.priority
                self.note(f"{to} hears {sender}: {what}")
            now = to.machine.clock(self.now)
            if isinstance(told, Rejection):
                self._reject(to, to.router, told, sender)
            else:
                to.router.receive(told, sender.address, now)
            self._act(to.machine)

    def _reject(self, to: Member, router: Router, reason: Rejection, sender: Member) -> None:
        """Invariant: a rejected packet moves no timer and changes no state."""
        before = router.state, router.next_timeout(), router.master
        router.reject(reason, sender.address, to.machine.clock(self.now))
        after = router.state, router.next_timeout(), router.master
        assert before == after, f"{reason} turned {before} into {after}"
        self.rejected += 1

    def _hear_arp(self, segment: int, member: Member) -> None:
        member.election.client_arp[segment] = member
