"""`trimaran`: arguments to one function per verb. Every module is imported by the verb it serves,
so that `trimaran --version` is quick."""

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from trimaran import __version__
from trimaran.cli import lab, vrrp
from trimaran.system.errors import CannotRunError

app = typer.Typer(
    help="VRRP failover, an L4 director and an L7 proxy in one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(lab.app, name="lab")
app.add_typer(vrrp.app, name="vrrp")

FAILED, CANNOT_RUN = 1, 2

Node = Annotated[Optional[str], typer.Option("--node", "-n", help="The node's name.")]  # noqa: UP045
RunningNode = Annotated[
    Optional[str],  # noqa: UP045 -- typer reads it so
    typer.Option("--node", "-n", help="The node's name.", envvar="TRIMARAN_NODE"),
]
RunDirectoryOption = Annotated[
    Optional[Path],  # noqa: UP045 -- typer reads it so
    typer.Option("--run-dir", help="Where sockets and state are.", envvar="TRIMARAN_RUN_DIR"),
]
Json = Annotated[bool, typer.Option("--json", help="Print data instead of tables.")]
File = Annotated[Optional[Path], typer.Option()]  # noqa: UP045


def _version(wanted: bool) -> None:
    if wanted:
        print(f"trimaran {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """VRRP failover, an L4 director and an L7 proxy in one."""


@app.command()
def run(
    stack: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(metavar="[STACK]", help="stack.yaml."),
    ] = None,
    node: Node = None,
    keepalived: File = None,
    nginx: File = None,
    lvsrs: File = None,
    run_dir: RunDirectoryOption = None,
    record: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="DIR", help="Write every virtual router's inputs down there."),
    ] = None,
) -> None:
    """Run this machine's part of a stack, or of classic files."""
    if sys.platform != "linux":
        raise CannotRunError("Trimaran's roles are made of Linux's network", "run it on Linux")
    from trimaran.cli.run import Classic, run_node

    run_node(stack, Classic(keepalived, nginx, lvsrs), node, run_dir, record)


@app.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Of any kind.")],
    node: Node = None,
) -> None:
    """What files mean, and what each node would do."""
    from trimaran.cli.check import check as check_files

    raise typer.Exit(check_files(files, node))


@app.command()
def replay(
    recording: Annotated[Path, typer.Argument(metavar="FILE", help="`run --record` wrote it.")],
) -> None:
    """Play what a virtual router was told again; 1 when it answers otherwise."""
    from trimaran.cli.replay import replay_file

    raise typer.Exit(0 if replay_file(recording) else FAILED)


@app.command()
def digest(
    url: Annotated[str, typer.Argument(metavar="URL", help="http:// or https://.")],
    host: Annotated[Optional[str], typer.Option(help="The virtual host to ask for.")] = None,  # noqa: UP045
    version: Annotated[str, typer.Option(help="1.0, 1.0C or 1.1, as the check has it.")] = "1.1",
    timeout: Annotated[float, typer.Option(help="Seconds.")] = 5.0,
) -> None:
    """The digest of a page, for an HTTP check (keepalived's genhash)."""
    from trimaran.cli.digest import print_digest

    print_digest(url, host, version, timeout)


@app.command()
def status(
    node: RunningNode = None,
    run_dir: RunDirectoryOption = None,
    json: Json = False,
    drops: Annotated[
        bool, typer.Option("--drops", help="Why the director dropped packets, in sentences.")
    ] = False,
) -> None:
    """What the node's roles are doing."""
    from trimaran.cli.status import show_status

    show_status(node, run_dir, as_json=json, drops=drops)


@app.command()
def events(
    node: RunningNode = None,
    run_dir: RunDirectoryOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more.")] = False,
    json: Json = False,
) -> None:
    """What happened on the node, and why."""
    from trimaran.cli.events import show_events

    show_events(node, run_dir, follow=follow, as_json=json)


@app.command()
def start(role: str, node: RunningNode = None, run_dir: RunDirectoryOption = None) -> None:
    """Start a role that was stopped or has failed."""
    from trimaran.cli.roles import change_role

    change_role("start", role, node, run_dir)


@app.command()
def stop(role: str, node: RunningNode = None, run_dir: RunDirectoryOption = None) -> None:
    """Stop a role; the others go on."""
    from trimaran.cli.roles import change_role

    change_role("stop", role, node, run_dir)


@app.command()
def plan(
    new: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(metavar="[NEW]", help="A file in place of the node's first one."),
    ] = None,
    node: RunningNode = None,
    run_dir: RunDirectoryOption = None,
    json: Json = False,
) -> None:
    """What a reload would change, and whether mastership can move; nothing is changed."""
    from trimaran.cli.plan import show_plan

    show_plan(new, node, run_dir, as_json=json)


