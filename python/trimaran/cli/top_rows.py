"""What `trimaran top` shows, from two statuses of a node. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Status = Mapping[str, Any]
Cell = str | int | float


@dataclass(frozen=True)
class Column:
    """One thing to know of a row: shown on screens of at least `screen` columns."""

    key: str
    heading: str
    screen: int = 0
    right: bool = False


@dataclass(frozen=True)
class Row:
    """`key` stays the same from one status to the next. `trouble` colours it: 'bad', 'warn' or ''.
    `target` is what may be drained there: its name and its service's."""

    key: str
    cells: Mapping[str, Cell]
    trouble: str = ""
    target: tuple[str, str] | None = None


ROUTERS = (
    Column("name", "virtual router"), Column("state", "state"),
    Column("priority", "priority", right=True), Column("master", "master"),
    Column("addresses", "addresses", 100), Column("since", "since", 60, right=True),
    Column("cause", "because", 120),
)  # fmt: skip
SERVICES = (
    Column("name", "service"), Column("place", "address"), Column("scheduler", "sched"),
    Column("quorum", "quorum"), Column("active", "active", right=True),
    Column("new", "new/s", right=True), Column("packets", "packets/s", 110, right=True),
    Column("bits", "bit/s", right=True),
)  # fmt: skip
REALS = (
    Column("service", "service"), Column("name", "real server"), Column("place", "address", 110),
    Column("state", "state"), Column("weight", "weight", right=True),
    Column("active", "active", right=True), Column("inactive", "inact", 100, right=True),
    Column("new", "new/s", right=True), Column("packets", "packets/s", 130, right=True),
    Column("bits", "bit/s", right=True), Column("took", "check", 75, right=True),
    Column("error", "error", 110),
)  # fmt: skip
PEERS = (
    Column("service", "upstream"), Column("name", "peer"), Column("state", "state"),
    Column("weight", "weight", right=True), Column("active", "active", right=True),
    Column("new", "requests/s", right=True), Column("fails", "fails", 75, right=True),
    Column("requests", "requests", 100, right=True), Column("took", "check", 90, right=True),
    Column("error", "error", 110),
)  # fmt: skip
SORTS = ("", "active", "new", "bits", "weight", "state", "name")  # '': as configured


def routers(status: Status) -> list[Row]:
    """The virtual routers."""
    return [
        Row(
            router["name"],
            {
                "name": router["name"],
                "state": router["state"],
                "priority": _priority(router),
                "addresses": ", ".join(router["addresses"]),
                "master": router["master"]["address"] if router["master"] else "",
                **_last(router["last_transition"]),
            },
            {"MASTER": "", "BACKUP": ""}.get(router["state"], "bad"),
        )
        for _, role in _roles(status, "vrrp")
        for router in role["routers"]
    ]


def _priority(router: Status) -> Cell:
    own, effective = router["priority"], router["effective_priority"]
    return own if own == effective else f"{effective} of {own}"


def _last(transition: Status | None) -> dict[str, Cell]:
    if transition is None:
        return {"since": "", "cause": ""}
    return {"since": duration(transition["ago_s"]), "cause": transition["cause"]}


def services(status: Status, before: Status | None, seconds: float) -> list[Row]:
    """The virtual services: what their real servers do together."""
    earlier = _counts(before)
    found = []
    for _, role in _roles(status, "director"):
        for service in role["services"]:
            reals = service["real_servers"]
            key = _service_key(service)
            met = service["quorum"]["met"]
            now = {n: sum(real[n] for real in reals) for n in _COUNTED}
            cells: dict[str, Cell] = {
                "name": service["name"],
                "place": f"{_end(service)}/{service['protocol']}",
                "scheduler": service["scheduler"],
                "quorum": _quorum(service["quorum"]),
                "active": sum(real["active"] for real in reals),
                **_rates(now, earlier.get(key), seconds),
            }
            found.append(Row(key, cells, "" if met else "bad"))
    return found


def _quorum(quorum: Status) -> str:
    return f"{quorum['weight']}/{quorum['wanted']}{'' if quorum['met'] else ' lost'}"


def reals(status: Status, before: Status | None, seconds: float) -> list[Row]:
    """The real servers of every virtual service."""
    earlier = _counts(before)
    return [
        _real(service, real, earlier.get(_real_key(service, real)), seconds)
        for _, role in _roles(status, "director")
        for service in role["services"]
        for real in service["real_servers"]
    ]


def _real(service: Status, real: Status, earlier: Mapping[str, int] | None, seconds: float) -> Row:
    state, trouble = _state(real)
    cells: dict[str, Cell] = {
        "service": service["name"],
        "name": real["name"],
        "place": _end(real),
        "state": state,
        "weight": real["weight"],
        "active": real["active"],
        "inactive": real["inactive"],
        **_rates({name: real[name] for name in _COUNTED}, earlier, seconds),
        **_checked(real["last_check"]),
    }
    return Row(_real_key(service, real), cells, trouble, (real["name"], service["name"]))


