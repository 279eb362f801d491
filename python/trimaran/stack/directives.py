"""Tables of directives, and the walk over statements that makes a note of every one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NoReturn

from trimaran.stack.blocks import Statement
from trimaran.stack.errors import Place, Problem, StackError, in_order
from trimaran.stack.nearest import nearest
from trimaran.stack.report import Note, Status


@dataclass(frozen=True)
class Directive:
    """What one word means in one context: how many arguments it takes (`most` None: any number),
    whether it opens a block (None: it may), and what becomes of it."""

    name: str
    least: int
    most: int | None
    status: Status
    note: str = ""
    block: bool | None = False


Table = Mapping[str, Mapping[str, Directive]]  # context: name: directive


def rows(
    status: Status, arity: str, names: str, note: str = "", block: bool | None = False
) -> list[Directive]:
    """Directives that differ in nothing but their names. `arity`: '1', '0-1' or '1+'."""
    if arity.endswith("+"):
        least, most = int(arity[:-1]), None
    else:
        first, _, last = arity.partition("-")
        least, most = int(first), int(last or first)
    return [Directive(name, least, most, status, note, block) for name in names.split()]


def table(contexts: Mapping[str, Iterable[list[Directive]]]) -> Table:
    """Rows by context as a table to look up in. A word stands once in a context."""
    built: dict[str, dict[str, Directive]] = {}
    for context, groups in contexts.items():
        built[context] = {}
        for directive in (directive for group in groups for directive in group):
            assert directive.name not in built[context], f"{context}: {directive.name} twice"
            built[context][directive.name] = directive
    return built


class RefusedError(Exception):
    """A value that cannot be obeyed; the walk puts place and word to it."""

    def __init__(self, message: str, help_: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.help = help_


def refuse(message: str, help_: str = "") -> NoReturn:
    """Refuse the statement in hand. Raises RefusedError."""
    raise RefusedError(message, help_)


class Walk:
    """Collects the notes and the problems of one reading."""

    def __init__(
        self, directives: Table, notes: Iterable[Note] = (), misplaced: Status = "unknown"
    ) -> None:
        self._table = directives
        self._misplaced: Status = misplaced  # what becomes of a known word in a wrong context
        self._notes: dict[int, Note] = {}
        self._others: list[Note] = list(notes)
        self._kept: list[Statement] = []  # keeps the ids above from being used again
        self.problems: list[Problem] = []

    def honoured(self, statements: Iterable[Statement], context: str) -> list[Statement]:
        """The statements that the reader is to obey; a note is made of every one."""
        return [statement for statement in statements if self._status(statement, context)]

    def _status(self, statement: Statement, context: str) -> bool:
        directive = self._table[context].get(statement.name)
        if directive is None:
            self._unknown(statement, context)
            return False
        wrong = _wrong_form(directive, statement)
        if wrong and directive.status == "honoured":
            self.refuse(statement, wrong)
            return False
        self.note(statement, directive.status, directive.note)
        if directive.status == "refused":
            self.problems.append(
                Problem(statement.place, f"'{statement.name}' is refused", directive.note)
            )
        return directive.status == "honoured"

    def _unknown(self, statement: Statement, context: str) -> None:
        homes = [home for home, names in self._table.items() if statement.name in names and home]
        match = nearest(statement.name, self._table[context])
        if homes:
            message = f"does not belong here; it belongs into {', '.join(homes[:3])}"
            if self._misplaced == "refused":
                self.refuse(statement, message)
                return
        elif match:
            message = f"not known; did you mean '{match}'?"
        else:
            message = "not known"
        self.note(statement, "unknown", message)

    def note(self, statement: Statement, status: Status, message: str = "") -> None:
        """Say what becomes of a statement; a later word replaces an earlier one."""
        self._kept.append(statement)
        self._notes[id(statement)] = Note(statement.place, statement.name, status, message)

    def explain(self, statement: Statement, message: str) -> None:
        """Add to the note of a statement, leaving its status."""
        self._notes[id(statement)] = replace(self._notes[id(statement)], message=message)

    def warn(self, place: Place, word: str, message: str) -> None:
        """Say something besides what becomes of the statement."""
        note = Note(place, word, "warning", message)
        if note not in self._others:
            self._others.append(note)

    def refuse(self, statement: Statement, message: str, help_: str = "") -> None:
        """The configuration cannot be used because of this statement."""
        self.note(statement, "refused", message)
        self.problems.append(Problem(statement.place, f"'{statement.name}' {message}", help_))

    def notes(self) -> list[Note]:
        """Every note, in the order of the text."""
        every = [*self._notes.values(), *self._others]
        return sorted(every, key=lambda note: (note.place.file, note.place.line, note.place.column))

    def finish(self) -> None:
        """Raises StackError if there was any problem."""
        if self.problems:
            raise StackError(in_order(self.problems), self.notes())


def _wrong_form(directive: Directive, statement: Statement) -> str:
    count = len(statement.arguments)
    if count < directive.least or (directive.most is not None and count > directive.most):
        return f"takes {_arity(directive)}, not {count}"
    if directive.block is True and statement.block is None:
        return "opens a block: '{' is missing"
    if directive.block is False and statement.block is not None:
        return "has no block"
    return ""


def _arity(directive: Directive) -> str:
    least, most = directive.least, directive.most
    if most is None:
        return f"at least {least} argument{'s' * (least != 1)}"
    if least == most:
        return f"{least} argument{'s' * (least != 1)}" if least else "no argument"
    return f"{least} to {most} arguments"
