"""Ten thousand short lives of two to seven virtual routers, each of 60 advert intervals or more,
with at least two faults; the rules that must hold are at the top of vrrp_rules.py.

TRIMARAN_SIM_RUNS=n sets how many lives (`make soak`: a million); TRIMARAN_SIM_SEED=n lives one
alone and tells what happened in it.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import pytest
from vrrp_lives import Tally, live, live_many

RUNS = int(os.environ.get("TRIMARAN_SIM_RUNS", "10000"))
SEED = os.environ.get("TRIMARAN_SIM_SEED")
AT_ONCE = 100  # lives that one process lives before it reports
PROCESSES = min(len(os.sched_getaffinity(0)), 8)


@pytest.mark.timeout(0 if RUNS > 10_000 else 1800)
def test_many_lives() -> None:
    if SEED is not None:
        live(int(SEED), dialogue=True)
        return
    batches = [range(at, min(at + AT_ONCE, RUNS)) for at in range(0, RUNS, AT_ONCE)]
    tally = Tally()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
        for batch, lived in [(each, pool.submit(live_many, each)) for each in batches]:
            try:
                tally.add(lived.result())
            except BaseException as error:
                error.add_note(f"one of the lives {batch.start} to {batch.stop - 1}, or later")
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            if tally.lives % 10_000 == 0:
                print(f"{tally.lives} lives", flush=True)
    assert tally.lives == RUNS
    assert tally.least_intervals >= 60
    assert tally.least_faults >= 2
    assert tally.masterships > 3 * RUNS, "a life in which nothing happens proves nothing"
    assert tally.rejected > RUNS


def test_the_same_seed_is_the_same_story() -> None:
    assert live(7) == live(7)
