"""What keeps a process on time: real-time scheduling, memory that is never paged out."""

import ctypes
import gc
import os
import resource
import time

from trimaran.system import clock

_MCL_CURRENT, _MCL_FUTURE = 1, 2
# A real-time process that spins starves the machine: after 5 s of processor time without a sleep
# the kernel ends it (leases then free its addresses). No step between two Breaths of a process with
# 220 virtual routers takes 0.15 s; keepalived's 10 ms kills it on a busy transition.
_RTTIME_LIMIT_US = (5_000_000, 6_000_000)
_BREATHE_EVERY_S = 0.05
_BREATH_S = 0.001


class Breath:
    """Sleeps between the steps of long work, so that the kernel does not take work for spinning.

    What RLIMIT_RTTIME counts starts anew only when the process wakes from a sleep. Answers of the
    kernel on netlink, sends, sched_yield and a select that finds something at once are none: a mass
    take-over, or a flood that is always there to be read, may run for seconds without."""

    def __init__(self) -> None:
        self._last = clock.now()

    def take(self) -> None:
        """Sleep a millisecond, unless the last time was a moment ago: 2% of the time at most."""
        if clock.now() - self._last >= _BREATHE_EVERY_S:
            time.sleep(_BREATH_S)
            self._last = clock.now()


def set_realtime(priority: int) -> None:
    """SCHED_FIFO at `priority` (1-99) for this process, not for its children. Raises OSError."""
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    resource.setrlimit(resource.RLIMIT_RTTIME, _RTTIME_LIMIT_US)


def lock_memory() -> None:
    """mlockall: no page of this process, now or later, waits for a disk. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def freeze_garbage() -> None:
    """Take what start-up made out of the collector's sight, so that no later run walks it."""
    gc.collect()
    gc.freeze()
