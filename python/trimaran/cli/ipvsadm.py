"""`trimaran ipvsadm`: ipvsadm's command line for our directors. Exit statuses are ipvsadm's."""

import asyncio
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from trimaran.cli.nodes import control_socket
from trimaran.director import ipvsadm_text as text
from trimaran.director.ipvs import Service, State
from trimaran.director.ipvs_errors import NO_SERVICE
from trimaran.director.ipvs_wire import Command, Message, encode
from trimaran.director.ipvsadm_arguments import TRY_HELP, Call, UsageError, parse
from trimaran.director.ipvsadm_state import INFO, connection, state
from trimaran.director.ipvsadm_text import View
from trimaran.director.ipvsadm_words import Option
from trimaran.node.client import ControlClient, ControlError

VERSION = "ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)"
FAILED, USAGE = 255, 2
LIST_FAILED = 1
VIEWS = {  # the first that is asked for
    Option.STATS: View.STATISTICS,
    Option.RATE: View.RATES,
    Option.THRESHOLDS: View.THRESHOLDS,
    Option.PERSISTENT_CONN: View.PERSISTENT,
    Option.TUN_INFO: View.TUNNELS,
}
COMMANDS = {
    "add-service": Command.NEW_SERVICE,
    "edit-service": Command.SET_SERVICE,
    "delete-service": Command.DEL_SERVICE,
    "add-server": Command.NEW_DEST,
    "edit-server": Command.SET_DEST,
    "delete-server": Command.DEL_DEST,
    "flush": Command.FLUSH,
    "zero": Command.ZERO,
    "set": Command.SET_CONFIG,
    "start-daemon": Command.NEW_DAEMON,
    "stop-daemon": Command.DEL_DAEMON,
}
HELP = """\
trimaran ipvsadm [--node NAME] [--run-dir DIR] ARGUMENTS
ARGUMENTS are ipvsadm's (ipvsadm(8)). Changes are changes at run time: they are kept apart from the
configuration, `trimaran status` shows them, `trimaran reload --drop-changes` drops them.
"""


def run(arguments: Sequence[str]) -> int:
    """The exit status. Raises CannotRunError where no node answers."""
    node, run_dir, rest = _ours(list(arguments))
    try:
        call = parse(rest or ["-L"])
    except UsageError as error:
        return _complain(str(error), error.status)
    if call.command not in ("help", "version"):
        path = control_socket(node, Path(run_dir) if run_dir else None)
    match call.command:
        case "help":
            print(HELP, end="")
        case "version":
            print(VERSION)
        case "list" | "save":
            return _list(path, call)
        case "restore":
            return _restore(path, sys.stdin)
        case _:
            return _change(path, call)
    return 0


def _ours(words: list[str]) -> tuple[str | None, str | None, list[str]]:
    """Which node, where its files are, and ipvsadm's own arguments."""
    found = {
        option: os.environ[variable]
        for option, variable in (("--node", "TRIMARAN_NODE"), ("--run-dir", "TRIMARAN_RUN_DIR"))
        if variable in os.environ
    }
    while len(words) > 1 and words[0] in ("--node", "--run-dir"):
        found[words[0]] = words[1]
        words = words[2:]
    return found.get("--node"), found.get("--run-dir"), words


def _complain(sentence: str, status: int) -> int:
    print(sentence, file=sys.stderr)
    return status


# --- listings


def _list(path: Path, call: Call) -> int:
    try:
        found = asyncio.run(_state(path, Option.CONNECTION in call.options))
    except ControlError as error:
        return _complain(str(error), LIST_FAILED)
    shown = listing(found, call)
    if shown is None:
        return _complain(NO_SERVICE, LIST_FAILED)
    print(shown, end="")
    return 0


def listing(found: State, call: Call) -> str | None:
    """What is printed; None where there is no such service."""
    given = call.options
    if Option.CONNECTION in given:
        return text.connections(found.connections, engines=Option.PERSISTENT_CONN in given)
    if Option.TIMEOUT in given:
        return text.timeouts(found.timeouts)
    if Option.DAEMON in given:
        return text.daemons(found.daemons)
    view = next((view for option, view in VIEWS.items() if option in given), View.PLAIN)
    show: Callable[..., str] = text.table
    what: object = found
    if call.command == "save":
        view = View.RULES
    elif call.service is not None:
        rows = [row for row in found.services if row.service.key == call.service.key]
        if not rows:
            return None
        show, what = text.one_service, rows[0]
    return show(what, view, exact=Option.EXACT in given, in_order=Option.NOSORT not in given)


async def _state(path: Path, connections: bool) -> State:
    async with ControlClient(path) as client:
        if connections:
            return State(INFO, connections=tuple(map(connection, await client.connections())))
        role = (await client.status())["roles"].get("director")
    if role is None or role["status"] is None:
        raise ControlError("no director runs on this node")
    return state(role["status"])


# --- changes


def _change(path: Path, call: Call) -> int:
    try:
        asyncio.run(_ask(path, message(call)))
    except ControlError as error:
        return _complain(str(error), FAILED)
    return 0


def message(call: Call) -> Message:
    """What is asked for, in IPVS's words."""
    command = COMMANDS[call.command]
    service = call.service
    if call.destination is not None and service is not None:
        service = Service(service.key)
    return Message(
        command,
        service,
        destination=call.destination,
        timeouts=call.timeouts,
        daemon=call.daemon,
    )


async def _ask(path: Path, wanted: Message) -> None:
    async with ControlClient(path) as client:
        await client.ipvs(encode(wanted))


def _restore(path: Path, lines: Iterable[str]) -> int:
    """Rules as -S prints them. As ipvsadm, it goes on after a refusal, and its status is the last
    line's; a line that is no command ends it."""
    status = 0
    for line in lines:
        words = shlex.split(line)
        if not words:
            continue
        try:
            call = parse(words)
            if call.command not in COMMANDS:
                raise UsageError(TRY_HELP, FAILED)
        except UsageError as error:
            return _complain(str(error), error.status)
        status = _change(path, call)
    return status
