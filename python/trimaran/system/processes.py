"""Other processes: which run, and when they end."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

Match = Literal["exact", "partial", "initial"]


def find(command: tuple[str, ...], match: Match = "partial") -> list[int]:
    """The pids of the processes whose name, or program, is the command's first word, and whose
    arguments are the others (`exact`), begin with them (`partial`), or begin with them while the
    last may be longer (`initial`). A script's name is that of the file it is in."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and _runs(Path(entry.path), command, match):
            found.append(int(entry.name))
    return found


def _runs(place: Path, command: tuple[str, ...], match: Match) -> bool:
    with suppress(OSError):
        words = (place / "cmdline").read_bytes().split(b"\0")[:-1]
        wanted = [os.fsencode(word) for word in command]
        if not words:  # a zombie, or a thread of the kernel
            return False
        name = (place / "comm").read_bytes().rstrip(b"\n")
        full = os.path.basename(words[0])  # noqa: PTH119 -- bytes
        if wanted[0] not in (words[0], full) and not (len(name) > 0 and name == wanted[0]):
            return False
        return _arguments_match(words[1:], wanted[1:], match)
    return False


def _arguments_match(given: list[bytes], wanted: list[bytes], match: Match) -> bool:
    first = given[: len(wanted)]
    if match == "exact":
        return given == wanted
    if match == "partial" or not wanted:
        return first == wanted
    return (
        len(first) == len(wanted)
        and first[:-1] == wanted[:-1]
        and (first[-1].startswith(wanted[-1]))
    )


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
