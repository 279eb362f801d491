"""What keeps a process on time: real-time scheduling, memory that is never paged out."""

import ctypes
import gc
import os
import resource

_MCL_CURRENT, _MCL_FUTURE = 1, 2
# A real-time process that spins starves the machine: after 1 s without a blocking call the kernel
# ends it (leases then free its addresses). keepalived's 10 ms kills it on a busy transition.
_RTTIME_LIMIT_US = (1_000_000, 2_000_000)


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
