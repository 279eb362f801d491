"""Does the simulation bite? Broken rules, every one of which some lives must notice."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from vrrp_lives import live

from trimaran.vrrp import actions
from trimaran.vrrp.router import Router
from trimaran.vrrp.table import TABLE, On, Rule, State
from trimaran.vrrp.timing import Timing, timing

ENOUGH_TO_NOTICE = 400  # lives; a broken rule that needs more is not noticed
Mutant = Callable[[pytest.MonkeyPatch], None]


def _row(state: State, on: On, rule: Rule) -> Mutant:
    return lambda patch: patch.setitem(TABLE[state], on, rule)


def _method(name: str, wrong: Callable[..., object]) -> Mutant:
    return lambda patch: patch.setattr(Router, name, wrong)


def _times(change: Callable[[Timing, int], Timing]) -> Mutant:
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


BROKEN: dict[str, Mutant] = {
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
    "a fault is a reason to drop the address at once": _row(
        State.MASTER, On.BROKEN, (State.FAULT, Router.abdicate)
    ),
    "who leaves keeps the address beside its successor": _method("_let_go", lambda _: None),
    "leases last for ever": _times(lambda right, _: replace(right, lease_s=1000)),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_noticed(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    BROKEN[rule](monkeypatch)
    for seed in range(ENOUGH_TO_NOTICE):
        try:
            live(seed)
        except AssertionError:
            return
    pytest.fail(f"{ENOUGH_TO_NOTICE} lives did not notice: {rule}")
