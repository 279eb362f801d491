"""Many short lives of two to four virtual routers, each of 60 advert intervals or more, with at
least two faults, on a LAN that loses, delays, reorders, duplicates and damages packets; and ten
broken rules, every one of which such lives must notice.

The rules themselves stand in vrrp_rules.py and vrrp_world.py (what a rejected packet and a master
that slept may do). Here: after the chaos one master, who alone holds the address and whom the
client believes; no change of mastership without a cause; a death is made good by one take-over, in
time, and the dead one's address goes with its lease; a stop leaves no moment without a holder.

TRIMARAN_SIM_RUNS=n sets how many lives; TRIMARAN_SIM_SEED=n lives one alone.
"""

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import vrrp_world
from vrrp_rules import SETTLED, Watch, explained, make_whole, misfortune
from vrrp_world import Wire, World

from trimaran.vrrp import actions
from trimaran.vrrp.router import Router
from trimaran.vrrp.table import TABLE, On, Rule, State
from trimaran.vrrp.timing import Timing, timing

RUNS = int(os.environ.get("TRIMARAN_SIM_RUNS", "500"))
SEED = os.environ.get("TRIMARAN_SIM_SEED")
ENOUGH_TO_NOTICE = 400  # lives; a broken rule that needs more is not noticed


def live(seed: int) -> World:
    """One life. Raises AssertionError with its story."""
    dice = random.Random(seed)
    version = dice.choice((2, 3))
    interval_s = 1.0 if version == 2 else dice.choice((0.1, 0.5, 1.0, 2.0))
    priorities = tuple(
        dice.choice((1, 50, 100, 101, 150, 254)) for _ in range(dice.choice((2, 3, 4)))
    )
    world = World(
        seed,
        priorities,
        version=version,
        advert_interval_s=interval_s,
        preempt=dice.random() < 0.7,
        garp_delay_s=2 * interval_s,
        garp_refresh_s=5 * interval_s,
    )
    watch = world.check = Watch(world, interval_s)
    with explained(world, seed):
        for _ in range(2):
            watch.whole_since = None
            _chaos(world, dice, interval_s)
            make_whole(world)
            world.run(3)  # who was about to stop has stopped,
            make_whole(world)  # and is started again
            watch.whole_since = world.now
            _settle(world, interval_s)
        _death(world, interval_s)
        watch.whole_since = None
        make_whole(world)
        watch.whole_since = world.now
        _settle(world, interval_s)
        watch.whole_since = None
        _farewell(world, interval_s)
    return world


def _chaos(world: World, dice: random.Random, interval_s: float) -> None:
    delay = (0.0001, 0.4 * interval_s)
    world.wire = Wire(
        dice.uniform(0, 0.5), dice.uniform(0, 0.5), delay, corruption=dice.uniform(0, 0.3)
    )
    for node in world.nodes:
        world.start(node)
    for _ in range(dice.randrange(1, 5)):
        misfortune(world, dice.choice(world.nodes), dice, interval_s)
        world.run(dice.uniform(0.5, 3) * interval_s)


def _settle(world: World, interval_s: float) -> None:
    world.run(SETTLED * interval_s)
    masters, before = world.masters(), world.masterships
    assert len(masters) == 1, f"masters: {masters}"
    assert world.holders() == masters
    assert world.client_arp == masters[0], f"the client sends to {world.client_arp}"
    world.run(SETTLED * interval_s)
    assert world.masters() == masters
    assert world.masterships == before, "mastership moved without a cause"


def _death(world: World, interval_s: float) -> None:
    dead = world.nodes[world.masters()[0]]
    heirs = [node.settings.priority for node in world.nodes if node is not dead]
    before, unit_s = world.masterships, interval_s if dead.settings.version == 3 else 1.0
    world.crash(dead)
    world.run((3 * interval_s + (256 - max(heirs)) / 256 * unit_s) * 1.004 + 0.02)
    assert len(world.masters()) == 1, f"masters: {world.masters()}"
    assert world.client_arp == world.masters()[0]
    best, *others = sorted(heirs, reverse=True)
    if best - max(others, default=0) > 40:  # less is lost in the drift of the clocks
        assert world.masterships == before + 1, "one death, one take-over"
    world.run(5 * interval_s + 3)
    assert world.holders() == world.masters(), "the dead one's address has gone"


