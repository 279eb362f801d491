"""`trimaran events`."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from trimaran.cli.nodes import control_socket
from trimaran.node.client import ControlClient


def show_events(node: str | None, run_dir: Path | None, *, follow: bool, as_json: bool) -> None:
    """Print what is remembered, and with `follow` what happens until Ctrl-C."""
    path = control_socket(node, run_dir)
    with suppress(KeyboardInterrupt):
        asyncio.run(_show(path, follow, as_json))


async def _show(path: Path, follow: bool, as_json: bool) -> None:
    console = Console(highlight=False, soft_wrap=True)
    async with ControlClient(path) as client:
        async for event in client.events(follow=follow):
            if as_json:
                print(json.dumps(event, ensure_ascii=False), flush=True)
            else:
                console.print(_line(event))


def _line(event: dict[str, Any]) -> Text:
    text = Text.assemble(
        (event["time"][11:23], "dim"),
        " ",
        (f"{event['role']:<12}", "cyan"),
        (event["message"], "bold"),
    )
    if event["cause"]:
        text.append(f"  because {event['cause']}", "dim")
    return text
