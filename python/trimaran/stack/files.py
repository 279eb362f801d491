"""How a pure reader gets at other files: whoever calls it hands it one of these."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Refusal:
    """Why a program cannot be run, and how to mend it. Not `fatal`: it is not on this machine,
    and may well be on the one that will run it."""

    message: str
    help: str = ""
    fatal: bool = True


class Files(Protocol):
    """Text files by path. `system.files.DiskFiles` is the one of a real machine."""

    def read(self, path: str) -> str:
        """The text of a file. Raises OSError."""

    def read_secret(self, path: str) -> str:
        """The text of a file that holds a secret. Raises OSError, also when others than its owner
        may read it."""

    def match(self, pattern: str) -> list[str]:
        """The existing paths that a glob pattern stands for, sorted."""

    def refusal(self, command: str) -> Refusal | None:
        """Why a command cannot be run; None when it can."""


class NoFiles:
    """For text that stands alone: there is no other file."""

    def read(self, path: str) -> str:
        raise FileNotFoundError(2, "No such file or directory", path)

    def read_secret(self, path: str) -> str:
        raise FileNotFoundError(2, "No such file or directory", path)

    def match(self, pattern: str) -> list[str]:
        return []

    def refusal(self, command: str) -> Refusal | None:
        return None
