"""`trimaran run`: files to a plan, and the plan to a daemon."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trimaran.node.run_directory import RunDirectory, default
from trimaran.system.errors import CannotRunError
from trimaran.system.files import DiskFiles

if TYPE_CHECKING:
    from trimaran.stack.model import Stack


@dataclass(frozen=True)
class Classic:
    """The classic files of one machine; None where there is none."""

    keepalived: Path | None
    nginx: Path | None
    lvsrs: Path | None

    @property
    def given(self) -> bool:
        """True when there is any."""
        return any((self.keepalived, self.nginx, self.lvsrs))


def run_node(stack: Path | None, classic: Classic, node: str | None, run_dir: Path | None) -> None:
    """Run until told to stop. Raises StackError, CannotRunError."""
    from trimaran.node import daemon, roles
    from trimaran.node.plan import plan

    wanted, name, file = _load(stack, classic, node)
    directory = RunDirectory(run_dir or default(), name)
    node_plan = plan(wanted, name, directory.state, directory.pins, file)
    if not node_plan.roles:
        raise CannotRunError(f"node {name} has no role in {file}", "give it one, or do not run it")
    directory.take()
    try:
        daemon.run(directory, roles.specs(node_plan))
    finally:
        directory.leave()


def _load(stack: Path | None, classic: Classic, node: str | None) -> tuple["Stack", str, str]:
    """What is wanted, the node that this machine is, and the file to name in errors."""
    if (stack is None) == (not classic.given):
        raise CannotRunError(
            "nothing to run" if stack is None else "a stack and classic files cannot be mixed",
            "give stack.yaml, or --keepalived, --nginx and --lvsrs files",
        )
    if stack is not None:
        from trimaran.stack.yaml import read_stack

        # Absolute: relative paths in the file are taken from its directory by every process.
        path = str(stack.absolute())
        model, _notes = read_stack(stack.read_text(), path, DiskFiles())
        return model, node or _this_node(model, path), path
    raise CannotRunError("classic files cannot be read yet")


def _this_node(stack: "Stack", file: str) -> str:
    """The stack's only node, or the one named as this host."""
    if len(stack.nodes) == 1:
        return next(iter(stack.nodes))
    host = socket.gethostname().partition(".")[0]
    if host in stack.nodes:
        return host
    raise CannotRunError(
        f"{file} has several nodes ({', '.join(stack.nodes)}), and none is called '{host}' as this "
        "host is",
        "say which one this machine is with --node",
    )