def _farewell(world: World, interval_s: float) -> None:
    """Invariant: between the old holder and the new one there is no moment without. Nothing is
    reordered here: an advert that is overtaken by the resignation after it undoes it."""
    world.wire = Wire(delay=(0.001, 0.001))
    world.run(0.01)

    def look() -> None:
        assert world.holders(), "nobody holds the address"

    look()
    world.check = look
    world.stop(world.nodes[world.masters()[0]])
    world.run(3 * interval_s)
    assert len(world.masters()) == 1
    assert world.holders() == world.masters()


def test_many_lives() -> None:
    rejected = changes = 0
    for seed in range(RUNS) if SEED is None else [int(SEED)]:
        world = live(seed)
        rejected += world.rejected
        changes += world.masterships
    if SEED is None:
        assert changes > 3 * RUNS, "a life in which nothing happens proves nothing"
        assert rejected > RUNS


# -- ten broken rules


def _row(state: State, on: On, rule: Rule) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setitem(TABLE[state], on, rule)


def _method(name: str, wrong: Callable[..., object]) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(Router, name, wrong)


def _times(change: Callable[[Timing, int], Timing]) -> Callable[[pytest.MonkeyPatch], None]:
    def wrong(version: int, priority: int, lost: int, own_s: float, learnt_s: float) -> Timing:
        return change(timing(version, priority, lost, own_s, learnt_s), priority)

    return lambda patch: patch.setattr(actions, "timing", wrong)


def _reversed_skew(right: Timing, priority: int) -> Timing:
    unit_s = right.skew_s * 256 / (256 - priority)
    skew_s = priority / 256 * unit_s
    down_s = right.master_down_s - right.skew_s + skew_s
    return replace(right, skew_s=skew_s, master_down_s=down_s)


_rank = Router._rank
_reject = Router.reject


def _no_winner(router: Router, priority: int, source: object, now: float) -> On:
    if router.state is State.MASTER and priority == router.standing.priority:
        return On.WEAKER
    return _rank(router, priority, source, now)  # type: ignore[arg-type]


def _rejects_and_waits(router: Router, *arguments: object) -> None:
    _reject(router, *arguments)  # type: ignore[arg-type]
    if router.state is State.BACKUP:
        router.follow(arguments[2])  # type: ignore[arg-type]


def _tells_nobody(router: Router, *_: object) -> None:
    router._announce_at = None


BROKEN: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "a master ignores a stronger one": _row(State.MASTER, On.STRONGER, None),
    "a master obeys a weaker one": _row(State.MASTER, On.WEAKER, (State.BACKUP, Router.give_way)),
    "a backup ignores its master": _row(State.BACKUP, On.STRONGER, None),
    "a backup ignores a resignation": _row(State.BACKUP, On.RESIGNED, None),
    "a master that slept goes on": _row(State.MASTER, On.LATE, None),
    "who stops drops the address at once": _row(
        State.MASTER, On.STOP, (State.STOPPED, Router.abdicate)
    ),
    "who yields keeps the address": _row(State.MASTER, On.STRONGER, (State.BACKUP, Router.follow)),
    "a tie is won by nobody": _method("_rank", _no_winner),
    "a rejected packet restarts the timer": _method("reject", _rejects_and_waits),
    "nobody is told who holds the address": _method("_announce", _tells_nobody),
    "the weakest waits least": _times(_reversed_skew),
    "leases last for ever": _times(lambda right, _: replace(right, lease_s=1000)),
}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    assert vrrp_world.Router is Router
    yield monkeypatch


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_noticed(rule: str, short: pytest.MonkeyPatch) -> None:
    BROKEN[rule](short)
    for seed in range(ENOUGH_TO_NOTICE):
        try:
            live(seed)
        except AssertionError:
            return
    pytest.fail(f"{ENOUGH_TO_NOTICE} lives did not notice: {rule}")
