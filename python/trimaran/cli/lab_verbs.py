"""What the verbs of `trimaran lab` do and print."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from trimaran.lab import demo as scenario
from trimaran.lab.cast import Cast, CastError, cast
from trimaran.lab.lab import READY_S, Lab, LabError, NodeStatus
from trimaran.lab.requirements import require
from trimaran.lab.screen import LiveScreen, print_result
from trimaran.lab.stage import Stage
from trimaran.lab.topology import Topology, TopologyError, from_stack, from_table
from trimaran.lab.traces import clean, run_directory
from trimaran.lab.view import View
from trimaran.stack.model import Stack
from trimaran.stack.yaml import read_stack
from trimaran.system import namespaces
from trimaran.system.errors import CannotRunError
from trimaran.system.files import DiskFiles

INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


def up(file: Path, name: str, *, table: bool) -> None:
    """`lab up`. Raises StackError, CannotRunError."""
    with _explained(), _until_interrupted():
        lab = Lab.create(_table(file, name) if table else _topology(_read(file), file, name))
        _start(lab)
        _print_status(lab)


def down(name: str) -> None:
    """`lab down`."""
    with _explained():
        if not clean(name):
            print(f"there is no lab '{name}'")


def status(name: str) -> None:
    """`lab status`."""
    with _explained():
        _print_status(Lab.find(name))


def execute(name: str, node: str, command: list[str]) -> None:
    """`lab exec`: becomes the command."""
    with _explained():
        if not command:
            raise LabError("what shall run? write: trimaran lab exec NODE -- COMMAND")
        lab = Lab.find(name)
        namespaces.enter(lab.namespace(node))
        os.environ["TRIMARAN_RUN_DIR"] = str(lab.run)
        try:
            os.execvp(command[0], command)
        except OSError as error:
            raise LabError(f"cannot run {command[0]}: {error.strerror}") from error


def stop(name: str, node: str, role: str | None) -> None:
    """`lab stop`."""
    with _explained():
        lab = Lab.find(name)
        if role is None:
            lab.stop(node)
        else:
            lab.role(node, role, "stop")


def start(name: str, node: str, role: str | None) -> None:
    """`lab start`."""
    with _explained():
        lab = Lab.find(name)
        if role is None:
            lab.start(node)
            lab.wait_ready([node])
        else:
            lab.role(node, role, "start")


def kill(name: str, node: str) -> None:
    """`lab kill`."""
    with _explained():
        Lab.find(name).kill(node)


def cut(name: str, node: str, *, silent: bool) -> None:
    """`lab cut`."""
    with _explained():
        Lab.find(name).cut(node, silent=silent)


def heal(name: str, node: str) -> None:
    """`lab heal`."""
    with _explained():
        Lab.find(name).heal(node)


def demo(file: Path, name: str, report: Path) -> bool:
    """`lab demo`: True when every step held. Raises StackError, CannotRunError."""
    from trimaran.lab.report import as_html, as_json

    console = Console(highlight=False)
    with _explained(), _until_interrupted():
        stack = _read(file)
        players = cast(stack, _pages(stack, file))
        lab = Lab.create(_topology(stack, file, name), owner=os.getpid())
        try:
            stage = _play(console, lab, players)
        finally:
            _uninterrupted(lab.down)
    report.mkdir(parents=True, exist_ok=True)
    files = [report / "report.json", report / "report.html"]
    files[0].write_text(as_json(stage.outcome))
    files[1].write_text(as_html(stage))
    print_result(console, stage, [str(each) for each in files])
    return stage.outcome.ok


def _play(console: Console, lab: Lab, players: Cast) -> Stage:
    titles = [title for title, _action in scenario.STEPS]
    screen = LiveScreen(console, "Trimaran · the seven-node system", titles)
    view = View(lab, players)
    stage = Stage(lab, players, view, screen)
    with screen:
        screen.wait("the nodes start", time.monotonic(), READY_S)
        _start(lab)
        screen.wait("", 0.0, 0.0)
        screen.stage = stage
        scenario.play(stage, scenario.STEPS)
    return stage


def _start(lab: Lab) -> None:
    try:
        for machine in lab.topology.nodes.values():
            lab.launch(machine)
        lab.wait_ready(list(lab.topology.nodes))
        lab.wait_masters()
    except BaseException:
        _uninterrupted(lab.down)
        raise


def _read(file: Path) -> Stack:
    stack, _notes = read_stack(file.read_text(), str(file.absolute()), DiskFiles())
    return stack


def _place(file: Path, name: str) -> dict[str, Any]:
    file = file.absolute()
    return {
        "lab": name,
        "source": str(file),
        "directory": str(file.parent),
        "run": str(run_directory(name)),
    }


def _topology(stack: Stack, file: Path, name: str) -> Topology:
    return from_stack(stack, **_place(file, name))


def _table(file: Path, name: str) -> Topology:
    return from_table(yaml.safe_load(file.read_text()), **_place(file, name))


def _pages(stack: Stack, file: Path) -> dict[str, str]:
    """The text of each site's page."""
    pages: dict[str, str] = {}
    for name, site in stack.sites.items():
        place = file.absolute().parent / site.root / site.index[0]
        try:
            pages[name] = place.read_text().strip()
        except OSError as error:
            raise LabError(f"cannot read the page of {name}: {place}: {error.strerror}") from error
    return pages


