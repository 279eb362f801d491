"""Would this machine's firewall drop a packet? An honest guess from its rules. Pure.

The chains at the input hook are walked as the kernel does for a new flow's first packet. What a
condition says may be yes, no, or unknown (a source, a set, an extension that is not read here). An
unknown that accepts counts as accepting, an unknown that drops as not dropping: no false alarm, at
the price of silence about firewalls that are cleverer than this reader.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

TCP, VRRP = 6, 112
_PROTOCOLS = {"tcp": TCP, "vrrp": VRRP, "udp": 17, "icmp": 1, "all": None}
_DEPTH = 16  # as the kernel's NFT_JUMP_STACK_SIZE


@dataclass(frozen=True)
class Packet:
    """The first packet of a flow, as it comes in. `port` is the destination's, None without."""

    interface: str
    destination: IPv4Address
    protocol: int
    port: int | None = None


@dataclass(frozen=True)
class Rule:
    """`conditions` are (field, operator, value); a field or value that we do not know is unknown.
    `verdict` is accept, drop, jump, goto, return or '' (goes on); `target` is a chain."""

    conditions: tuple[tuple[str, str, Any], ...]
    verdict: str
    target: str = ""


@dataclass
class Chain:
    """A chain; only one with `base` is entered by packets, `policy` is its last word."""

    name: str
    base: bool = False
    policy: str = "accept"
    rules: list[Rule] = field(default_factory=list)


def dropped_by(chains: dict[str, Chain], packet: Packet) -> str | None:
    """Which base chain drops the packet ('chain input of table inet filter'); None: none does,
    or it cannot be told."""
    for chain in chains.values():
        if not chain.base:
            continue
        verdict = _walk(chains, chain, packet, 0)
        if (verdict or chain.policy) == "drop":
            return chain.name
    return None


def _walk(chains: dict[str, Chain], chain: Chain, packet: Packet, depth: int) -> str:
    """accept or drop; '' when the chain ends without either."""
    for rule in chain.rules:
        says = _all(_holds(condition, packet) for condition in rule.conditions)
        if says is False:
            continue
        verdict = rule.verdict
        if verdict in ("jump", "goto"):
            target = chains.get(rule.target)
            if target is None:
                continue  # an extension of iptables, like LOG: it goes on
            if depth >= _DEPTH:
                return "accept"
            inner = _walk(chains, target, packet, depth + 1)
            ends = inner or ("return" if verdict == "goto" else "")
            verdict = ends
        if verdict == "accept" or (verdict and says):
            return "" if verdict == "return" else verdict
    return ""


def _all(answers: Iterator[bool | None]) -> bool | None:
    found = list(answers)
    if False in found:
        return False
    return None if None in found else True


def _holds(condition: tuple[str, str, Any], packet: Packet) -> bool | None:
    name, operator, wanted = condition
    if name == "port" and packet.port is None:
        return False
    ours = {
        "interface": packet.interface,
        "destination": packet.destination,
        "protocol": packet.protocol,
        "port": packet.port,
        "state": "new",
    }.get(name)
    if ours is None:
        return None
    same = _among(ours, wanted)
    if same is None:
        return None
    return same if operator in ("==", "in") else not same if operator == "!=" else None


def _among(ours: Any, wanted: Any) -> bool | None:
    """Whether a value is one of those that a rule names; None when the rule is not understood."""
    if isinstance(wanted, list):
        answers = [_among(ours, each) for each in wanted]
        return True if True in answers else None if None in answers else False
    if isinstance(wanted, dict):
        return _among_dict(ours, wanted)
    if isinstance(ours, IPv4Address):
        try:
            return ours in IPv4Network(wanted, strict=False)
        except ValueError:
            return None
    if isinstance(ours, int):
        number = _PROTOCOLS.get(wanted, wanted)
        if isinstance(number, str) and number.isdigit():
            number = int(number)
        return ours == number if isinstance(number, int) else None
    if isinstance(wanted, str) and wanted.startswith("@"):
        return None
    if isinstance(wanted, str) and wanted.endswith(("*", "+")):
        return bool(str(ours).startswith(wanted[:-1]))
    return bool(ours == wanted)


def _among_dict(ours: Any, wanted: dict[str, Any]) -> bool | None:
    match wanted:
        case {"set": list(members)}:
            return _among(ours, members)
        case {"range": [int(low), int(high)]} if isinstance(ours, int):
            return low <= ours <= high
        case {"prefix": {"addr": address, "len": length}}:
            return _among(ours, f"{address}/{length}")
        case {"elem": {"val": value}}:
            return _among(ours, value)
    return None


def from_nft(listing: dict[str, Any]) -> dict[str, Chain]:
    """The chains of `nft -j list ruleset` that IPv4 packets may meet at the input hook."""
    chains: dict[str, Chain] = {}
    for item in listing.get("nftables", []):
        match item:
            case {"chain": {"family": "ip" | "inet" as family, "table": table, "name": name}}:
                about = item["chain"]
                base = about.get("hook") == "input" and about.get("type") == "filter"
                key = f"chain {name} of table {family} {table}"
                chains[key] = Chain(key, base, about.get("policy", "accept"))
            case {"rule": {"family": family, "table": table, "chain": name, "expr": list(expr)}}:
                key = f"chain {name} of table {family} {table}"
                if key in chains:
                    chains[key].rules.append(_nft_rule(expr, f"{family} {table}"))
    return chains