def _state(real: Status) -> tuple[str, str]:
    if real["mode"] != "enabled":
        return real["mode"], "warn"
    if not real["well"]:
        return "down", "bad"
    if not real["listed"]:
        return "out", "" if real["sorry"] else "warn"
    return "sorry" if real["sorry"] else "up", ""


def _checked(last: Status | None) -> dict[str, Cell]:
    if last is None:
        return {"took": "", "error": ""}
    return {"took": f"{last['latency_ms']:.1f} ms", "error": last["error"]}


def peers(status: Status, before: Status | None, seconds: float) -> list[Row]:
    """The peers of every proxy."""
    earlier = {
        _peer_key(name, upstream, peer): peer["requests"]
        for name, role in _roles(before or {}, "proxy")
        for upstream in role["upstreams"]
        for peer in upstream["peers"]
    }
    return [
        _peer(name, upstream, peer, earlier.get(_peer_key(name, upstream, peer)), seconds)
        for name, role in _roles(status, "proxy")
        for upstream in role["upstreams"]
        for peer in upstream["peers"]
    ]


def _peer(role: str, upstream: Status, peer: Status, earlier: int | None, seconds: float) -> Row:
    state = peer.get("state") or ("up" if peer["well"] else "down")
    cells: dict[str, Cell] = {
        "service": upstream["name"],
        "name": peer["address"],
        "state": state,
        "weight": peer["weight"],
        "active": peer.get("active", 0),
        "new": rate(peer["requests"], earlier, seconds),
        "fails": peer["fails"],
        "requests": peer["requests"],
        **_checked(peer.get("last_check")),
    }
    trouble = {"up": "", "draining": "warn", "full": "warn"}.get(state, "bad")
    return Row(_peer_key(role, upstream, peer), cells, trouble, (peer["address"], upstream["name"]))


_COUNTED = ("connections", "packets", "bytes")


def _counts(status: Status | None) -> dict[str, dict[str, int]]:
    """By key of service and real server."""
    counts: dict[str, dict[str, int]] = {}
    for _, role in _roles(status or {}, "director"):
        for service in role["services"]:
            rows = service["real_servers"]
            counts[_service_key(service)] = {n: sum(r[n] for r in rows) for n in _COUNTED}
            for real in rows:
                counts[_real_key(service, real)] = {name: real[name] for name in _COUNTED}
    return counts


def _rates(
    now: Mapping[str, int], earlier: Mapping[str, int] | None, seconds: float
) -> dict[str, Cell]:
    connections, packets, octets = (
        rate(now[name], earlier[name] if earlier else None, seconds) for name in _COUNTED
    )
    return {"new": connections, "packets": packets, "bits": octets * 8}


def rate(now: int, before: int | None, seconds: float) -> float:
    """Per second; 0 where nothing is known, or where the counter began anew."""
    if before is None or seconds <= 0 or now < before:
        return 0.0
    return (now - before) / seconds


def _roles(status: Status, kind: str) -> Iterator[tuple[str, Status]]:
    for name, row in status.get("roles", {}).items():
        if name.partition(":")[0] == kind and row["status"]:
            yield name, row["status"]


def _service_key(service: Status) -> str:
    return f"{service['protocol']} {_end(service)}"


def _real_key(service: Status, real: Status) -> str:
    return f"{_service_key(service)} {_end(real)}"


def _peer_key(role: str, upstream: Status, peer: Status) -> str:
    return f"{role} {upstream['name']} {peer['address']}"


def _end(row: Status) -> str:
    address, port = row["address"], row["port"] or "*"
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def arranged(rows: list[Row], sort: str) -> list[Row]:
    """In the order of one column: the greatest number, or the first word, first."""
    if not sort:
        return rows
    numbers = all(isinstance(row.cells.get(sort, 0), int | float) for row in rows)
    if numbers:
        return sorted(rows, key=lambda row: -float(row.cells.get(sort, 0)))
    return sorted(rows, key=lambda row: str(row.cells.get(sort, "")))


def shown(cell: Cell) -> str:
    """A cell as people read it: 1,234 and 5.6k and 7.8M."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) and abs(cell) < 100_000:
        return f"{cell:,}"
    for bound, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(cell) >= bound:
            return f"{cell / bound:.1f}{sign}"
    return f"{cell:.1f}" if cell and abs(cell) < 10 else f"{cell:.0f}"


def duration(seconds: float) -> str:
    """12s, 3m12s, 2h05m, 3d04h."""
    whole = int(seconds)
    for unit, sign, part, part_sign in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"),
                                        (60, "m", 1, "s")):  # fmt: skip
        if whole >= unit:
            return f"{whole // unit}{sign}{whole % unit // part:02d}{part_sign}"
    return f"{whole}s"
