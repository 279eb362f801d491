"""Quorum, sorry server, weights: the tables in health/pool.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.health.pool import Member, Place, slow_start, stand, weight_of
from trimaran.health.settings import PoolSettings
from trimaran.health.verdict import Outcome

UP, DOWN = Member(True, 2), Member(False, 2)
OUT = Place(False, 0)


def quorum(rules: PoolSettings, weights: list[int], before: bool = True) -> list[bool]:
    """Whether there is a quorum, as the weight of the well ones goes through these values."""
    said = []
    for weight in weights:
        before = stand(rules, [Member(True, weight)], before).quorum
        said.append(before)
    return said


def test_hysteresis_dampens() -> None:
    rules = PoolSettings(quorum=10, hysteresis=2)
    assert quorum(rules, [10, 8, 7, 10, 11, 12, 8, 7]) == [
        True, True, False, False, False, True, True, False,
    ]  # fmt: skip


def test_no_weight_at_all_is_no_quorum() -> None:
    assert quorum(PoolSettings(quorum=1, hysteresis=1), [1, 0]) == [True, False]
    assert quorum(PoolSettings(), [0, 1], before=False) == [False, True]


def test_a_member_that_fails_leaves_or_has_weight_0() -> None:
    assert stand(PoolSettings(), [UP, DOWN], True).places == (Place(True, 2), Place(False, 2))
    inhibited = Member(False, 2, inhibit=True)
    assert stand(PoolSettings(), [inhibited], True).places == (Place(True, 0),)


def test_without_quorum_the_well_ones_serve_on_unless_somebody_stands_in() -> None:
    rules = PoolSettings(quorum=3)
    alone = stand(rules, [UP, DOWN], True)
    assert (alone.quorum, alone.places[0], alone.sorry) == (False, Place(True, 2), OUT)
    relieved = stand(rules, [UP, DOWN], True, sorry_weight=1)
    assert (relieved.places[0], relieved.sorry) == (Place(True, 0), Place(True, 1))


def test_the_sorry_server_waits_outside_or_with_weight_0() -> None:
    assert stand(PoolSettings(), [UP], True, sorry_weight=1).sorry == OUT
    waiting = stand(PoolSettings(sorry_inhibit=True), [UP], True, sorry_weight=1)
    assert waiting.sorry == Place(True, 0)


@pytest.mark.parametrize(
    ("configured", "outcomes", "weight"),
    [
        (5, [], 5),
        (5, [Outcome(weight=8)], 8),
        (5, [Outcome(weight=8), Outcome(weight=4)], 7),
        (5, [Outcome(change=-3)], 2),
        (5, [Outcome(change=-9)], 0),
        (5, [Outcome(weight=253), Outcome(change=10)], 263),
        (60000, [Outcome(change=60000)], 65535),
    ],
)
def test_checks_weigh(configured: int, outcomes: list[Outcome], weight: int) -> None:
    assert weight_of(configured, outcomes) == weight


def test_a_slow_start_grows_evenly() -> None:
    assert [slow_start(10, t, 10.0) for t in (0, 1, 4.5, 9.9, 10, 99)] == [1, 1, 5, 10, 10, 10]
    assert slow_start(0, 1, 10.0) == 0 and slow_start(7, 0, 0.0) == 7


@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 50), st.booleans()), max_size=6),
    st.integers(0, 60), st.integers(0, 9), st.booleans(), st.booleans(),
)  # fmt: skip
def test_somebody_serves_whenever_somebody_can(
    members: list[tuple[bool, int, bool]], wanted: int, slack: int, before: bool, sorry: bool
) -> None:
    standing = stand(
        PoolSettings(quorum=wanted, hysteresis=slack),
        [Member(*each) for each in members],
        before,
        1 if sorry else None,
    )
    able = any(well and weight for well, weight, _ in members)
    serving = any(place.listed and place.weight for place in (*standing.places, standing.sorry))
    if able or (sorry and not standing.quorum):
        assert serving
    for (well, _, inhibit), place in zip(members, standing.places, strict=True):
        assert place.listed == (well or inhibit)
