"""Levels of an nginx.conf, and the values that hold at each."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from posixpath import join, normpath
from typing import ParamSpec, TypeVar

from pydantic import ValidationError

from trimaran.stack.blocks import Statement
from trimaran.stack.directives import RefusedError, Walk
from trimaran.stack.http import (
    Upstream,
)
from trimaran.stack.nginx_directives import EXCEPT, IF, SERVER
from trimaran.stack.nginx_values import Match

T = TypeVar("T")
P = ParamSpec("P")


@dataclass
class Level:
    """The honoured directives of one block, by name, and the level around it; `matched` is what
    a location matches."""

    around: "Level | None" = None
    is_if: bool = False
    is_server: bool = False
    own: dict[str, list[Statement]] = field(default_factory=dict)
    matched: tuple[Match, str] | None = None

    def find(self, name: str) -> list[Statement]:
        """Its own, or else those of the nearest level that has any."""
        level: Level | None = self
        while level is not None:
            if name in level.own:
                return level.own[name]
            level = level.around
        return []

    def server(self) -> "Level":
        """The server block that it is in, or is."""
        return self if self.around is None or self.is_server else self.around.server()

    def access(self) -> list[Statement]:
        """allow and deny of the nearest level that has any, in their order."""
        level: Level | None = self
        while level is not None:
            found = [*level.own.get("allow", ()), *level.own.get("deny", ())]
            if found:
                return sorted(found, key=lambda each: (each.place.line, each.place.column))
            level = level.around
        return []


class Reader:
    """What readers of blocks have in common."""

    def __init__(self, walk: Walk, file: str, prefix: str) -> None:
        self.file = file
        self.walk = walk
        self.prefix = prefix
        self.upstreams: dict[str, Upstream] = {}
        self.known: frozenset[str] = frozenset()
        self.formats: dict[str, tuple[str, str]] = {}
        self.types: dict[str, str] = {}
        self.http: Level | None = None
        self.ipv6 = False

    def _level(
        self, block: Iterable[Statement], context: str, around: Level | None = None
    ) -> Level:
        level = Level(around, context in (IF, EXCEPT), context == SERVER)
        for statement in self.walk.honoured(block, context):
            before = level.own.setdefault(statement.name, [])
            if before and statement.name in _ONCE:
                self.walk.refuse(statement, f"is there already, in line {before[0].place.line}")
            before.append(statement)
            self._fixed(statement)
        return level

    def _fixed(self, statement: Statement) -> None:
        """Directives that can only be as they are."""
        if statement.name not in _FIXED:
            return
        value, refused, message = _FIXED[statement.name]
        given = " ".join(sorted(statement.arguments))
        if given == value:
            return
        if re.fullmatch(refused, given):
            self.walk.refuse(statement, f"{given} is not supported yet", message)
        else:
            self.walk.note(statement, "no effect", message)

    def _try(
        self, statement: Statement, make: Callable[P, T], *words: P.args, **options: P.kwargs
    ) -> T | None:
        """What `make` makes of a statement's words, or None where it is refused."""
        try:
            return make(*words, **options)
        except RefusedError as error:
            self.walk.refuse(statement, error.message, error.help)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                self.walk.refuse(statement, str(detail["msg"]))
        return None

    def _value(self, level: Level, name: str, convert: Callable[[str], T], default: T) -> T:
        found = level.find(name)
        if not found:
            return default
        value = self._try(found[-1], convert, found[-1].arguments[0])
        return default if value is None else value

    def _own_value(self, level: Level, name: str, convert: Callable[[str], T]) -> T | None:
        found = level.find(name)
        return self._try(found[-1], convert, found[-1].arguments[0]) if found else None

    def _unless(self, level: Level, name: str, convert: Callable[[str], T]) -> T | None:
        """The value, where it is another than that of the http block."""
        value = self._own_value(level, name, convert)
        same = self.http is not None and value == self._own_value(self.http, name, convert)
        return None if same else value

    def _each(
        self, level: Level, name: str, make: Callable[[tuple[str, ...], frozenset[str]], T]
    ) -> tuple[T, ...]:
        found = [self._try(each, make, each.arguments, self.known) for each in level.find(name)]
        return tuple(each for each in found if each is not None)

    def _path(self, text: str) -> str:
        return normpath(join(self.prefix, text))


def media_types(statements: list[Statement]) -> tuple[tuple[str, str], ...]:
    types = {
        extension: line.name
        for statement in statements
        for line in statement.block or ()
        for extension in line.arguments
    }
    return tuple(types.items())


DEFAULT_TYPES = (("html", "text/html"), ("gif", "image/gif"), ("jpg", "image/jpeg"))


_ONCE = {
    "http", "events", "worker_processes", "root", "default_type", "client_max_body_size",
    "client_body_timeout", "client_header_timeout", "send_timeout", "keepalive_timeout",
    "proxy_pass", "proxy_connect_timeout", "proxy_send_timeout", "proxy_read_timeout",
    "keepalive", "internal", "try_files", "large_client_header_buffers",
}  # fmt: skip


# name: (the arguments, sorted, that say what is done anyway; a regular expression of those that
# are refused; what to say)
_FIXED: dict[str, tuple[str, str, str]] = {
    "autoindex": ("off", "", "directories are not listed"),
}
