"""What keepalived's users stumble over again and again, each told where it stands, with the mend.

nopreempt with weights, weights smaller than the gap, and groups of unequal members are told by
router_rules.py, for both languages. Here is what only a keepalived.conf can say. A trap that needs
the other member's file (state MASTER on both, unequal intervals) is told for this one alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from trimaran.stack.blocks import Statement


@dataclass(frozen=True)
class Trap:
    """A statement, and what is the matter with it."""

    statement: Statement
    message: str


def traps(top: Iterable[Statement]) -> Iterator[Trap]:
    """Every trap of a file."""
    statements = list(top)
    globals_ = _inside(each for each in statements if each.name == "global_defs")
    for each in statements:
        match each.name:
            case "vrrp_instance":
                yield from _instance(each, globals_)
            case "vrrp_script" if "script_user" not in globals_ and "user" not in _block(each):
                message = "runs as root, or keepalived_script where there is such a user"
                yield Trap(each, f"{message}: write `script_user` in global_defs")
    yield from _realtime(globals_)


def _instance(instance: Statement, globals_: dict[str, Statement]) -> Iterator[Trap]:
    options = _block(instance)
    yield from _state(options)
    yield from _strict(options, globals_)
    state = options.get("state")
    if "nopreempt" in options and state is not None and _first(state).upper() == "MASTER":
        message = "keepalived ignores it with `state MASTER`: write `state BACKUP` on every member"
        yield Trap(options["nopreempt"], message)
    version = _first(options.get("version") or globals_.get("vrrp_version"))
    interval = options.get("advert_int")
    if version != "3" and interval is not None and _first(interval) != "1":
        message = "in version 2 a member with another interval is not heard: two masters"
        yield Trap(interval, f"{message}; write the same on every member")
    if version == "3" and "v3_checksum_as_v2" in {*options, *globals_}:
        where = options.get("v3_checksum_as_v2") or globals_["v3_checksum_as_v2"]
        message = "keepalived before 2.3, FRR and MikroTik do not hear this kind of checksum"
        yield Trap(where, f"{message}: leave it out, or set it on every member")


def _state(options: dict[str, Statement]) -> Iterator[Trap]:
    state, priority = options.get("state"), options.get("priority")
    if state is None or _first(state).upper() != "MASTER" or priority is None:
        return
    if _first(priority) != "255":
        message = "decides nothing: the highest priority does, after the same wait as BACKUP"
        yield Trap(state, f"{message}; write `state BACKUP` on every member")


def _strict(options: dict[str, Statement], globals_: dict[str, Statement]) -> Iterator[Trap]:
    strict = options.get("strict_mode") or globals_.get("vrrp_strict")
    if strict is None or _first(strict).lower() in ("off", "false", "no"):
        return
    for name in ("unicast_peer", "authentication"):
        if name in options:
            message = f"keepalived refuses it where {strict.name} is set: take that out"
            yield Trap(options[name], message)


def _realtime(globals_: dict[str, Statement]) -> Iterator[Trap]:
    for role in ("vrrp", "checker", "bfd"):
        priority = globals_.get(f"{role}_rt_priority")
        limits = {f"{role}_rlimit_rttime", f"{role}_rlimit_rtime"}
        if priority is not None and not limits & globals_.keys():
            message = "with keepalived's own limit of 10 ms the kernel kills it at the first work"
            yield Trap(priority, f"{message}: write `{role}_rlimit_rttime 1000000` for keepalived")


def _inside(blocks: Iterable[Statement]) -> dict[str, Statement]:
    found: dict[str, Statement] = {}
    for block in blocks:
        found |= _block(block)
    return found


def _block(statement: Statement) -> dict[str, Statement]:
    return {each.name: each for each in statement.block or ()}


def _first(statement: Statement | None) -> str:
    return statement.arguments[0] if statement is not None and statement.arguments else ""
