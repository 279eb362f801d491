"""`trimaran check`: what files mean, before anything runs."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from trimaran.stack.describe import describe
from trimaran.stack.errors import Problem, StackError
from trimaran.stack.load import load
from trimaran.stack.model import Stack
from trimaran.stack.report import Note, remarkable, summary
from trimaran.system.files import DiskFiles

OK, REFUSED, CANNOT_RUN = 0, 1, 2

_STYLES = {
    "honoured": "green",
    "no effect": "yellow",
    "refused": "bold red",
    "unknown": "bold yellow",
    "warning": "bold yellow",
}


def check(files: Sequence[Path], node: str | None = None, console: Console | None = None) -> int:
    """Check each file on its own (`node` names the node of a classic file) and print what every
    node will do, the warnings and the compatibility report. Returns the exit code: 0 all can be
    used, 1 something is refused or wrong, 2 a file cannot be read."""
    console = console or Console()
    return max((_check(str(path), node, console) for path in files), default=OK)


def _check(path: str, node: str | None, console: Console) -> int:
    try:
        loaded = load([path], DiskFiles(), node)
    except StackError as error:
        _print_notes(console, path, error.notes)
        _print_problems(console, path, error.problems)
        return REFUSED
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        line = Text(f"{path}: cannot be read: {reason}", style="bold red")
        console.print(line, soft_wrap=True)
        return CANNOT_RUN
    _print_tasks(console, path, loaded.stack)
    _print_notes(console, path, loaded.notes)
    return OK


def _print_tasks(console: Console, path: str, stack: Stack) -> None:
    console.print(Text.assemble((f"{path}: ", ""), ("can be used", "bold green")), soft_wrap=True)
    table = Table("node", "address", "what it will do", show_lines=True)
    for name, tasks in describe(stack).items():
        machine = stack.nodes[name]
        address = f"{machine.address or 'its own'}\n{machine.interface}"
        table.add_row(Text(name, style="bold"), Text(address), Text("\n".join(tasks)))
    console.print(table)


def _print_notes(console: Console, path: str, notes: Sequence[Note]) -> None:
    counts = summary(notes)
    if counts:
        console.print(Text(f"{path}: {counts}", style="bold"), soft_wrap=True)
    for status, style in _STYLES.items():
        for note in (note for note in remarkable(notes) if note.status == status):
            place = f"{note.place.file}:{note.place.line}"
            line = Text.assemble((f"  {status:9}", style), f"  {place}  ", (note.word, "bold"))
            console.print(line + Text(f": {note.message}" if note.message else ""), soft_wrap=True)


def _print_problems(console: Console, path: str, problems: Sequence[Problem]) -> None:
    for problem in problems:
        console.print(Text(str(problem), style="red"), soft_wrap=True)
    count = f"{len(problems)} problem{'s' * (len(problems) != 1)}"
    console.print(Text(f"{path}: cannot be used: {count}", style="bold red"), soft_wrap=True)
