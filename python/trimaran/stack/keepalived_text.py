"""The lines of keepalived.conf before its words: include, `$NAME=value`, `@id`, `~SEQ` and `~LST`.

keepalived reads line by line: a definition holds from its line on, in included files too. The
result is one text that remembers where everything was written.
"""

import re
from collections.abc import Iterator
from posixpath import basename, dirname, join

from trimaran.stack.errors import Place, Problem, StackError
from trimaran.stack.files import Files
from trimaran.stack.keepalived_loops import repeated
from trimaran.stack.report import Note, Status
from trimaran.stack.source import MAX_CHARACTERS, Source

MAX_INCLUDES = 16  # deep
MAX_EXPANSIONS = 32  # deep
_SECRET = {"auth_pass", "key"}

_DEFINITION = re.compile(r"\s*\$([A-Za-z_]\w*)\s*=\s*(.*)", re.DOTALL)
_INCLUDE = re.compile(r"\s*(include[rmwba]?)\s+\"?([^\s\"#!]+)\"?\s*(?:[#!].*)?$")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_CONDITION = re.compile(r"\s*@(\^?)([^\s@^]+)\s*(.*)", re.DOTALL)
_PREDEFINED = {
    "_RANDOM": "a reload would choose another: write the number",
    "_ENV": "the daemon's environment is not yours: write the value, or `file:PATH` for a key",
    "_HASH": 'write the word in quotes: "a#b"',
    "_BANG": 'write the word in quotes: "a!b"',
}
_PREDEFINED_USE = re.compile(r"\$\{(_RANDOM|_ENV|_HASH|_BANG)\b[^}]*\}")
_CODE = re.compile(r"(?:\"[^\"]*(?:\"|$)|[^\"#!])*+")


def expand(
    text: str, file: str, files: Files, config_id: str | None = None
) -> tuple[Source, list[Note]]:
    """The text with its includes and definitions put in, and of `@id` lines those for `config_id`.
    Raises StackError."""
    expander = _Expander(file, files, config_id)
    expander.file(text, file, 0)
    if expander.problems:
        raise StackError(expander.problems, expander.notes)
    return expander.source, expander.notes


