"""Other processes: which run, and when they end."""

import os
from contextlib import suppress
from pathlib import Path


def find(command: tuple[str, ...]) -> list[int]:
    """The pids of the processes whose name, or program, is the command's first word, and whose
    arguments begin with the others. A script's name is that of the file it is in."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and _runs(Path(entry.path), command):
            found.append(int(entry.name))
    return found


def _runs(place: Path, command: tuple[str, ...]) -> bool:
    with suppress(OSError):
        words = (place / "cmdline").read_bytes().split(b"\0")[:-1]
        wanted = [os.fsencode(word) for word in command]
        if not words:  # a zombie, or a thread of the kernel
            return False
        name = (place / "comm").read_bytes().rstrip(b"\n")
        full = os.path.basename(words[0])  # noqa: PTH119 -- bytes
        if wanted[0] not in (words[0], full) and not (len(name) > 0 and name == wanted[0]):
            return False
        return words[1 : len(wanted)] == wanted[1:]
    return False


class Watched:
    """A process whose end makes `fileno()` readable. Raises ProcessLookupError when it is gone."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._descriptor

    def close(self) -> None:
        """Watch it no longer."""
        os.close(self._descriptor)
