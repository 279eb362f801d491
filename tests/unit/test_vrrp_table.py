"""The table of states and inputs is whole."""

import pytest
from vrrp_dialogue import DOWN, Dialogue

from trimaran.vrrp.table import TABLE, On, State


def _in(state: State) -> Dialogue:
    """A router in that state, brought there by the world alone."""
    dialogue = Dialogue()
    router = dialogue.machine
    if state is not State.STOPPED:
        dialogue.start_silently()
    if state in (State.MASTER, State.RESIGNING):
        router.timeout(DOWN)
    if state is State.RESIGNING:
        router.stop(DOWN)
    if state is State.FAULT:
        router.set_interface(None, "cut", DOWN)
    router.take_effects()
    assert router.state is state
    return dialogue


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("on", On)
def test_every_state_answers_every_input(state: State, on: On) -> None:
    router = _in(state).machine
    timer, rule = router.next_timeout(), TABLE[state][on]
    router._dispatch(on, DOWN, "the test says so")
    if rule is None:
        assert router.state is state
        assert router.next_timeout() == timer
        assert router.take_effects() == []
    else:
        assert router.state is rule[0]
    waits = router.lingering or router.state not in (State.STOPPED, State.FAULT)
    assert (router.next_timeout() is not None) == waits


def test_no_row_speaks_of_what_there_is_not() -> None:
    assert set(TABLE) == set(State)
    assert all(set(row) == set(On) for row in TABLE.values())
