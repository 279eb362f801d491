"""`include` in nginx.conf: the statements of the files in its place."""

from posixpath import basename, join

from trimaran.stack.blocks import NGINX, Statement, Word, parse
from trimaran.stack.errors import Problem, StackError
from trimaran.stack.files import Files
from trimaran.stack.mime_types import BUILT_IN_TYPES
from trimaran.stack.report import Note
from trimaran.stack.source import Source

_DATA = {"types"}
MAX_INCLUDES = 16  # deep
MAX_STATEMENTS = 1_000_000


def include(
    statements: tuple[Statement, ...], directory: str, files: Files
) -> tuple[tuple[Statement, ...], list[Problem], list[Note]]:
    """The statements with every include replaced by what it names, below `directory`; what could
    not be read; a note on each include. Raises StackError where includes go round in a circle."""
    includer = _Includer(directory, files)
    return includer.expand(statements, 0), includer.problems, includer.notes


class _Includer:
    def __init__(self, directory: str, files: Files) -> None:
        self.directory = directory
        self.files = files
        self.problems: list[Problem] = []
        self.notes: list[Note] = []
        self.count = 0

    def expand(self, statements: tuple[Statement, ...], depth: int) -> tuple[Statement, ...]:
        found: list[Statement] = []
        for statement in statements:
            self.count += 1
            if self.count > MAX_STATEMENTS:
                message = f"more than {MAX_STATEMENTS} directives with this include"
                raise StackError([Problem(statement.place, message)], self.notes)
            if statement.name == "include" and len(statement.words) == 2 and not statement.block:
                found += self._included(statement, depth)
            elif statement.block and statement.name not in _DATA:
                found.append(Statement(statement.words, self.expand(statement.block, depth)))
            else:
                found.append(statement)
        return tuple(found)

    def _included(self, statement: Statement, depth: int) -> tuple[Statement, ...]:
        pattern = statement.arguments[0]
        if depth >= MAX_INCLUDES:
            message = f"files included deeper than {MAX_INCLUDES}; does one include itself?"
            raise StackError([Problem(statement.place, message)], self.notes)
        paths = self.files.match(join(self.directory, pattern))
        message = ""
        found: list[Statement] = []
        if not paths and basename(pattern) == "mime.types":
            found = [_built_in_types(statement)]
            message = f"there is no '{pattern}': the built-in media types are used"
        elif not paths and any(character in pattern for character in "*?["):
            message = "no file matches"
        elif not paths:
            self._fail(statement, f"there is no file '{pattern}'")
            return ()
        for path in paths:
            found += self._file(statement, path, depth)
        self.notes.append(Note(statement.place, "include", "honoured", message))
        return tuple(found)

    def _file(self, statement: Statement, path: str, depth: int) -> tuple[Statement, ...]:
        try:
            inner = parse(Source.of(self.files.read(path), path), NGINX)
        except OSError as error:
            self._fail(statement, f"cannot read '{path}': {error.strerror}")
            return ()
        except StackError as error:
            self.problems += error.problems
            return ()
        return self.expand(inner, depth + 1)

    def _fail(self, statement: Statement, message: str) -> None:
        self.problems.append(Problem(statement.place, message))
        self.notes.append(Note(statement.place, "include", "refused", message))


def _built_in_types(statement: Statement) -> Statement:
    """`types { … }` with the built-in types, standing where the include stands."""
    place = statement.place
    types = tuple(
        Statement((Word(media_type, place), Word(extension, place)))
        for extension, media_type in BUILT_IN_TYPES.items()
    )
    return Statement((Word("types", place),), types)
