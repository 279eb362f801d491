"""`trimaran run`: files to a plan, and the plan to a daemon."""

import os
import socket
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from trimaran.node import daemon, preflight, roles
from trimaran.node.keeper import RoleSpec
from trimaran.node.plan import plan
from trimaran.node.run_directory import RunDirectory, default
from trimaran.node.settings import NodePlan, RoleSettings
from trimaran.stack.load import Loaded, load, load_classic
from trimaran.stack.model import Stack
from trimaran.system.errors import CannotRunError
from trimaran.system.files import DiskFiles
from trimaran.vrrp.settings import VrrpSettings

_SAID = {"unknown", "warning"}  # `trimaran check` tells the rest


@dataclass(frozen=True)
class Classic:
    """The classic files of one machine; None where there is none."""

    keepalived: Path | None
    nginx: Path | None
    lvsrs: Path | None

    @property
    def given(self) -> Path | None:
        """One of them, or None."""
        return self.keepalived or self.nginx or self.lvsrs


def run_node(
    stack: Path | None,
    classic: Classic,
    node: str | None,
    run_dir: Path | None,
    record: Path | None = None,
) -> None:
    """Run until told to stop; `record`: where the vrrp process writes what it is told. Raises
    StackError, CannotRunError."""
    file = stack or classic.given
    if file is None:
        files = "stack.yaml, or --keepalived, --nginx and --lvsrs files"
        raise CannotRunError("there is nothing to run", f"give {files}")
    if stack is not None and classic.given is not None:
        raise CannotRunError("a stack and classic files cannot be mixed", "give one or the others")
    wanted = _load(stack, classic, node)
    name = node or _this_node(wanted, file)
    directory = RunDirectory(run_dir or default(), name)
    node_plan = _recorded(_plan(wanted, directory, file), record)

    def reread(instead: str | None = None) -> list[RoleSpec]:
        files = _instead(stack, classic, instead)
        again = _plan(_load(*files, name), directory, file)
        return roles.specs(_recorded(again, record), directory.lock)

    directory.take()
    try:
        findings = preflight.judge(node_plan, preflight.look(node_plan))
        for finding in findings:
            if finding.refuses:
                raise CannotRunError(finding.message, finding.mend)
        daemon.run(directory, roles.specs(node_plan, directory.lock), findings, reread)
    finally:
        directory.leave()


def _instead(
    stack: Path | None, classic: Classic, instead: str | None
) -> tuple[Path | None, Classic]:
    """The files, with another one in the place of the first."""
    if instead is None:
        return stack, classic
    if stack is not None:
        return Path(instead), classic
    first = "keepalived" if classic.keepalived else "nginx" if classic.nginx else "lvsrs"
    return None, replace(classic, **{first: Path(instead)})


def _plan(stack: Stack, directory: RunDirectory, file: Path) -> NodePlan:
    node_plan = plan(stack, directory.node, directory.state, directory.pins, str(file))
    if not node_plan.roles:
        node = directory.node
        raise CannotRunError(f"node {node} has no role in {file}", "give it one, or do not run it")
    return node_plan


def _recorded(node_plan: NodePlan, record: Path | None) -> NodePlan:
    if record is None:
        return node_plan
    told: dict[str, RoleSettings] = {
        name: replace(each, record=str(record.absolute()))
        if isinstance(each, VrrpSettings)
        else each
        for name, each in node_plan.roles.items()
    }
    return replace(node_plan, roles=told)


def _unreadable(error: OSError | UnicodeError) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{os.path.relpath(error.filename)}: cannot be read: {error.strerror}"
    return f"a file cannot be read: {error}"


def _load(stack: Path | None, classic: Classic, node: str | None) -> Stack:
    try:
        loaded = _read(stack, classic, node)
    except (OSError, UnicodeError) as error:
        raise CannotRunError(_unreadable(error)) from error
    for note in loaded.notes:
        if note.status in _SAID:
            print(f"trimaran: {note}", file=sys.stderr)
    return loaded.stack


def _read(stack: Path | None, classic: Classic, node: str | None) -> Loaded:
    """Relative paths in a file are taken from its directory: of absolute paths, so that every
    process takes them alike. A classic node is named by keepalived's router_id, else as the host
    is."""
    if stack is not None:
        return load([str(stack.absolute())], DiskFiles())
    keepalived, nginx, lvsrs = (
        str(path.absolute()) if path else None
        for path in (classic.keepalived, classic.nginx, classic.lvsrs)
    )
    name = node or (None if keepalived else _host())
    return load_classic(DiskFiles(), name, keepalived=keepalived, nginx=nginx, lvsrs=lvsrs)


def _this_node(stack: Stack, file: Path) -> str:
    """The stack's only node, or the one named as this host."""
    if len(stack.nodes) == 1:
        return next(iter(stack.nodes))
    host = _host()
    if host in stack.nodes:
        return host
    names = ", ".join(stack.nodes)
    raise CannotRunError(
        f"{file} has several nodes ({names}), and none is called '{host}' as this host is",
        "say which one this machine is with --node",
    )


def _host() -> str:
    return socket.gethostname().partition(".")[0]
