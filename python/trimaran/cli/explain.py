"""`trimaran explain`."""

import asyncio
import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trimaran.cli.nodes import control_socket
from trimaran.director.packet import FLAGS
from trimaran.node.client import ControlClient, ControlError

_COLOURS = {"forwarded": "green", "local": "cyan", "dropped": "red", "answered": "red"}


def explain(
    source: str,
    destination: str,
    protocol: str,
    kind: str,
    node: str | None,
    run_dir: Path | None,
    *,
    as_json: bool,
) -> None:
    """Ask the director, and print its story. Raises CannotRunError, ControlError."""
    if kind not in FLAGS:
        raise ControlError(f"a segment is {', '.join(FLAGS)}; not '{kind}'")
    source_address, source_port = place(source)
    address, port = place(destination)
    question: dict[str, str | int] = {
        "source": source_address, "source_port": source_port,
        "address": address, "port": port, "protocol": protocol, "kind": kind,
    }  # fmt: skip
    answer = asyncio.run(_ask(control_socket(node, run_dir), question))
    if as_json:
        print(json.dumps(answer, ensure_ascii=False, indent=2))
        return
    Console(highlight=False).print(render(answer))


async def _ask(path: Path, question: dict[str, str | int]) -> dict[str, Any]:
    async with ControlClient(path) as client:
        return await client.explain(question)


def place(word: str) -> tuple[str, int]:
    """ADDRESS:PORT or [ADDRESS]:PORT. Raises ControlError."""
    address, colon, port = word.rpartition(":")
    try:
        found = ip_address(address.strip("[]"))
    except ValueError:
        found = None
    if found is None or not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ControlError(f"'{word}' is no place: write ADDRESS:PORT, like 203.0.113.9:40000")
    return str(found), int(port)


def render(answer: dict[str, Any]) -> Table:
    """What each part of the story is about, and what is so."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    colour = _COLOURS.get(answer["verdict"], "")
    said = ""
    for about, words in answer["lines"]:
        style = f"bold {colour}" if about == "packet" else ""
        table.add_row("" if about == said else about, Text(words, style))
        said = about
    return table
