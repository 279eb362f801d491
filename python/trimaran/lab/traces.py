"""What a lab leaves on the machine: finding it, judging whether it lives, removing all of it."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from trimaran.lab.topology import prefix
from trimaran.system import namespaces, wiring


def run_directory(lab: str) -> Path:
    """Where a lab keeps its state and its nodes their sockets."""
    return Path("/run") / prefix(lab).rstrip("-")


def pin_directory(lab: str) -> Path:
    """Where the nodes' eBPF objects are pinned (see docs/decisions/0001)."""
    return Path("/sys/fs/bpf") / run_directory(lab).name


def clean(lab: str) -> bool:
    """End and remove everything that carries the lab's name, whoever made it and however it
    ended. True when there was anything. Nothing else is touched."""
    found = namespaces.names(prefix(lab))
    for namespace in found:
        namespaces.end_processes(namespace)
    for namespace in found:
        _remove(namespace)
    places = [place for place in (run_directory(lab), pin_directory(lab)) if place.exists()]
    for place in places:
        shutil.rmtree(place)
    return bool(found or places)


def _remove(namespace: str) -> None:
    """With the interfaces first: the kernel ends a namespace later, and a cable's other end stays
    until then."""
    with suppress(namespaces.NamespaceError), namespaces.entered(namespace):
        wiring.unplug_all()
    namespaces.delete(namespace)


def record(lab: str) -> dict[str, Any] | None:
    """What a lab of that name left in its run directory; None when there is nothing whole."""
    try:
        found: dict[str, Any] = msgspec.json.decode((run_directory(lab) / "lab.json").read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return found


def is_alive(record: Mapping[str, Any]) -> bool:
    """A lab without an owner lives until `down`; one with an owner dies with it."""
    if record["owner"] is None:
        return bool(record["ready"])
    owner, since = record["owner"]
    return bool(owner != os.getpid() and started(owner) == since)


def started(process: int) -> str:
    """When the process started, in the kernel's ticks: tells it from a later one with its number.
    '' when there is none."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    return ""
