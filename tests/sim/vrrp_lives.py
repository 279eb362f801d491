"""One life of some virtual routers: chaos and rest, twice; a death; and a planned farewell."""

import math
import random
from dataclasses import dataclass

from vrrp_machine import Election, Member
from vrrp_rules import DRIFT, SETTLED, SLACK_S, Watch, explained, make_whole, misfortune
from vrrp_world import LINK, LOAD, Wire, World

PRIORITIES = (1, 50, 100, 101, 150, 254)


@dataclass
class Tally:
    """What happened in many lives: a life in which nothing happens proves nothing."""

    lives: int = 0
    masterships: int = 0
    rejected: int = 0
    least_intervals: float = math.inf
    least_faults: int = 1000

    def add(self, other: "Tally") -> None:
        """Those lives, too."""
        self.lives += other.lives
        self.masterships += other.masterships
        self.rejected += other.rejected
        self.least_intervals = min(self.least_intervals, other.least_intervals)
        self.least_faults = min(self.least_faults, other.least_faults)


def live(seed: int, dialogue: bool = False) -> Tally:
    """One life. Raises AssertionError with its story, every input of it."""
    world = World(seed, dialogue)
    try:
        with explained(world, seed):
            Life(world, random.Random(seed)).live()
    except AssertionError:
        if not dialogue:
            live(seed, dialogue=True)
        raise
    except Exception as error:  # a bug, not a broken rule; it comes out of another process
        error.add_note(f"TRIMARAN_SIM_SEED={seed}")
        raise
    slowest = max(election.interval_s for election in world.elections)
    masterships = sum(election.masterships for election in world.elections)
    return Tally(1, masterships, world.rejected, world.now / slowest, world.faults)


def live_many(seeds: range) -> Tally:
    """Each of these lives."""
    tally = Tally()
    for seed in seeds:
        tally.add(live(seed))
    return tally


