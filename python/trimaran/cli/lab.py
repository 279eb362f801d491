"""`trimaran lab`: its verbs and their arguments. What they do lies in lab_verbs."""

from pathlib import Path
from typing import Annotated, Optional

import typer

app = typer.Typer(
    help="The whole system on one machine: every node in its own network namespace.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Option("--name", envvar="TRIMARAN_LAB", help="Which lab.")]
Node = Annotated[str, typer.Argument(metavar="NODE", help="A node of the lab.")]
Role = Annotated[
    Optional[str],  # noqa: UP045 -- typer reads it so
    typer.Argument(metavar="[ROLE]", help="One of its roles; else the whole daemon."),
]
StackFile = Annotated[Path, typer.Argument(metavar="STACK", help="stack.yaml.")]


@app.command()
def up(
    stack: StackFile,
    name: Name = "lab",
    table: Annotated[
        bool, typer.Option("--table", help="STACK is a table: nodes with a command line each.")
    ] = False,
) -> None:
    """Make the lab and start every node's daemon; it runs until `lab down`."""
    from trimaran.cli import lab_verbs

    lab_verbs.up(stack, name, table=table)


@app.command()
def down(name: Name = "lab") -> None:
    """End the lab and remove everything of it."""
    from trimaran.cli import lab_verbs

    lab_verbs.down(name)


@app.command()
def status(name: Name = "lab") -> None:
    """Every node: its cable, its roles, who is master, which real servers are listed."""
    from trimaran.cli import lab_verbs

    lab_verbs.status(name)


@app.command(
    name="exec", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def execute(
    context: typer.Context,
    node: Annotated[str, typer.Argument(metavar="NODE", help="A node, `client` or `switch`.")],
    name: Name = "lab",
) -> None:
    """Run a command on a node, on the client or on the switch: lab exec NODE -- CMD."""
    from trimaran.cli import lab_verbs

    lab_verbs.execute(name, node, context.args)


@app.command()
def stop(node: Node, role: Role = None, name: Name = "lab") -> None:
    """Stop a node's daemon, or one role of it, gracefully."""
    from trimaran.cli import lab_verbs

    lab_verbs.stop(name, node, role)


@app.command()
def start(node: Node, role: Role = None, name: Name = "lab") -> None:
    """Start a node's daemon (after `kill` the machine boots first), or one role of it."""
    from trimaran.cli import lab_verbs

    lab_verbs.start(name, node, role)


@app.command()
def kill(node: Node, name: Name = "lab") -> None:
    """Power loss: the node's cable is dead and all its processes are gone at the same moment."""
    from trimaran.cli import lab_verbs

    lab_verbs.kill(name, node)


@app.command()
def cut(
    node: Node,
    silent: Annotated[
        bool, typer.Option("--silent", help="Keep the carrier and drop every frame.")
    ] = False,
    name: Name = "lab",
) -> None:
    """Cut a node's cable."""
    from trimaran.cli import lab_verbs

    lab_verbs.cut(name, node, silent=silent)


@app.command()
def heal(node: Node, name: Name = "lab") -> None:
    """Mend a node's cable."""
    from trimaran.cli import lab_verbs

    lab_verbs.heal(name, node)


@app.command()
def demo(
    stack: StackFile,
    name: Name = "demo",
    report: Annotated[
        Path, typer.Option("--report", file_okay=False, help="Where the report is written.")
    ] = Path("lab-report"),
) -> None:
    """Play the tests of the seven-node system and write a report; exit 1 if one fails."""
    from trimaran.cli import lab_verbs

    if not lab_verbs.demo(stack, name, report):
        raise typer.Exit(1)
