"""`trimaran run`: files to a plan, and the plan to a daemon."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trimaran.node.run_directory import RunDirectory, default
from trimaran.system.errors import CannotRunError

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
    raise NotImplementedError