class Life:
    """A world of one of three kinds: one virtual router; two that share LAN and router id, one of
    each version, neither of which may disturb the other; or one on each of two LANs, in a group."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self.world, self.dice = world, dice
        self.version = dice.choice((2, 3))
        kind = dice.choices(("one", "mixed", "group"), (6, 2, 2))[0]
        faster = (1.0, 2.0) if kind == "mixed" else (0.01, 0.1, 0.5, 1.0, 2.0)
        self.interval_s = 1.0 if self.version == 2 else dice.choice(faster)
        world.segments = dice.choice((1, 2, 3))
        self.options = {
            "preempt": dice.random() < 0.7,
            "garp_delay_s": 2 * self.interval_s,
            "garp_refresh_s": 5 * self.interval_s,
        }
        elections = [world.elect(self.version, self.interval_s)]
        if kind == "group":
            elections.append(world.elect(self.version, self.interval_s, lan=1))
        self._populate(*elections)
        if kind == "mixed":
            self._populate(world.elect(5 - self.version, 1.0))
            self.interval_s = max(1.0, self.interval_s)
        # The same for all on a whole LAN: where packets overtake each other, ARP does, too.
        self.delay_s = dice.uniform(0.0001, min(0.001, self.interval_s / 20))
        self.watch = world.rules = Watch(world)

    def _populate(self, *elections: Election) -> None:
        for _ in range(self.dice.choice((2, 2, 3, 4) if len(self.world.elections) < 2 else (2, 3))):
            machine = self.world.machine()
            priority = self.dice.choice(PRIORITIES)
            for election in elections:
                segment = self.dice.randrange(self.world.segments)
                self.world.join(machine, election, priority, segment, **self.options)

    def live(self) -> None:
        """All of it."""
        for _ in range(2):
            self._chaos()
            self._mend()
            self._settle()
        self._death()
        self._mend()
        self._settle()
        self._farewell()

    def _chaos(self) -> None:
        world, dice, unit_s = self.world, self.dice, self.interval_s
        self.watch.whole(None)
        world.wire = Wire(
            loss=dice.uniform(0, 0.5),
            duplication=dice.uniform(0, 0.5),
            delay=(0.0001, 0.4 * unit_s),
            corruption=dice.uniform(0, 0.3),
            spike=dice.choice((0.0, 0.1)),
            spike_s=2 * unit_s,
        )
        for machine in world.machines:
            world.start(machine)
        for _ in range(dice.randrange(1, 5)):
            misfortune(world, dice, unit_s)
            world.run(dice.uniform(0.5, 3) * unit_s)

    def _mend(self) -> None:
        """What still was on the wire arrives; who was about to stop has stopped."""
        self.watch.whole(None)
        make_whole(self.world)
        self._calm()
        self.world.run(5 * self.interval_s)
        make_whole(self.world)
        self._calm()
        self.watch.whole(self.world.now)

    def _calm(self) -> None:
        self.world.wire = Wire(delay=(self.delay_s, self.delay_s))

    def _settle(self) -> None:
        world = self.world
        world.run(SETTLED * self.interval_s)
        settled = [(_settled(each, world.segments), each.masterships) for each in world.elections]
        world.run(SETTLED * self.interval_s)
        after = [(_settled(each, world.segments), each.masterships) for each in world.elections]
        assert settled == after, "mastership moved without a cause"

    def _death(self) -> None:
        world, election = self.world, self.world.elections[0]
        dead = election.masters()[0]
        heirs = sorted(_priorities(election, dead), reverse=True)
        before = election.masterships
        self.watch.whole(None)
        world.crash(dead.machine)
        late_s = self._mates_late_s()
        world.run((election.down_s(heirs[0]) + late_s) * DRIFT + SLACK_S)
        assert len(election.masters()) == 1, f"masters: {election.masters()}"
        _believed(election, world.segments)
        best, *others = (*heirs, 0)
        if best - others[0] > 40 and not late_s:  # less is lost in the drift of the clocks
            assert election.masterships == before + 1, "one death, one take-over"
        world.run(5 * self.interval_s + 5)
        _settled(election, world.segments)

    def _mates_late_s(self) -> float:
        """The mates of a group ask each other every interval whether they can be master."""
        return self.interval_s if self.world.machines[0].group is not None else 0.0

    def _farewell(self) -> None:
        """Whatever the reason, a planned change leaves no moment without a holder."""
        world, election = self.world, self.world.elections[0]
        self.watch.whole(None)
        planned = Planned(self.watch, election)
        world.rules = planned
        late_s = self._mates_late_s()
        master = election.masters()[0]
        skew_s = election.down_s(max(_priorities(election, master)), 0)
        resigned = _leave(world, master, self.dice)
        world.run((skew_s + late_s) * DRIFT + SLACK_S)
        if resigned:
            assert election.masters(), "nobody took over, though the master resigned"
        world.run(5 * self.interval_s)
        _settled(election, world.segments)


class Planned:
    """The watch, and never nobody."""

    def __init__(self, watch: Watch, election: Election) -> None:
        self._watch, self._election = watch, election
        self.acted, self.leased, self.spoke = watch.acted, watch.leased, watch.spoke

    def held_changed(self, election: Election) -> None:
        self._watch.held_changed(election)
        assert self._election.holders(), "nobody holds the address"


def _leave(world: World, master: Member, dice: random.Random) -> bool:
    """One of the reasons for which a master leaves on purpose; whether it says so."""
    reason = dice.choice(("stop", "fault", "lower priority"))
    if reason == "stop":
        world.stop(master.machine)
    else:
        track = LINK if reason == "fault" else LOAD
        for member in master.machine.members:
            world.track(member, track, False)
    return reason != "lower priority"


def _settled(election: Election, segments: int) -> list[Member]:
    masters = election.masters()
    assert len(masters) == 1, f"masters: {masters}"
    assert election.holders() == masters, f"{election.holders()} hold it, master: {masters}"
    _believed(election, segments)
    return masters


def _believed(election: Election, segments: int) -> None:
    for segment in range(segments):
        member = election.client_arp.get(segment)
        assert [member] == election.masters(), f"clients on {segment} send to {member}"


def _priorities(election: Election, without: Member) -> list[int]:
    return [each.settings.priority for each in election.members if each is not without]
