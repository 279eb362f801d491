"""Routes and routing rules as iproute2 and keepalived write them: words in, values out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any, TypeVar

from trimaran.stack.nearest import suggestion

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
T = TypeVar("T")

KINDS = ("unicast", "blackhole", "unreachable", "prohibit")
TABLES = {"main": 254, "local": 255, "default": 253}
SCOPES = {"global": 0, "universe": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255}
# keepalived's own: what becomes of a virtual router when a route of it vanishes.
IDLE = {"no_track": 0, "track_group": 1, "no-track": 0}


@dataclass(frozen=True)
class Route:
    """`destination` None: the default route of `family` (4 or 6)."""

    family: int = 4
    kind: str = "unicast"
    destination: Network | None = None
    gateway: Address | None = None
    device: str | None = None
    source: Address | None = None
    table: int = 254
    metric: int | None = None
    scope: int | None = None
    mtu: int | None = None
    onlink: bool = False


@dataclass(frozen=True)
class Rule:
    """`action` is lookup (in `table`), blackhole, unreachable or prohibit."""

    family: int = 4
    action: str = "lookup"
    table: int | None = None
    source: Network | None = None
    destination: Network | None = None
    preference: int | None = None
    mark: int | None = None
    incoming: str | None = None
    outgoing: str | None = None


_ROUTE: dict[str, tuple[str, Callable[[str], Any]]] = {}
_RULE: dict[str, tuple[str, Callable[[str], Any]]] = {}


def parse_route(words: Sequence[str], family: int | None = None) -> Route:
    """'198.51.100.0/24 via 192.0.2.3 dev ens33 src 192.0.2.100 metric 7'. Raises ValueError."""
    route, left = Route(), _useful(words)
    told: str | None = None
    for word in left:
        if word in KINDS:
            route = replace(route, kind=word)
        elif word == "onlink":
            route = replace(route, onlink=True)
        elif word in _ROUTE:
            field, convert = _ROUTE[word]
            route = replace(route, **{field: convert(_value(word, left))})
        elif told is None:
            told = _value("to", left) if word == "to" else word
        else:
            raise ValueError(f"knows no word '{word}'; {suggestion(word, [*_ROUTE, *KINDS])}")
    if told is None:
        raise ValueError("names no destination")
    if told not in ("default", "default4", "default6"):
        route = replace(route, destination=_network(told))
    versions = {each.version for each in (route.destination, route.gateway, route.source) if each}
    if len(versions) > 1:
        raise ValueError("mixes IPv4 and IPv6")
    usual = 6 if told == "default6" else family or 4
    return replace(route, family=versions.pop() if versions else usual)


def parse_rule(words: Sequence[str]) -> Rule:
    """'from 192.0.2.0/24 to 198.51.100.0/24 lookup 99 pref 1000'. Raises ValueError."""
    rule, left = Rule(), _useful(words)
    for word in left:
        if word in KINDS[1:]:
            rule = replace(rule, action=word)
        elif word in _RULE:
            field, convert = _RULE[word]
            text = _value(word, left)
            if text not in ("all", "any", "default"):
                rule = replace(rule, **{field: convert(text)})
        else:
            raise ValueError(f"knows no word '{word}'; {suggestion(word, [*_RULE, *KINDS[1:]])}")
    versions = {each.version for each in (rule.source, rule.destination) if each}
    if len(versions) > 1:
        raise ValueError("mixes IPv4 and IPv6")
    if rule.action == "lookup" and rule.table is None:
        raise ValueError("names no table: write `lookup TABLE`")
    return replace(rule, family=versions.pop() if versions else 4)


def _useful(words: Sequence[str]) -> Iterator[str]:
    left = iter(words)
    for word in left:
        if word in IDLE:
            for _ in range(IDLE[word]):
                next(left, None)
        else:
            yield word


def _value(word: str, left: Iterator[str]) -> str:
    value = next(left, None)
    if value in ("inet", "inet6"):
        value = next(left, None)
    if value is None:
        raise ValueError(f"ends after '{word}'")
    return value


def _network(text: str) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"has '{text}', which is no network") from None


def _address(text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError:
        raise ValueError(f"has '{text}', which is no address") from None


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f"has '{text}', which is no number") from None


def _named(names: dict[str, int]) -> Callable[[str], int]:
    return lambda text: names[text] if text in names else _number(text)


_ROUTE |= {
    "via": ("gateway", _address), "gw": ("gateway", _address),
    "dev": ("device", str), "oif": ("device", str),
    "src": ("source", _address),
    "table": ("table", _named(TABLES)),
    "metric": ("metric", _number), "priority": ("metric", _number),
    "preference": ("metric", _number),
    "scope": ("scope", _named(SCOPES)),
    "mtu": ("mtu", _number),
}  # fmt: skip
_RULE |= {
    "from": ("source", _network), "to": ("destination", _network),
    "table": ("table", _named(TABLES)), "lookup": ("table", _named(TABLES)),
    "pref": ("preference", _number), "preference": ("preference", _number),
    "priority": ("preference", _number), "order": ("preference", _number),
    "fwmark": ("mark", _number),
    "iif": ("incoming", str), "dev": ("incoming", str), "oif": ("outgoing", str),
}  # fmt: skip
