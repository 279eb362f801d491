"""`trimaran vrrp`: the virtual routers of a node."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

RunningNode = Annotated[
    Optional[str],  # noqa: UP045 -- typer reads it so
    typer.Option("--node", "-n", help="The node's name.", envvar="TRIMARAN_NODE"),
]
RunDirectoryOption = Annotated[
    Optional[Path],  # noqa: UP045 -- typer reads it so
    typer.Option("--run-dir", help="Where sockets and state are.", envvar="TRIMARAN_RUN_DIR"),
]
app = typer.Typer(no_args_is_help=True, help="The virtual routers of this node.")


@app.callback()
def group() -> None:
    """Keeps `dump` a word of its own while there is no other."""


@app.command()
def dump(node: RunningNode = None, run_dir: RunDirectoryOption = None) -> None:
    """Print them in the shape of keepalived's JSON dump (`json_version 2`)."""
    from trimaran.cli.nodes import control_socket

    found = asyncio.run(_ask(control_socket(node, run_dir)))
    print(json.dumps(found, ensure_ascii=False, indent=2))


async def _ask(path: Path) -> dict[str, Any]:
    from trimaran.node.client import ControlClient

    async with ControlClient(path) as client:
        return await client.vrrp_dump()
