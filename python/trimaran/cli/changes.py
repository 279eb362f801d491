"""`trimaran drain`, `weight`, `enable` and `disable`."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from trimaran.cli.nodes import control_socket
from trimaran.health.pool import MAX_WEIGHT
from trimaran.node.client import ControlClient, ControlError

LOOK_S = 0.5
CONFIGURED = -1  # a weight on the wire: the configured one

Place = tuple[str, str, int]  # service, address, port


def change(
    verb: str,
    name: str,
    service: str | None,
    weight: int | None,
    node: str | None,
    run_dir: Path | None,
) -> list[dict[str, Any]]:
    """Ask for it and say how each is now. Raises ControlError: nothing was changed."""
    rows = asyncio.run(_ask(control_socket(node, run_dir), verb, name, service, weight))
    for row in rows:
        end = f"{row['name']} ({row['address']}:{row['port']})"
        weighs = f", weight {row['weight']}" if "weight" in row else ""
        print(f"{row['service']}: {end} is {row['mode']}{weighs}")
    return rows


def weight_of(word: str) -> int:
    """A weight as people write it. Raises ControlError."""
    if word == "configured":
        return CONFIGURED
    if not word.isdecimal() or int(word) > MAX_WEIGHT:
        raise ControlError(f"a weight is 0 to {MAX_WEIGHT}, or 'configured'; not '{word}'")
    return int(word)


def wait_until_drained(
    rows: list[dict[str, Any]], node: str | None, run_dir: Path | None, timeout_s: float | None
) -> None:
    """Show how many flows are left until there is none. Raises ControlError after `timeout_s`."""
    path = control_socket(node, run_dir)
    places = {(row["service"], row["address"], row["port"]) for row in rows}
    asyncio.run(_wait(path, places, timeout_s))


async def _ask(
    path: Path, verb: str, name: str, service: str | None, weight: int | None
) -> list[dict[str, Any]]:
    async with ControlClient(path) as client:
        return await client.change(verb, name, service, weight)


async def _wait(path: Path, places: Collection[Place], timeout_s: float | None) -> None:
    left = 0
    async with ControlClient(path) as client:
        with _progress() as progress, suppress(TimeoutError):
            task = progress.add_task("waiting", total=None, left="")
            async with asyncio.timeout(timeout_s):
                most = 0
                while left := flows_left(await client.status(), places):
                    most = max(most, left)
                    words = f"{left} flow{'s' * (left != 1)} left"
                    progress.update(task, total=most, completed=most - left, left=words)
                    await asyncio.sleep(LOOK_S)
                progress.update(task, total=most or 1, completed=most or 1, left="no flow is left")
    if left:
        raise ControlError(f"{left} flow{'s' * (left != 1)} left after {timeout_s:g} s")


def flows_left(status: dict[str, Any], places: Collection[Place]) -> int:
    """How many flows are on the real servers (ActiveConn), and requests on the peers, at these
    places. Raises ControlError when nobody can say."""
    rows = [
        row["active"]
        for name, role in status["roles"].items()
        for group in _groups(name, role)
        for row in group["members"]
        if (group["name"], row["address"], row["port"]) in places
    ]
    if not rows:
        raise ControlError("they are not in the status any more: does their role run?")
    return sum(rows)


def _groups(name: str, role: dict[str, Any]) -> list[dict[str, Any]]:
    status = role["status"]
    if status is None:
        return []
    if name == "director":
        return [{"name": s["name"], "members": s["real_servers"]} for s in status["services"]]
    if name.partition(":")[0] == "proxy":
        return [
            {"name": each["name"], "members": [_placed(peer) for peer in each["peers"]]}
            for each in status["upstreams"]
        ]
    return []


def _placed(peer: dict[str, Any]) -> dict[str, Any]:
    address, _, port = peer["address"].rpartition(":")
    return {**peer, "address": address, "port": int(port) if port.isdecimal() else 0}


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("drain"),
        BarColumn(),
        TextColumn("{task.fields[left]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
