"""Schedulers as tables of turns."""

from hypothesis import given
from hypothesis import strategies as st

from trimaran.director.tables import MAX_SLOTS, turns

WEIGHTS = st.lists(st.integers(0, 12), max_size=8)


def ipvs_wrr(weights: list[int], count: int) -> list[int]:
    """The kernel's own way: a list with the newest first, a place in it and a falling threshold."""
    newest_first = list(range(len(weights)))[::-1]
    greatest = max(weights)
    step = next(d for d in range(greatest, 0, -1) if all(w % d == 0 for w in weights))
    place, threshold, chosen = -1, greatest, []
    while len(chosen) < count:
        place += 1
        if place == len(newest_first):
            place, threshold = 0, threshold - step
            if threshold <= 0:
                threshold = greatest
        if weights[newest_first[place]] >= threshold:
            chosen.append(newest_first[place])
    return chosen


def test_rr_begins_with_the_one_added_last() -> None:
    assert turns("rr", [(4, 1), (7, 5), (9, 1)]) == (9, 7, 4)


def test_wrr_as_a_real_ipvs_was_seen_to_do() -> None:
    assert turns("wrr", [(1, 3), (2, 2), (3, 1)]) == (1, 2, 1, 3, 2, 1)


def ipvs_fo(weights: list[int]) -> list[int]:
    """ip_vs_fo: over the list with the newest first, the greatest weight above 0 so far."""
    best = None
    for place in reversed(range(len(weights))):
        if weights[place] > 0 and (best is None or weights[place] > weights[best]):
            best = place
    return [] if best is None else [best]


@given(WEIGHTS)
def test_fo_is_the_kernels_choice(weights: list[int]) -> None:
    assert list(turns("fo", list(enumerate(weights)))) == ipvs_fo(weights)


def test_weight_0_gets_no_turn() -> None:
    assert turns("rr", [(1, 0), (2, 1)]) == (2,)
    assert turns("wrr", [(1, 0), (2, 4)]) == (2,)
    assert turns("wrr", [(1, 0)]) == turns("rr", []) == turns("wrr", []) == ()


@given(WEIGHTS.filter(any))
def test_wrr_is_the_kernels_cycle(weights: list[int]) -> None:
    cycle = turns("wrr", list(enumerate(weights)))
    assert ipvs_wrr(weights, 2 * len(cycle)) == list(cycle) * 2


def test_a_cycle_too_long_is_scaled_to_fit() -> None:
    weighted = [(0, 65535), (1, 65534), (2, 1)]
    cycle = turns("wrr", weighted)
    assert MAX_SLOTS * 0.9 < len(cycle) <= MAX_SLOTS
    assert abs(cycle.count(0) - cycle.count(1)) <= 1
    assert cycle.count(2) == 1
