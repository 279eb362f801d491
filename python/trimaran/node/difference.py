"""What new settings would change, said before it is done. Pure: plain data in, sentences out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

_SECRET = {"password", "hmac", "key", "keys", "secret", "flow_sync"}
_LONGEST = 60  # characters of a value that are worth showing


@dataclass(frozen=True)
class Change:
    """`what` is added, removed or changed; `subject` a role, or something in it; `moves` says
    whether, and why, mastership can move with it: empty when it cannot."""

    role: str
    what: str
    subject: str
    detail: str = ""
    moves: str = ""

    def plain(self) -> dict[str, str]:
        """As the control API has it."""
        return asdict(self)


def difference(
    before: Mapping[str, Any], after: Mapping[str, Any], live: frozenset[str]
) -> list[Change]:
    """From the settings of every role (by name, as plain data) to those it would have. `live` are
    the roles that take new settings up while they run; any other is restarted for them."""
    changes: list[Change] = []
    for role in [*before, *(name for name in after if name not in before)]:
        if role not in after:
            detail = "it runs until the node is restarted"
            changes.append(Change(role, "removed", role, detail, _moves(role, "leaves")))
        elif role not in before:
            changes.append(Change(role, "added", role, "it starts when the node is restarted"))
        elif before[role] != after[role]:
            how = "" if role in live else f"taken up when {role} is restarted"
            for what, subject, detail in _inside(before[role], after[role], ""):
                said = "; ".join(each for each in (detail, how) if each)
                changes.append(Change(role, what, subject, said, _moves(role, "is restarted")))
    return changes


def _moves(role: str, how: str) -> str:
    """Mastership moves with the vrrp process, and dies with the director's data plane."""
    if role == "vrrp":
        return f"when vrrp {how}, it hands its masterships over first"
    if role == "director":
        return f"when the director {how}, vrrp gives its masterships up"
    return ""


def _inside(before: Any, after: Any, path: str) -> Iterator[tuple[str, str, str]]:
    """What differs: added, removed or changed; where; and from what to what."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(each for each in after if each not in before)]:
            yield from _entry(before, after, key, f"{path}.{key}" if path else str(key))
    elif _named(before) and _named(after):
        yield from _inside(_by_name(before), _by_name(after), path)
    elif before != after:
        yield "changed", path, _values(before, after, path)


def _entry(
    before: dict[str, Any], after: dict[str, Any], key: str, path: str
) -> Iterator[tuple[str, str, str]]:
    if key not in after:
        yield "removed", path, ""
    elif key not in before:
        yield "added", path, ""
    else:
        yield from _inside(before[key], after[key], path)


def _values(before: Any, after: Any, path: str) -> str:
    if not _SECRET.isdisjoint(path.split(".")):
        return "a secret"
    shown = [_shown(each) for each in (before, after)]
    if any(len(each) > _LONGEST for each in shown):
        return ""
    return " → ".join(shown)


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _named(value: Any) -> bool:
    """A list of things with different names, of which one may be there and another not."""
    if not isinstance(value, list | tuple) or not all(
        isinstance(each, dict) and isinstance(each.get("name"), str) for each in value
    ):
        return False
    return len(_by_name(value)) == len(value)


def _by_name(values: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in values}
