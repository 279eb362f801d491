"""Errors in what the user wrote: where, what is wrong, and how to mend it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trimaran.stack.report import Note


@dataclass(frozen=True)
class Place:
    """A position in a file; line and column count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a configuration file; `help` says how to mend it ('' when plain)."""

    place: Place
    message: str
    help: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" + (f" ({self.help})" if self.help else "")


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Each once, by place."""
    return sorted(
        dict.fromkeys(problems),
        key=lambda problem: (problem.place.file, problem.place.line, problem.place.column),
    )


class StackError(Exception):
    """A configuration that cannot be used. Carries every problem found, not only the first, and
    the notes that its reader had made until then."""

    def __init__(self, problems: list[Problem], notes: Sequence["Note"] = ()) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
        self.notes = list(notes)
