"""Thousands of seconds of bad network for two and three virtual routers, in a few of ours.

A failure prints its seed: TRIMARAN_SIM_SEED=n runs that one alone.
"""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from vrrp_world import CLIENT, HOLDS, Node, Wire, World

from trimaran.vrrp.router import State

SEEDS = [int(os.environ["TRIMARAN_SIM_SEED"])] if "TRIMARAN_SIM_SEED" in os.environ else range(100)
PRIORITIES = [(151, 101), (100, 100), (255, 1), (200, 150, 100), (100, 100, 100)]
TWO_MASTERS_BOUND_S = 1.2  # one advert interval, its delay, and clocks that run slow
NO_MASTER_BOUND_S = 5.0  # 3 intervals, the longest skew, and an advert late on the wire
SETTLED_S = 10.0


@contextmanager
def explained(world: World, seed: int) -> Iterator[None]:
    """A failure tells how to see it again, and what had happened."""
    try:
        yield
    except AssertionError as error:
        story = "\n".join(world.history[-60:])
        raise AssertionError(f"TRIMARAN_SIM_SEED={seed}\n{story}\n{error}") from error


class Watch:
    """Holds the invariants while the world turns."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.whole_since: float | None = None
        self._two_since: float | None = None
        self._none_since: float | None = None

    def __call__(self) -> None:
        world = self.world
        for node in world.nodes:
            if node.router is not None and node.awake:
                held = node.lease_ends > world.now
                if held and node.state is State.BACKUP and node.router.leftover:
                    continue  # a killed process's lease, until another master is heard
                assert held == (node.state in HOLDS), f"{node.number} {node.state}, held: {held}"
        if self.whole_since is None:
            self._two_since = self._none_since = None
            return
        masters = world.masters()
        self._two_since = self._began(len(masters) > 1, self._two_since, TWO_MASTERS_BOUND_S)
        self._none_since = self._began(not masters, self._none_since, NO_MASTER_BOUND_S)

    def _began(self, holds: bool, since: float | None, bound: float) -> float | None:
        if not holds:
            return None
        since = self.world.now if since is None else since
        lasted = self.world.now - since
        assert lasted <= bound, f"masters {self.world.masters()} for {lasted:.2f} s"
        return since


def misfortune(world: World, node: Node, dice: random.Random) -> None:
    """One bad thing happens to a node."""
    others = [each.number for each in world.nodes if each is not node]
    match dice.randrange(8):
        case 0:
            world.crash(node)
        case 1:
            world.stop(node)
        case 2:
            world.start(node)
        case 3:
            world.sleep(node)
            world.at(world.now + dice.uniform(0.01, 8), lambda: world.wake(node))
        case 4:
            world.cut_carrier(node, True)
            world.at(world.now + dice.uniform(0.01, 8), lambda: world.cut_carrier(node, False))
        case 5:  # deaf
            world.wire.cuts |= {(other, node.number) for other in others}
        case 6:  # dumb
            world.wire.cuts |= {(node.number, other) for other in (*others, CLIENT)}
        case 7:  # silently cut off
            world.wire.cuts |= {(other, node.number) for other in others}
            world.wire.cuts |= {(node.number, other) for other in (*others, CLIENT)}


def make_whole(world: World) -> None:
    """Everything is mended at once, and everybody runs."""
    world.wire = Wire()
    for node in world.nodes:
        world.wake(node)
        world.cut_carrier(node, False)
        world.start(node)


@pytest.mark.parametrize("priorities", PRIORITIES, ids=str)
def test_it_settles_after_any_chaos(priorities: tuple[int, ...]) -> None:
    """With ARP refreshed now and then: a usurper that dies before the LAN is whole again leaves a
    master that never heard of it, and so no other reason to announce anything."""
    masterships = 0
    for seed in SEEDS:
        dice = random.Random(seed)
        world = World(seed, priorities, preempt=dice.random() < 0.7, garp_refresh_s=5.0)
        watch = world.check = Watch(world)
        with explained(world, seed):
            for _ in range(5):
                make_whole(world)
                watch.whole_since = world.now
                world.run(SETTLED_S)
                masters = world.masters()
                assert len(masters) == 1, f"masters: {masters}"
                assert world.holders() == masters
                assert world.client_arp == masters[0], f"the client sends to {world.client_arp}"
                watch.whole_since = None
                world.wire = Wire(dice.uniform(0, 0.5), dice.uniform(0, 0.5), (0.0001, 0.4))
                for _ in range(dice.randrange(1, 8)):
                    misfortune(world, dice.choice(world.nodes), dice)
                    world.run(dice.uniform(0.1, 3))
        masterships += world.masterships
    if len(SEEDS) > 1:
        assert masterships > 5 * len(SEEDS), "a simulation in which nothing happens proves nothing"


@pytest.mark.parametrize("priorities", PRIORITIES, ids=str)
def test_a_graceful_stop_leaves_no_moment_without_a_holder(priorities: tuple[int, ...]) -> None:
    for seed in SEEDS:
        world = World(seed, priorities)
        with explained(world, seed):
            make_whole(world)
            world.run(SETTLED_S + random.Random(seed).random())
            gaps: list[float] = []

            def look(world: World = world, gaps: list[float] = gaps) -> None:
                if not world.holders():
                    gaps.append(world.now)

            world.check = look
            world.stop(world.nodes[world.masters()[0]])
            world.run(3)
            assert not gaps, f"nobody held it at {gaps[:3]}"
            assert len(world.masters()) == 1
            assert world.holders() == world.masters()
            assert world.client_arp == world.masters()[0]


@pytest.mark.parametrize("priorities", PRIORITIES, ids=str)
def test_a_healed_silent_cut_leaves_the_client_right_at_once(priorities: tuple[int, ...]) -> None:
    """No refresh here: the loser's last word alone makes the winner announce again."""
    for seed in SEEDS:
        world = World(seed, priorities)
        with explained(world, seed):
            make_whole(world)
            world.run(SETTLED_S + random.Random(seed).random())
            cut = random.Random(seed).choice(world.nodes).number
            others = {node.number for node in world.nodes} - {cut}
            world.wire.cuts = {(cut, other) for other in (*others, CLIENT)}
            world.wire.cuts |= {(other, cut) for other in others}
            world.run(9)
            assert len(world.masters()) == 2, "one on each side"
            world.wire.cuts = set()
            before = world.adverts
            world.run(TWO_MASTERS_BOUND_S)
            assert len(world.masters()) == 1
            assert world.adverts - before <= 3 * len(world.nodes), "they talk it to death"
            for _ in range(100):
                assert world.client_arp == world.masters()[0]
                world.run(0.1)


@pytest.mark.parametrize("priorities", PRIORITIES, ids=str)
def test_a_death_is_made_good_within_the_bound(priorities: tuple[int, ...]) -> None:
    for seed in SEEDS:
        world = World(seed, priorities)
        with explained(world, seed):
            make_whole(world)
            world.run(SETTLED_S + random.Random(seed).random())
            dead = world.nodes[world.masters()[0]]
            heirs = [node for node in world.nodes if node is not dead]
            world.crash(dead)
            skew = (256 - max(node.settings.priority for node in heirs)) / 256
            world.run((3 + skew) * 1.002 + 0.01)
            assert len(world.masters()) == 1, f"masters: {world.masters()}"
            assert world.client_arp == world.masters()[0]
            world.run(3)
            assert world.holders() == world.masters(), "the dead one's address has gone"


def test_the_same_seed_is_the_same_story() -> None:
    stories = []
    for _ in range(2):
        world = World(7, (151, 101))
        world.wire = Wire(0.3, 0.3, (0.0001, 0.4))
        make_whole(world)
        world.wire = Wire(0.3, 0.3, (0.0001, 0.4))
        world.run(200)
        stories.append(world.history)
    assert stories[0] == stories[1]
    assert len(stories[0]) > 4