@contextmanager
def _explained() -> Iterator[None]:
    """What the lab cannot do is a CannotRunError."""
    require()
    try:
        yield
    except (LabError, TopologyError, CastError, namespaces.NamespaceError) as error:
        raise CannotRunError(str(error)) from error


@contextmanager
def _until_interrupted() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does; the process then exits 128 + signal."""
    received: list[int] = []
    raised = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal raised
        if number != signal.SIGALRM:
            received.append(number)
        if _in_destructor(frame):  # what is raised there is lost: once more, in a moment
            signal.setitimer(signal.ITIMER_REAL, 0.02)
        elif not raised:  # a second one must not keep the first from cleaning up
            raised = True
            raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in INTERRUPTIONS}
    try:
        yield
    except KeyboardInterrupt:
        print("trimaran: interrupted; everything is removed", file=sys.stderr)
        sys.exit(128 + received[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _in_destructor(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def _uninterrupted(action: Callable[[], None]) -> None:
    """Clean up, whatever signals come meanwhile."""
    signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
    try:
        action()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, INTERRUPTIONS)


def _print_status(lab: Lab) -> None:
    table = Table(title=f"lab {lab.topology.lab} · {lab.topology.source}", title_justify="left")
    for column in ("node", "address", "cable", "roles"):
        table.add_column(column)
    for name in lab.topology.nodes:
        state = lab.status(name)
        table.add_row(name, str(state.machine.address.ip), state.link, _roles(state))
    client = lab.topology.client
    table.add_row("client", str(client.address.ip), lab.link("client"), "")
    Console(highlight=False).print(table)
    print(f"namespaces: {client.namespace.removesuffix('client')}NODE · logs: {lab.run}/NODE.log")


def _roles(state: NodeStatus) -> str:
    """What a node says of itself, a role a line."""
    if not state.power:
        return "[red]no power[/]"
    if not state.running:
        return "[red]stopped[/]"
    if state.machine.command[0] != "trimaran":
        return state.machine.command[0]
    if state.daemon is None:
        return "[yellow]does not answer[/]"
    return "\n".join(
        f"{role} {each['state']}{_detail(role, each.get('status') or {})}"
        for role, each in state.daemon["roles"].items()
    )


def _detail(role: str, status: dict[str, Any]) -> str:
    """What matters of a role's own status (docs/decisions/0002)."""
    if role == "vrrp":
        routers = status.get("routers", [])
        return "".join(f" · {each['name']} [bold]{each['state']}[/]" for each in routers)
    if role == "director":
        services = status.get("services", [])
        return "".join(f" · {each['name']}: {_listed(each['real_servers'])}" for each in services)
    return ""


def _listed(real_servers: list[dict[str, Any]]) -> str:
    return ", ".join(
        str(each["name"]) if each["listed"] else f"[red]{each['name']} out[/]"
        for each in real_servers
    )
