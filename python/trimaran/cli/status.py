"""`trimaran status`."""

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from trimaran.cli.nodes import control_socket
from trimaran.node.client import ControlClient

_COLOURS = {"running": "green", "failed": "red", "stopped": "dim"}
_MODE_COLOURS = {"drained": "yellow", "disabled": "red"}
_VRRP_COLOURS = {"MASTER": "bold green", "BACKUP": "cyan", "FAULT": "red"}


def show_status(
    node: str | None, run_dir: Path | None, *, as_json: bool, drops: bool = False
) -> None:
    """Print the status of a node, or why its director dropped packets. Raises CannotRunError,
    ControlError."""
    status = asyncio.run(_ask(control_socket(node, run_dir)))
    if as_json:
        print(json.dumps(status, ensure_ascii=False, indent=2))
        return
    console = Console(highlight=False)
    for part in render_drops(status) if drops else render(status):
        console.print(part)


async def _ask(path: Path) -> dict[str, Any]:
    async with ControlClient(path) as client:
        return await client.status()


def render(status: dict[str, Any]) -> list[RenderableType]:
    """The overview of roles, then what each role that runs has to say."""
    parts: list[RenderableType] = [_roles(status)]
    for name, row in status["roles"].items():
        show = _SHOWN.get(name.partition(":")[0])
        if row["status"] and show:
            parts.append(show(name, row["status"]))
    return _apart(parts)


def render_drops(status: dict[str, Any]) -> list[RenderableType]:
    """Each reason that a director on the node has met: how often, and a sentence on it."""
    table = _table(f"{status['node']}  drops, and what was unusual")
    for heading in ("packets", "reason", "meaning"):
        table.add_column(heading, justify="right" if heading == "packets" else "left")
    for row in status["roles"].values():
        met = row["status"] or {}
        counts = {**met.get("drops", {}), **met.get("flows", {})}
        for name, sentence in met.get("explained", {}).items():
            table.add_row(str(counts[name]), name, sentence)
    return [table] if table.row_count else [Text("no packet of a virtual service was dropped")]


def _roles(status: dict[str, Any]) -> Table:
    table = _table(f"{status['node']}  (trimaran {status['version']})")
    for heading in ("role", "state", "pid", "restarts", "cause"):
        table.add_column(heading, justify="right" if heading in _NUMBERS else "left")
    for name, row in status["roles"].items():
        table.add_row(
            name,
            Text(row["state"], _COLOURS.get(row["state"], "yellow")),
            str(row["pid"] or ""),
            str(row["restarts"]),
            row.get("error") or row["cause"],
        )
    return table


def _vrrp(name: str, status: dict[str, Any]) -> RenderableType:
    """The virtual routers, and below them why each is what it is: a cause is a sentence, which as
    a column would squeeze the addresses out of a narrow screen."""
    table = _table(name)
    for heading in ("virtual router", "id", "state", "priority", "addresses", "master"):
        table.add_column(heading, overflow="fold")
    causes: list[Text] = []
    for router in status["routers"]:
        master = router["master"]
        table.add_row(
            router["name"],
            str(router["router_id"]),
            Text(router["state"], _VRRP_COLOURS.get(router["state"], "yellow")),
            _priority(router),
            "\n".join(router["addresses"]),
            f"{master['address']} ({master['priority']})" if master else "",
        )
        if last := router["last_transition"]:
            since = f"{router['name']}: {router['state']} for {last['ago_s']:.0f} s"
            causes.append(Text(f"{since}: {last['cause']}"))
    return Group(table, *causes)


def _priority(router: dict[str, Any]) -> str:
    own, effective = router["priority"], router["effective_priority"]
    return str(own) if own == effective else f"{effective} (of {own})"


