"""`trimaran plan`."""

import asyncio
import json
from pathlib import Path

from trimaran.cli.nodes import control_socket
from trimaran.node.client import ControlClient


def show_plan(new: Path | None, node: str | None, run_dir: Path | None, *, as_json: bool) -> None:
    """Print what would change. Raises ControlError: the new files are wrong; CannotRunError."""
    instead = None if new is None else str(new.absolute())
    changes = asyncio.run(_ask(control_socket(node, run_dir), instead))
    if as_json:
        print(json.dumps(changes, ensure_ascii=False, indent=2))
        return
    for line in told(changes):
        print(line)


def told(changes: list[dict[str, str]]) -> list[str]:
    """A line a change, and whether mastership can move."""
    if not changes:
        return ["nothing would change"]
    signs = {"added": "+", "removed": "-", "changed": "~"}
    lines = []
    for each in changes:
        where = each["role"] if each["subject"] == each["role"] else (
            f"{each['role']}: {each['subject']}"
        )  # fmt: skip
        detail = f"  ({each['detail']})" if each["detail"] else ""
        lines.append(f"{signs[each['what']]} {where}{detail}")
    moves = dict.fromkeys(each["moves"] for each in changes if each["moves"])
    if moves:
        return [*lines, f"mastership can move: {'; '.join(moves)}"]
    return [*lines, "mastership stays where it is"]


async def _ask(path: Path, instead: str | None) -> list[dict[str, str]]:
    async with ControlClient(path) as client:
        return await client.plan(instead)
