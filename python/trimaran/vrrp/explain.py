"""Why a node is master of a virtual router, or why it is not: one paragraph from its status."""

from typing import Any


def explain(row: dict[str, Any], node: str) -> str:
    """`row` is one entry of a vrrp role's `routers` (status.py)."""
    sentences = [_stands(row, node), *_priority(row), *_lately(row), *_mend(row)]
    return " ".join(sentences)


def _stands(row: dict[str, Any], node: str) -> str:
    name, state, master = row["name"], row["state"], row["master"]
    if state == "MASTER":
        addresses = ", ".join(row["addresses"])
        return f"{node} is master of {name} and holds {addresses}."
    if state == "FAULT":
        kept = " It holds the addresses until a successor is heard." if row["lingering"] else ""
        return f"{node} cannot be master of {name}: {'; '.join(row['faults'].values())}.{kept}"
    if state == "RESIGNING":
        return f"{node} leaves {name}, and holds the addresses until a successor is heard."
    if state == "STOPPED":
        return f"{node} takes no part in the election of {name}: it is stopped."
    if master is None:
        down = row["master_down_s"]
        return (
            f"{node} is not master of {name} yet: it has heard no master, and takes over when it "
            f"has heard none for {down:g} s."
        )
    theirs, ours = master["priority"], row["effective_priority"]
    who = f"{node} is not master of {name}: {master['address']} is, with priority {theirs}"
    if theirs > ours:
        return f"{who}, and this node's is {ours}."
    if theirs == ours:
        return f"{who}, which is this node's too: an equal does not displace a master."
    if not row["preempts"]:
        return f"{who}; this node's is {ours}, but it is told not to preempt."
    return f"{who}; this node's is {ours}: it preempts when its timer ends."


def _priority(row: dict[str, Any]) -> list[str]:
    configured, weights = row["priority"], row["weights"]
    if not weights:
        return []
    added = ", ".join(f"{weight:+d} by {key}" for key, weight in weights.items())
    return [f"Its priority is {configured} as configured, {added}."]


def _lately(row: dict[str, Any]) -> list[str]:
    last = row["last_transition"]
    if last is None:
        return []
    change = f"{last['from']} → {last['to']}"
    return [f"The last change, {change}, was {last['ago_s']:g} s ago: {last['cause']}."]


def _mend(row: dict[str, Any]) -> list[str]:
    """What counters tell of a peer that is not heard as it means to be."""
    rejected = {
        key.removeprefix("rejected_"): count
        for key, count in row["counters"].items()
        if key.startswith("rejected_") and count
    }
    if not rejected:
        return []
    reasons = ", ".join(f"{count} for {key}" for key, count in rejected.items())
    return [f"It dropped adverts: {reasons} (`trimaran events` says whose)."]
