"""Schedulers as tables."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ipvs_reference import Dest, sh_table
from trimaran.director.schedulers import MAX_SLOTS, Maglev, Member, Slots, table_of
from trimaran.director.settings import Scheduler


def turns(scheduler: Scheduler, weighted: list[tuple[int, int]]) -> tuple[int, ...]:
    members = [Member(real, f"10.0.0.{real + 1}", 80, weight, weight) for real, weight in weighted]
    table = table_of(scheduler, members)
    assert isinstance(table, Slots) and not table.levels
    return table.reals


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


@given(WEIGHTS)
def test_fo_and_ovf_fall_by_weight_and_of_equals_the_newest_is_first(weights: list[int]) -> None:
    expected = [d.name for d in sorted(dests(weights), key=lambda d: -d.weight) if d.weight]
    assert turns("fo", list(enumerate(weights))) == turns("ovf", list(enumerate(weights)))
    assert list(turns("fo", list(enumerate(weights)))) == expected


def dests(weights: list[int]) -> list[Dest]:
    """The newest first."""
    return [Dest(n, w, address=f"10.0.0.{n + 1}") for n, w in enumerate(weights)][::-1]


@given(WEIGHTS)
def test_sh_is_filled_as_the_kernel_does(weights: list[int]) -> None:
    expected = [dest.name for dest in sh_table(dests(weights))]
    assert list(turns("sh", list(enumerate(weights)))) == expected


def test_dh_heeds_no_weight() -> None:
    assert turns("dh", [(1, 5), (2, 0), (3, 1)])[:4] == (3, 2, 1, 3)
    assert len(turns("dh", [(1, 5)])) == 256


@given(st.lists(st.integers(0, 65535), max_size=8))
def test_mh_takes_turns_as_the_kernel_counts_them(weights: list[int]) -> None:
    members = [Member(n, f"10.0.0.{n + 1}", 80, 0, w) for n, w in enumerate(weights)]
    table = table_of("mh", members)
    assert isinstance(table, Maglev)
    found = {real: count for real, _, _, count in table.members}
    assert all((found.get(n, 0) > 0) == (w > 0) for n, w in enumerate(weights))
    assert max(found.values(), default=0) < 64


def test_weight_0_gets_no_turn() -> None:
    assert turns("rr", [(1, 0), (2, 1)]) == (2,)
    assert turns("wrr", [(1, 0), (2, 4)]) == (2,)
    assert turns("wrr", [(1, 0)]) == turns("rr", []) == turns("wrr", []) == ()


@given(WEIGHTS.filter(any))
def test_wrr_is_the_kernels_cycle(weights: list[int]) -> None:
    cycle = turns("wrr", list(enumerate(weights)))
    assert ipvs_wrr(weights, 2 * len(cycle)) == list(cycle) * 2


def turn_of(table: Slots, weights: dict[int, int], turn: int) -> int:
    """As the program finds it (bpf/schedule.h, interleaved)."""
    before = 0
    for level in table.levels:
        if turn < level.end:
            able = [real for real in table.reals if weights[real] >= level.weight]
            assert len(able) == level.count
            return able[(turn - before) % level.count]
        before = level.end
    raise AssertionError("past the cycle")


@settings(max_examples=3, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(0, 3))
def test_a_cycle_too_long_is_told_by_its_levels(weights: list[int], more: int) -> None:
    """The same cycle, with one more weight that makes it too long to be written out."""
    heavy = dict(enumerate([*weights, 65535 - 2 * more, 65534, 1]))
    members = [Member(n, f"10.0.0.{n + 1}", 80, w, w) for n, w in heavy.items()]
    table = table_of("wrr", members)
    assert isinstance(table, Slots) and set(table.reals) == set(heavy)
    assert table.levels[-1].end == sum(heavy.values()) > MAX_SLOTS
    last = table.levels[-1].end
    cycle = ipvs_wrr(list(heavy.values()), last)
    picks = [*range(20), *range(last - 200, last)]
    assert [turn_of(table, heavy, n) for n in picks] == [cycle[n] for n in picks]