def _nft_rule(expressions: list[Any], table: str) -> Rule:
    conditions: list[tuple[str, str, Any]] = []
    for expression in expressions:
        match expression:
            case {"match": {"op": str(operator), "left": left, "right": right}}:
                conditions += _nft_condition(left, operator, right)
            case {"accept": _}:
                return Rule(tuple(conditions), "accept")
            case {"drop": _} | {"reject": _}:
                return Rule(tuple(conditions), "drop")
            case {"return": _}:
                return Rule(tuple(conditions), "return")
            case {"jump": {"target": target}}:
                return Rule(tuple(conditions), "jump", f"chain {target} of table {table}")
            case {"goto": {"target": target}}:
                return Rule(tuple(conditions), "goto", f"chain {target} of table {table}")
            case {"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": list(pairs)}}}:
                new = [verdict for state, verdict in pairs if state == "new"]
                tail = _nft_rule(new, table)
                return Rule(tuple(conditions), tail.verdict, tail.target)
            case {"vmap": _} | {"queue": _}:
                return Rule((*conditions, ("unknown", "==", None)), "accept")
            case {"counter": _} | {"log": _} | {"comment": _}:
                pass
            case _:
                conditions.append(("unknown", "==", None))
    return Rule(tuple(conditions), "")


def _nft_condition(left: Any, operator: str, right: Any) -> list[tuple[str, str, Any]]:
    match left:
        case {"meta": {"key": "l4proto"}} | {"payload": {"protocol": "ip", "field": "protocol"}}:
            return [("protocol", operator, right)]
        case {"payload": {"protocol": "tcp", "field": "dport"}}:
            return [("protocol", "==", TCP), ("port", operator, right)]
        case {"payload": {"protocol": "th", "field": "dport"}}:
            return [("port", operator, right)]
        case {"payload": {"protocol": "ip", "field": "daddr"}}:
            return [("destination", operator, right)]
        case {"payload": {"protocol": str(name)}} if name in ("tcp", "udp", "icmp", "icmpv6"):
            unknown = ("unknown", "==", None)
            return [("protocol", "==", _PROTOCOLS.get(name, 58)), unknown]
        case {"meta": {"key": "iifname" | "iif"}}:
            return [("interface", operator, right)]
        case {"ct": {"key": "state"}}:
            return [("state", operator, right)]
        case {"meta": {"key": "nfproto"}}:
            return [] if right == "ipv4" and operator == "==" else [("state", "==", "never")]
    return [("unknown", operator, None)]


def from_iptables(listing: str) -> dict[str, Chain]:
    """The filter table of `iptables-save`."""
    chains: dict[str, Chain] = {}
    table = ""
    for line in listing.splitlines():
        words = line.split()
        if line.startswith("*"):
            table = line[1:].strip()
        elif table == "filter" and line.startswith(":"):
            name = words[0][1:]
            policy = "drop" if words[1] == "DROP" else "accept"
            key = f"chain {name} of iptables"
            chains[key] = Chain(key, name == "INPUT", policy)
        elif table == "filter" and words[:1] == ["-A"]:
            key = f"chain {words[1]} of iptables"
            chains.setdefault(key, Chain(key)).rules.append(_iptables_rule(words[2:]))
    return chains


_IPTABLES_FIELDS = {
    "-p": "protocol",
    "--dport": "port",
    "--dports": "port",
    "-i": "interface",
    "-d": "destination",
    "--ctstate": "state",
    "--state": "state",
}


def _iptables_rule(words: list[str]) -> Rule:
    conditions: list[tuple[str, str, Any]] = []
    operator, name = "==", ""
    for word, value in zip(words, [*words[1:], ""], strict=True):
        if word == "!":
            operator = "!="
        elif word in ("-j", "-g"):
            verdict = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "drop", "RETURN": "return"}
            if value in verdict:
                return Rule(tuple(conditions), verdict[value])
            jump = {"-j": "jump", "-g": "goto"}[word]
            return Rule(tuple(conditions), jump, f"chain {value} of iptables")
        elif word.startswith("-"):
            name = _IPTABLES_FIELDS.get(word, "" if word == "-m" else "unknown")
            if name:
                conditions.append((name, operator, _iptables_value(name, value)))
            operator = "=="
    return Rule(tuple(conditions), "")


def _iptables_value(name: str, text: str) -> Any:
    if name == "port":
        return [_ports(part) for part in text.split(",")]
    return text.lower().split(",") if name == "state" else text


def _ports(text: str) -> Any:
    low, colon, high = text.partition(":")
    return {"range": [int(low or 0), int(high or 65535)]} if colon else text
