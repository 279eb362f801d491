"""The table of a role's life, cell by cell."""

import pytest

from trimaran.node.lifecycle import TABLE, State, Step, after, delay_s


def test_every_state_has_a_row_and_leads_to_states_that_have_one() -> None:
    assert set(TABLE) == set(State)
    assert {state for row in TABLE.values() for state in row.values()} <= set(TABLE)


@pytest.mark.parametrize("state", State)
def test_from_everywhere_stop_ends_in_stopped_and_start_is_possible_again(state: State) -> None:
    stopped = after(state, Step.STOP)
    if stopped is State.STOPPING:
        stopped = after(stopped, Step.ENDED)
    assert stopped is State.STOPPED
    assert after(after(stopped, Step.START), Step.READY) is State.RUNNING


def test_a_refusal_is_the_only_way_to_fail() -> None:
    ways = {step for row in TABLE.values() for step, state in row.items() if state is State.FAILED}
    assert ways == {Step.REFUSED}


def test_a_step_that_cannot_be_names_itself() -> None:
    with pytest.raises(ValueError, match="a role that is stopped cannot see 'crashed'"):
        after(State.STOPPED, Step.CRASHED)


def test_each_wait_is_longer_up_to_a_bound() -> None:
    waits = [delay_s(crashes) for crashes in range(1, 100)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (0.25, 15.0)