@app.command()
def reload(
    node: RunningNode = None,
    run_dir: RunDirectoryOption = None,
    drop_changes: Annotated[
        bool, typer.Option("--drop-changes", help="Forget what was drained, disabled, weighed.")
    ] = False,
) -> None:
    """Read the node's files again; an invalid file changes nothing."""
    from trimaran.cli.roles import reload_node

    reload_node(node, run_dir, keep_changes=not drop_changes)


Name = Annotated[str, typer.Argument(metavar="NAME", help="A real server or peer, or its address.")]
Service = Annotated[
    Optional[str],  # noqa: UP045 -- typer reads it so
    typer.Option("--service", "-s", help="Of this virtual service alone."),
]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Until no flow is left on it.")]
Timeout = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--timeout", "-t", min=0, help="Seconds to wait at most; then it has failed."),
]


@app.command()
def top(node: RunningNode = None, run_dir: RunDirectoryOption = None) -> None:
    """The node live: services, real servers, peers, virtual routers; drain and sort by keys."""
    from trimaran.cli.top import show_top

    show_top(node, run_dir)


@app.command()
def explain(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE|vrrp", help="A client, ADDRESS:PORT; or the word vrrp.")
    ],
    destination: Annotated[
        str, typer.Argument(metavar="DESTINATION|NAME", help="ADDRESS:PORT; or a virtual router.")
    ],
    udp: Annotated[bool, typer.Option("--udp", "-u", help="A datagram.")] = False,
    kind: Annotated[str, typer.Option(help="Which segment: syn, ack, fin or rst.")] = "syn",
    node: RunningNode = None,
    run_dir: RunDirectoryOption = None,
    json: Json = False,
) -> None:
    """What the director would do with a packet; or why this node is (not) a router's master."""
    if source == "vrrp":
        from trimaran.cli.explain_router import explain_router

        explain_router(destination, node, run_dir)
        return
    from trimaran.cli.explain import explain as explain_packet

    explain_packet(source, destination, "udp" if udp else "tcp", kind, node, run_dir, as_json=json)


@app.command()
def drain(
    name: Name,
    service: Service = None,
    wait: Wait = False,
    timeout: Timeout = None,
    node: RunningNode = None,
    run_dir: RunDirectoryOption = None,
) -> None:
    """Send a real server no new flow; those that it has go on."""
    from trimaran.cli.changes import change, wait_until_drained

    rows = change("drain", name, service, None, node, run_dir)
    if wait:
        wait_until_drained(rows, node, run_dir, timeout)


@app.command()
def disable(
    name: Name,
    service: Service = None,
    node: RunningNode = None,
    run_dir: RunDirectoryOption = None,
) -> None:
    """Take a real server out of the table; its flows end."""
    from trimaran.cli.changes import change

    change("disable", name, service, None, node, run_dir)


@app.command()
def enable(
    name: Name,
    service: Service = None,
    node: RunningNode = None,
    run_dir: RunDirectoryOption = None,
) -> None:
    """Take `drain` and `disable` back."""
    from trimaran.cli.changes import change

    change("enable", name, service, None, node, run_dir)


@app.command()
def weight(
    name: Name,
    weight: Annotated[str, typer.Argument(metavar="WEIGHT", help="A number, or 'configured'.")],
    service: Service = None,
    node: RunningNode = None,
    run_dir: RunDirectoryOption = None,
) -> None:
    """Give a real server another weight."""
    from trimaran.cli.changes import change, weight_of

    change("weight", name, service, weight_of(weight), node, run_dir)


@app.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def ipvsadm(context: typer.Context) -> None:
    """List and change the director as ipvsadm does; it takes ipvsadm's arguments."""
    from trimaran.cli.ipvsadm import run

    raise typer.Exit(run(context.args))


def main() -> None:
    """The one place where errors become exit codes: 0 well, 1 failed or refused, 2 cannot run
    here."""
    try:
        app()
    except CannotRunError as error:
        _fail(str(error), CANNOT_RUN)
    except Exception as error:
        from trimaran.node.client import ControlError
        from trimaran.stack.errors import StackError

        if not isinstance(error, StackError | ControlError):
            raise
        _fail(str(error), FAILED)


def _fail(message: str, status: int) -> None:
    print(f"trimaran: {message}", file=sys.stderr)
    sys.exit(status)
