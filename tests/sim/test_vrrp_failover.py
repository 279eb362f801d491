"""Planned and unplanned changes of master, on a LAN that is well: how long, and who is believed."""

import random
from collections.abc import Iterator

import pytest
from vrrp_machine import Election
from vrrp_rules import DRIFT, SETTLED, SLACK_S, Watch, explained, make_whole
from vrrp_world import Wire, World

SEEDS = range(50)
PRIORITIES = [(151, 101), (100, 100), (255, 1), (200, 150, 100), (100, 100, 100)]


def _settled_worlds(priorities: tuple[int, ...]) -> Iterator[tuple[World, Election]]:
    """One world a seed, with one master."""
    for seed in SEEDS:
        world = World(seed)
        world.rules = Watch(world)
        election = world.elect()
        for priority in priorities:
            world.join(world.machine(), election, priority, 0)
        with explained(world, seed):
            make_whole(world)
            world.wire = Wire(delay=(0.0005, 0.0005))
            world.run(SETTLED + random.Random(seed).random())
            yield world, election


@pytest.mark.parametrize("priorities", PRIORITIES, ids=str)
def test_a_healed_silent_cut_leaves_the_client_right_at_once(priorities: tuple[int, ...]) -> None:
    """ARP is not refreshed here: the loser's last word alone makes the winner announce again."""
    for world, election in _settled_worlds(priorities):
        cut = random.Random(world.now).choice(election.members)
        world.wire.deaf, world.wire.dumb = {cut}, {cut}
        world.run(9)
        assert len(election.masters()) == 2, "one on each side"
        world.wire.deaf, world.wire.dumb = set(), set()
        before = world.adverts
        world.run(election.interval_s * DRIFT + SLACK_S)
        assert len(election.masters()) == 1
        assert world.adverts - before <= 3 * len(election.members), "they talk it to death"
        for _ in range(100):
            assert [election.client_arp[0]] == election.masters()
            world.run(0.1)


@pytest.mark.parametrize("priorities", PRIORITIES, ids=str)
def test_a_death_is_made_good_within_the_bound(priorities: tuple[int, ...]) -> None:
    for world, election in _settled_worlds(priorities):
        dead = election.masters()[0]
        heirs = [member for member in election.members if member is not dead]
        world.crash(dead.machine)
        best = max(member.settings.priority for member in heirs)
        world.run(election.down_s(best) * DRIFT + SLACK_S)
        assert len(election.masters()) == 1, f"masters: {election.masters()}"
        assert [election.client_arp[0]] == election.masters()
        world.run(3)
        assert election.holders() == election.masters(), "the dead one's address has gone"


@pytest.mark.parametrize("priorities", PRIORITIES, ids=str)
def test_a_returning_stronger_one_leaves_no_moment_without_a_holder(
    priorities: tuple[int, ...],
) -> None:
    for world, election in _settled_worlds(priorities):
        strongest = election.masters()[0]
        world.stop(strongest.machine)
        world.run(5)
        before = election.masterships
        world.start(strongest.machine)
        for _ in range(100):
            world.run(0.05)
            assert election.holders()
        assert len(election.masters()) == 1
        assert election.holders() == election.masters()
        assert election.masterships - before <= 1
