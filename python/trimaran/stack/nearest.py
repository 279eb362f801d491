"""The nearest spelling of a mistyped word."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that most resembles `word`, or None."""
    matches = get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def suggestion(word: str, known: Iterable[str]) -> str:
    """Help for a word that is not among `known`: the nearest, and what is allowed."""
    words = sorted(known)
    match = nearest(word, words)
    parts = [f"did you mean '{match}'?"] if match else []
    if words:
        parts.append("allowed: " + ", ".join(words))
    return " ".join(parts)
