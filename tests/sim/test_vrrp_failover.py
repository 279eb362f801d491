"""Thousands of seconds of bad network for two and three virtual routers, in a few of ours.

A failure prints its seed: TRIMARAN_SIM_SEED=n runs that one alone.
"""

import os
import random

import pytest
from vrrp_rules import SETTLED, TWO_MASTERS_BOUND, Watch, explained, make_whole, misfortune
from vrrp_world import CLIENT, Wire, World

SEEDS = [int(os.environ["TRIMARAN_SIM_SEED"])] if "TRIMARAN_SIM_SEED" in os.environ else range(100)
PRIORITIES = [(151, 101), (100, 100), (255, 1), (200, 150, 100), (100, 100, 100)]


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
                world.run(SETTLED)
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
            world.run(SETTLED + random.Random(seed).random())
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
            world.run(SETTLED + random.Random(seed).random())
            cut = random.Random(seed).choice(world.nodes).number
            others = {node.number for node in world.nodes} - {cut}
            world.wire.cuts = {(cut, other) for other in (*others, CLIENT)}
            world.wire.cuts |= {(other, cut) for other in others}
            world.run(9)
            assert len(world.masters()) == 2, "one on each side"
            world.wire.cuts = set()
            before = world.adverts
            world.run(TWO_MASTERS_BOUND)
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
            world.run(SETTLED + random.Random(seed).random())
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
