"""`trimaran explain vrrp NAME`."""

import asyncio
import textwrap
from pathlib import Path
from typing import Any

from trimaran.cli.nodes import control_socket
from trimaran.node.client import ControlClient, ControlError
from trimaran.vrrp.explain import explain


def explain_router(name: str, node: str | None, run_dir: Path | None) -> None:
    """Print a paragraph. Raises ControlError, CannotRunError."""
    status = asyncio.run(_ask(control_socket(node, run_dir)))
    role = status["roles"].get("vrrp")
    if role is None or not role["status"]:
        why = "has no vrrp role" if role is None else f"vrrp is {role['state']}: {role['cause']}"
        raise ControlError(f"{status['node']}: {why}")
    routers = {row["name"]: row for row in role["status"]["routers"]}
    if name not in routers:
        raise ControlError(f"no virtual router '{name}' here; there are {', '.join(routers)}")
    print(textwrap.fill(explain(routers[name], status["node"]), 100))


async def _ask(path: Path) -> dict[str, Any]:
    async with ControlClient(path) as client:
        return await client.status()
