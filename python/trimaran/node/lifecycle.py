"""The life of a role: one table. Pure.

- A role is `starting` from the first attempt until it says `ready`, also while it waits to be
  started again after a crash.
- Exit status 2 is a refusal ("cannot run here, and said why"): trying again would refuse again, so
  the role is `failed` until somebody starts it.
- Every other end that nobody asked for, status 0 included, is a crash: start again, later each
  time.
- What ends while `stopping` has obeyed, however it ended.
A missing cell is an error in the supervisor, not a state to be tolerated.
"""

from enum import StrEnum

REFUSED_STATUS = 2
_FIRST_DELAY_S = 0.25
_LONGEST_DELAY_S = 15.0
CRASHES_TOLERATED = 2  # in a row; after more, nobody counts on its coming back soon
STEADY_S = 10.0  # a role that ran this long starts counting its crashes anew


class State(StrEnum):
    """Where a role is; the words of `status` (docs/decisions/0002)."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FAILED = "failed"


class Step(StrEnum):
    """What happened to it."""

    START = "start"
    READY = "ready"
    CRASHED = "crashed"
    REFUSED = "refused"
    STOP = "stop"
    ENDED = "ended"


TABLE: dict[State, dict[Step, State]] = {
    State.STOPPED: {Step.START: State.STARTING, Step.STOP: State.STOPPED},
    State.STARTING: {
        Step.START: State.STARTING,
        Step.READY: State.RUNNING,
        Step.CRASHED: State.STARTING,
        Step.REFUSED: State.FAILED,
        Step.STOP: State.STOPPING,
    },
    State.RUNNING: {
        Step.START: State.RUNNING,
        Step.READY: State.RUNNING,
        Step.CRASHED: State.STARTING,
        Step.REFUSED: State.FAILED,
        Step.STOP: State.STOPPING,
    },
    State.STOPPING: {
        Step.READY: State.STOPPING,
        Step.STOP: State.STOPPING,
        Step.ENDED: State.STOPPED,
    },
    State.FAILED: {Step.START: State.STARTING, Step.STOP: State.STOPPED},
}


def after(state: State, step: Step) -> State:
    """The next state. Raises ValueError on a step that the table does not know."""
    try:
        return TABLE[state][step]
    except KeyError:
        raise ValueError(f"a role that is {state} cannot see '{step}'") from None


def delay_s(crashes: int) -> float:
    """How long to wait before starting again after so many crashes in a row (1 is the first)."""
    return min(_FIRST_DELAY_S * 2.0 ** min(crashes - 1, 16), _LONGEST_DELAY_S)
