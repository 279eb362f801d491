"""What the readers say about each option: honoured, without effect, refused, and where.

Nothing that a file says is dropped silently: every option becomes a Note.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from trimaran.stack.errors import Place

Status = Literal["honoured", "no effect", "refused", "unknown", "warning"]


@dataclass(frozen=True)
class Note:
    """One option (`word`) of a file and what becomes of it. 'unknown' and 'warning' want the
    user's eye; a note 'honoured' may still carry a message (an old word, a default)."""

    place: Place
    word: str
    status: Status
    message: str = ""

    def __str__(self) -> str:
        text = f"{self.place}: {self.word}: {self.status}"
        return f"{text}: {self.message}" if self.message else text


def summary(notes: Iterable[Note]) -> str:
    """'41 of 43 options honoured, 2 without effect'; '' when no option was counted."""
    counts = Counter(note.status for note in notes)
    total = sum(count for status, count in counts.items() if status != "warning")
    if not total:
        return ""
    parts = [f"{counts['honoured']} of {total} options honoured"]
    words: dict[Status, str] = {
        "no effect": "without effect",
        "refused": "refused",
        "unknown": "unknown",
    }
    parts += [f"{counts[status]} {word}" for status, word in words.items() if counts[status]]
    return ", ".join(parts)


def remarkable(notes: Iterable[Note]) -> list[Note]:
    """The notes that say more than 'honoured', in the order of the file."""
    return [note for note in notes if note.status != "honoured" or note.message]
