"""`trimaran lab`: the whole system on this machine, every node in its own network namespace."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from trimaran.lab.lab import Lab, LabError, NodeStatus, clean, run_directory
from trimaran.lab.topology import Topology, TopologyError, from_stack, from_table
from trimaran.stack.model import Stack
from trimaran.system import namespaces

app = typer.Typer(
    help="The whole system on one machine: every node in its own network namespace.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Option("--name", envvar="TRIMARAN_LAB", help="which lab")]
Node = Annotated[str, typer.Argument(metavar="NODE", help="a node of the lab")]
Role = Annotated[str | None, typer.Argument(help="one of its roles; else the whole daemon")]
StackFile = Annotated[
    Path,
    typer.Argument(
        metavar="STACK",
        exists=True,
        dir_okay=False,
        help="stack.yaml, or (with --table) a table of nodes with a command line each",
    ),
]
AsTable = Annotated[bool, typer.Option("--table", help="STACK is a table of nodes")]


@app.command()
def up(stack: StackFile, name: Name = "lab", table: AsTable = False) -> None:
    """Make the lab and start every node's daemon; it runs until `lab down`."""
    with _explained():
        lab = Lab.create(_topology(stack, name, table))
        try:
            for machine in lab.topology.nodes.values():
                lab.launch(machine)
            lab.wait_ready(list(lab.topology.nodes))
        except BaseException:
            lab.down()
            raise
        _print_status(lab)


@app.command()
def down(name: Name = "lab") -> None:
    """End the lab and remove everything of it."""
    with _explained():
        if not clean(name):
            print(f"there is no lab '{name}'")


@app.command()
def status(name: Name = "lab") -> None:
    """Every node: its cable, its roles, who is master, which real servers are listed."""
    with _explained():
        _print_status(Lab.find(name))


@app.command(
    name="exec", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def execute(
    context: typer.Context,
    node: Annotated[str, typer.Argument(metavar="NODE", help="a node, `client` or `switch`")],
    name: Name = "lab",
) -> None:
    """Run a command on a node, on the client or on the switch: lab exec NODE -- CMD."""
    with _explained():
        if not context.args:
            raise LabError("what shall run? write: trimaran lab exec NODE -- COMMAND")
        lab = Lab.find(name)
        namespaces.enter(lab.namespace(node))
        os.environ["TRIMARAN_RUN_DIR"] = str(lab.run)
        try:
            os.execvp(context.args[0], context.args)
        except OSError as error:
            raise LabError(f"cannot run {context.args[0]}: {error.strerror}") from error


@app.command()
def stop(node: Node, role: Role = None, name: Name = "lab") -> None:
    """Stop a node's daemon, or one role of it, gracefully."""
    with _explained():
        lab = Lab.find(name)
        if role is None:
            lab.stop(node)
        else:
            lab.role(node, role, "stop")


@app.command()
def start(node: Node, role: Role = None, name: Name = "lab") -> None:
    """Start a node's daemon (after `kill` the machine boots first), or one role of it."""
    with _explained():
        lab = Lab.find(name)
        if role is None:
            lab.start(node)
            lab.wait_ready([node])
        else:
            lab.role(node, role, "start")


@app.command()
def kill(node: Node, name: Name = "lab") -> None:
    """Power loss: the node's cable is dead and all its processes are gone at the same moment."""
    with _explained():
        Lab.find(name).kill(node)


@app.command()
def cut(
    node: Node,
    silent: Annotated[
        bool, typer.Option("--silent", help="keep the carrier and drop every frame")
    ] = False,
    name: Name = "lab",
) -> None:
    """Cut a node's cable."""
    with _explained():
        Lab.find(name).cut(node, silent=silent)


@app.command()
def heal(node: Node, name: Name = "lab") -> None:
    """Mend a node's cable."""
    with _explained():
        Lab.find(name).heal(node)


def _topology(file: Path, lab: str, table: bool) -> Topology:
    file = file.absolute()
    data = yaml.safe_load(file.read_text())
    place = {
        "lab": lab,
        "source": str(file),
        "directory": str(file.parent),
        "run": str(run_directory(lab)),
    }
    if table:
        return from_table(data, **place)
    return from_stack(Stack.model_validate(data), **place)


@contextmanager
def _explained() -> Iterator[None]:
    """One sentence and exit status 2 where the lab cannot do what was asked."""
    if sys.platform != "linux":
        _give_up("the lab needs Linux (network namespaces, eBPF): run it on a Linux machine or VM")
    if os.geteuid() != 0:
        _give_up("the lab makes network namespaces and so needs root: run it with sudo")
    try:
        yield
    except (LabError, TopologyError, namespaces.NamespaceError) as error:
        _give_up(str(error))


def _give_up(message: str) -> None:
    print(f"trimaran: {message}", file=sys.stderr)
    raise typer.Exit(2)


def _print_status(lab: Lab) -> None:
    table = Table(title=f"lab {lab.topology.lab} · {lab.topology.source}", title_justify="left")
    for column in ("node", "address", "cable", "roles"):
        table.add_column(column)
    for name in lab.topology.nodes:
        state = lab.status(name)
        table.add_row(name, str(state.machine.address.ip), state.link, _roles(state))
    client = lab.topology.client
    table.add_row("client", str(client.address.ip), lab.link("client"), "")
    Console().print(table)
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


def _detail(role: str, status: dict[str, object]) -> str:
    """What matters of a role's own status (docs/decisions/0002)."""
    if role == "vrrp":
        routers: list[dict[str, str]] = status.get("routers", [])  # type: ignore[assignment]
        return "".join(f" · {each['name']} [bold]{each['state']}[/]" for each in routers)
    if role == "director":
        services: list[dict[str, list[dict[str, object]]]] = status.get("services", [])  # type: ignore[assignment]
        return "".join(f" · {each['name']}: {_listed(each['real_servers'])}" for each in services)
    return ""


def _listed(real_servers: list[dict[str, object]]) -> str:
    return ", ".join(
        str(each["name"]) if each["listed"] else f"[red]{each['name']} out[/]"
        for each in real_servers
    )
