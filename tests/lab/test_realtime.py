"""Real-time work may be long, and what spins is ended: a real kernel counts."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, time
from trimaran.system.realtime import Breath, set_realtime

try:
    set_realtime(1)
except OSError as error:
    sys.exit(f"refused: {error}")
resource.setrlimit(resource.RLIMIT_RTTIME, (200_000, 200_000))
breath = Breath()
while time.process_time() < 1.5:
    if "breathes" in sys.argv:
        breath.take()
"""


def ran(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if "refused" in done.stderr:
        pytest.skip(f"this machine has no real-time scheduling for us: {done.stderr}")
    return done


def test_work_with_breaths_is_not_taken_for_spinning() -> None:
    done = ran("breathes")
    assert (done.returncode, done.stderr) == (0, "")
    assert ran().returncode in (-signal.SIGXCPU, -signal.SIGKILL)