class _Expander:
    def __init__(self, file: str, files: Files, config_id: str | None) -> None:
        self.config_id = config_id
        self.source = Source(file)
        self.files = files
        self.variables: dict[str, str] = {"_PWD": dirname(file) or "."}
        if config_id is not None:
            self.variables["_INSTANCE"] = config_id
        self.notes: list[Note] = []
        self.problems: list[Problem] = []

    def file(self, text: str, file: str, depth: int) -> None:
        for number, line in _lines(text):
            place = Place(file, number, len(line) - len(line.lstrip()) + 1)
            code = self._chosen(_without_comment(line), place)
            if code is None:
                continue
            if match := _DEFINITION.match(code):
                self.variables[match[1]] = match[2].rstrip()
                self.notes.append(Note(place, f"${match[1]}", "honoured"))
            elif match := _INCLUDE.match(line):
                self._include(match[1], match[2], place, depth)
            elif code.lstrip().startswith("~"):
                self._repeat(code, place)
            else:
                self._line(code, Place(file, number, 1))
            if len(self.source) > MAX_CHARACTERS:
                message = f"longer than {MAX_CHARACTERS >> 20} million characters when put together"
                raise StackError([*self.problems, Problem(place, message)], self.notes)

    def _chosen(self, code: str, place: Place) -> str | None:
        """The line without its condition; None when it is for another configuration id."""
        match = _CONDITION.fullmatch(code)
        if match is None:
            return code
        if self.config_id is None:
            message = "lines for one configuration id need that id: give `--node ID`"
            if message not in (problem.message for problem in self.problems):
                self._refuse(place, message)
            return None
        chosen = (match[2] == self.config_id) is not (match[1] == "^")
        status: Status = "honoured" if chosen else "no effect"
        other = "" if chosen else f"not for '{self.config_id}'"
        self.notes.append(Note(place, f"@{match[1]}{match[2]}", status, other))
        return match[3] if chosen else None

    def _repeat(self, code: str, place: Place) -> None:
        try:
            bindings, rest = repeated(code)
        except ValueError as error:
            self._refuse(place, str(error))
            return
        before = dict(self.variables)
        for binding in bindings:
            self.variables |= binding
            self.source.append(self._value(rest, place) + "\n", place, verbatim=False)
            if len(self.source) > MAX_CHARACTERS:
                break
        self.variables = before
        self.notes.append(Note(place, code.split("(")[0].strip(), "honoured"))

    def _refuse(self, place: Place, message: str) -> None:
        self.problems.append(Problem(place, message))
        self.notes.append(Note(place, message.split(" (")[0], "refused"))

    def _include(self, word: str, pattern: str, place: Place, depth: int) -> None:
        if depth >= MAX_INCLUDES:
            message = f"files included deeper than {MAX_INCLUDES}; does one include itself?"
            raise StackError([*self.problems, Problem(place, message)], self.notes)
        found = self.files.match(join(dirname(place.file), self._value(pattern)))
        missing = "" if found else f"no file matches '{pattern}'"
        if missing and word in ("includem", "includea"):
            self.problems.append(Problem(place, missing, "or write `include`"))
        self.notes.append(Note(place, word, "honoured" if found else "warning", missing))
        for path in found:
            try:
                text = self.files.read(path)
            except OSError as error:
                message = f"cannot read '{basename(path)}': {error.strerror}"
                self.problems.append(Problem(place, message))
                continue
            self.file(text, path, depth + 1)

    def _line(self, line: str, start: Place) -> None:
        """Add a line, its variables replaced."""
        offset = 0
        for match in _PREDEFINED_USE.finditer(line):
            place = Place(start.file, start.line, match.start() + 1)
            name = match[1]
            problem = Problem(place, f"'${{{name}}}' is refused", _PREDEFINED[name])
            self.problems.append(problem)
        for match in _VARIABLE.finditer(line):
            place = Place(start.file, start.line, match.start() + 1)
            name = match[1] or match[2]
            if name not in self.variables:
                if line.split(maxsplit=1)[0] not in _SECRET:  # its dollar is its own affair
                    message = "is not defined; taken as it is written"
                    self.notes.append(Note(place, match[0], "unknown", message))
                continue
            before = Place(start.file, start.line, offset + 1)
            self.source.append(line[offset : match.start()], before, verbatim=True)
            self.source.append(self._value(match[0], place), place, verbatim=False)
            offset = match.end()
        self.source.append(line[offset:] + "\n", Place(start.file, start.line, offset + 1), True)

    def _value(self, text: str, place: Place | None = None) -> str:
        """Text with every defined variable replaced, also those inside values."""
        for _depth in range(MAX_EXPANSIONS):
            replaced = _VARIABLE.sub(
                lambda match: self.variables.get(match[1] or match[2], match[0]), text
            )
            if replaced == text:
                return text
            text = replaced
            if len(text) > MAX_CHARACTERS // 64:
                break
        where = place or Place(self.source.file)
        raise StackError([*self.problems, Problem(where, "a definition without end")], self.notes)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """(number, line); a line that ends with a backslash goes on in the next: a definition over
    several lines keeps them apart, anything else is one line."""
    numbered = enumerate(text.split("\n"), 1)
    for number, first in numbered:
        line = first.removesuffix("\r")
        joint = "\n" if _DEFINITION.match(line) else " "
        while line.endswith("\\"):
            following = next(numbered, None)
            if following is None:
                break
            line = line[:-1] + joint + following[1].removesuffix("\r")
        yield number, line


def _without_comment(line: str) -> str:
    return "\n".join(
        match[0] if (match := _CODE.match(part)) else part for part in line.split("\n")
    )
