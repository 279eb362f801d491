"""`trimaran start`, `trimaran stop` and `trimaran reload`."""

import asyncio
from pathlib import Path
from typing import Any

from trimaran.cli.nodes import control_socket
from trimaran.node.client import ControlClient, ControlError


def change_role(verb: str, role: str, node: str | None, run_dir: Path | None) -> None:
    """Ask, wait, and say what came of it. Raises ControlError when the role did not get there."""
    path = control_socket(node, run_dir)
    row = asyncio.run(_ask(path, verb, role))
    wanted = {"start": "running", "stop": "stopped"}[verb]
    if row["state"] != wanted:
        raise ControlError(f"{role} is {row['state']}: {row['cause']}")
    print(f"{role} is {row['state']}")


def reload_node(node: str | None, run_dir: Path | None, *, keep_changes: bool) -> None:
    """Ask, and say what became of each role. Raises ControlError when nothing was changed."""
    path = control_socket(node, run_dir)
    for role, said in asyncio.run(_ask_to_reload(path, keep_changes)).items():
        print(f"{role}: {said}")


async def _ask_to_reload(path: Path, keep_changes: bool) -> dict[str, str]:
    async with ControlClient(path) as client:
        return await client.reload(keep_changes=keep_changes)


async def _ask(path: Path, verb: str, role: str) -> dict[str, Any]:
    async with ControlClient(path) as client:
        return await (client.start_role(role) if verb == "start" else client.stop_role(role))
