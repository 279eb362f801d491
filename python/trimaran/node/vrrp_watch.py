"""The scripts, files and processes that virtual routers track."""

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from trimaran.system import clock, processes
from trimaran.system.processes import Watched
from trimaran.vrrp.settings import WatchSettings
from trimaran.vrrp.watch import Delayed, Opinion

KILL_AFTER_S = 2.0
LONGEST_FILE = 64  # bytes; it holds one number

Report = Callable[[str, bool, str, int], None]  # name of the watch, well, cause, value


class Watch:
    """One of them. `descriptors` become readable when something it waits for ends."""

    def __init__(self, settings: WatchSettings, report: Report) -> None:
        self.settings = settings
        self._report = report
        self._opinion = Opinion(settings.rise, settings.fall)
        self._delayed = Delayed(settings.up_delay_s, settings.down_delay_s)
        if settings.init_fail:
            self._opinion.hear(False)
        self._said: tuple[bool, int] | None = None
        self._next_at = clock.now()
        self._script: subprocess.Popen[bytes] | None = None
        self._script_end: Watched | None = None
        self._overdue_at: float | None = None
        self._overdue: signal.Signals | None = None
        self._running: list[Watched] = []

    def next_due(self) -> float:
        """When `look` is to be called."""
        times = (self._next_at, self._overdue_at, self._delayed.next_due())
        return min(at for at in times if at is not None)

    def descriptors(self) -> list[int]:
        """What to wait for besides the time."""
        ends = [self._script_end] if self._script_end else self._running
        return [each.fileno() for each in ends]

    def look(self, now: float) -> None:
        """The time of `next_due()` has come, or a descriptor is readable."""
        match self.settings.kind:
            case "script":
                self._look_at_script(now)
            case "file":
                self._look_at_file()
            case "process":
                self._look_at_processes(now)
        if now >= self._next_at:
            self._next_at = max(now, self._next_at + self.settings.interval_s)

    def close(self) -> None:
        """End the script, if it runs."""
        if self._script is not None:
            self._end_script(signal.SIGKILL)
            self._script.wait()

    # -- scripts

    def _look_at_script(self, now: float) -> None:
        """One run at a time: a run that takes longer than the interval delays the next."""
        if self._script is not None and self._script.poll() is not None:
            self._script_ended(self._script.returncode)
        if self._script is not None and self._overdue_at is not None and now >= self._overdue_at:
            number = signal.SIGKILL if self._overdue else signal.SIGTERM
            self._overdue, self._overdue_at = number, now + KILL_AFTER_S
            self._end_script(number)
        if self._script is None and now >= self._next_at:
            self._start_script(now)

    def _start_script(self, now: float) -> None:
        try:
            self._script = subprocess.Popen(
                self.settings.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                user=self.settings.user,
                start_new_session=True,
            )
            self._script_end = Watched(self._script.pid)
        except (OSError, LookupError, ValueError) as error:
            self._script = None
            self._hear(False, f"it cannot be run: {error}")
            return
        self._overdue, self._overdue_at = None, now + self.settings.timeout_s

    def _script_ended(self, status: int) -> None:
        assert self._script_end
        self._script_end.close()
        self._script = self._script_end = self._overdue_at = None
        if self._overdue:
            self._hear(False, f"it took longer than {self.settings.timeout_s:g} s")
        else:
            self._hear(status == 0, f"it exited with {status}")

    def _end_script(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            assert self._script
            os.killpg(self._script.pid, number)

    # -- files and processes

    def _look_at_file(self) -> None:
        path = Path(self.settings.command[0])
        try:
            with path.open("rb") as file:
                value = int(file.read(LONGEST_FILE).split()[0])
        except FileNotFoundError:
            value = 0
        except (OSError, ValueError, IndexError) as error:
            self._say(self._said[0] if self._said else False, f"{path}: {error}", 0)
            return
        self._say(value == 0, f"{path} holds {value}", value)

    def _look_at_processes(self, now: float) -> None:
        """A process's end is told by the kernel; only for one that is missing /proc is searched."""
        for each in list(self._running):
            if not _alive(each.pid):
                self._running.remove(each)
                each.close()
        wanted, most = self.settings.quorum, self.settings.quorum_max
        if len(self._running) < wanted or most is not None:
            known = {each.pid for each in self._running}
            for pid in processes.find(self.settings.command, self.settings.match):
                if pid not in known:
                    with suppress(ProcessLookupError):
                        self._running.append(Watched(pid))
        count = len(self._running)
        good = count >= wanted and (most is None or count <= most)
        self._delayed.hear(good, now)
        limits = f"{wanted}" if most is None else f"{wanted} to {most}"
        self._hear(bool(self._delayed.well), f"{count} of {limits} run")

    def _hear(self, good: bool, cause: str) -> None:
        self._opinion.hear(good)
        assert self._opinion.well is not None
        self._say(self._opinion.well, cause, 1)

    def _say(self, well: bool, cause: str, value: int) -> None:
        if self._said != (well, value):
            self._said = (well, value)
            self._report(self.settings.name, well, cause, value)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in ("Z", "X")