def _director(name: str, status: dict[str, Any]) -> RenderableType:
    from trimaran.director.listing import listing

    health = _table("health")
    for heading in ("service", "real server", "well", "check", "last", "took", "error"):
        health.add_column(heading)
    for service in status["services"]:
        for real in service["real_servers"]:
            for check in real.get("checks", ()):
                health.add_row(service["name"], real["name"], *_check(check))
        quorum = service.get("quorum")
        if quorum and (quorum["wanted"] != 1 or not quorum["met"]):
            met = Text("yes", "green") if quorum["met"] else Text("no", "red")
            weighs = f"weight {quorum['weight']} of {quorum['wanted']} ± {quorum['hysteresis']}"
            health.add_row(service["name"], "(quorum)", met, weighs)
    cause = f" ({status['hook_cause']})" if status.get("hook_cause") else ""
    hook = f"{status['hook']} on {status['interface']}{cause}\n" if "hook" in status else ""
    parts = [table for table in (health, _changes(status)) if table.row_count]
    return Group(*_apart([Text((listing(status) + hook).rstrip("\n")), *parts]))


def _changes(status: dict[str, Any]) -> Table:
    """What was changed at run time, and is not in the configuration."""
    table = _table("changed at run time")
    for heading in ("service", "real server", "is", "weight", "because"):
        table.add_column(heading)
    for service in status["services"]:
        for real in service["real_servers"]:
            if not (change := real.get("changed")):
                continue
            weight, own = real["weight"], change["configured_weight"]
            table.add_row(
                service["name"],
                real["name"],
                Text(real["mode"], _MODE_COLOURS.get(real["mode"], "")),
                str(weight) if own in (None, weight) else f"{weight} (of {own})",
                change["cause"],
            )
    return table


def _check(check: dict[str, Any]) -> tuple[RenderableType, ...]:
    well = Text("yes", "green") if check["up"] else Text("no", "red")
    if check["ago_s"] is None:
        return well, check["name"], "not yet", "", ""
    last = f"{'good' if check['ok'] else 'failed'} {check['ago_s']:.0f} s ago"
    last += " (suspended)" * check["suspended"]
    error = check["error"] or (f"before: {check['last_error']}" if check["last_error"] else "")
    return well, check["name"], last, f"{check['latency_ms']:.1f} ms", error


def _proxy(name: str, status: dict[str, Any]) -> RenderableType:
    table = _table(f"{name}  {', '.join(status['listeners'])}  {status['requests']} requests")
    for heading in ("upstream", "peer", "weight", "well", "fails", "requests"):
        table.add_column(heading, justify="right" if heading in _NUMBERS else "left")
    health, changes = _table("health"), _table("changed at run time")
    for heading in ("upstream", "peer", "well", "check", "last", "took", "error"):
        health.add_column(heading)
    for heading in ("upstream", "peer", "is", "because"):
        changes.add_column(heading)
    for upstream in status["upstreams"]:
        for peer in upstream["peers"]:
            well = Text("yes", "green") if peer["well"] else Text("no", "red")
            fails, requests = str(peer["fails"]), str(peer["requests"])
            weight, word = str(peer["weight"]), peer.get("name", peer["address"])
            table.add_row(upstream["name"], peer["address"], weight, well, fails, requests)
            for check in peer.get("checks", ()):
                health.add_row(upstream["name"], word, *_check(check))
            if change := peer.get("changed"):
                mode = Text(peer["mode"], _MODE_COLOURS.get(peer["mode"], ""))
                changes.add_row(upstream["name"], word, mode, change["cause"])
    return Group(*_apart([table, *(each for each in (health, changes) if each.row_count)]))


def _real_server(name: str, status: dict[str, Any]) -> Text:
    return Text(f"{name}: {', '.join(status['addresses'])} on {status['interface']}")


_NUMBERS = {"pid", "restarts", "weight", "fails", "requests"}


def _apart(parts: Sequence[RenderableType]) -> list[RenderableType]:
    """With an empty line between them."""
    return [each for part in parts for each in ("", part)][1:]


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)


_SHOWN: dict[str, Callable[[str, dict[str, Any]], RenderableType]] = {
    "vrrp": _vrrp,
    "director": _director,
    "proxy": _proxy,
    "site": _proxy,
    "real_server": _real_server,
}
