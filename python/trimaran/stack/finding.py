"""Something wrong or doubtful about a stack, and where."""

from dataclasses import dataclass

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Finding:
    """One thing wrong (`fatal`) or doubtful, at a path of the model; `at_key`: the key is meant."""

    path: Path
    message: str
    help: str = ""
    fatal: bool = True
    at_key: bool = False
