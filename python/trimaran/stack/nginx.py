"""nginx.conf: text in, `stack.http.Http` out, inheritance resolved, with a note on every directive.

A level (http, server, location) looks its values up in itself, then in the level around it: one
rule, and nginx's own, for all of them. So `proxy_set_header` and `error_page` of an outer level
count only where the inner one has none.
"""

import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from posixpath import dirname, join, normpath
from typing import Any, ParamSpec, TypeVar

from pydantic import ValidationError

from trimaran.stack.blocks import NGINX as GRAMMAR
from trimaran.stack.blocks import Statement, parse
from trimaran.stack.directives import RefusedError, Walk, refuse
from trimaran.stack.files import Files as FilesOnDisk
from trimaran.stack.files import NoFiles
from trimaran.stack.http import (
    Files,
    Http,
    Listen,
    Location,
    Peer,
    ProxyPass,
    Return,
    Server,
    Upstream,
)
from trimaran.stack.nginx_directives import EVENTS, HTTP, LOCATION, MAIN, NGINX, SERVER, UPSTREAM
from trimaran.stack.nginx_include import include
from trimaran.stack.nginx_values import (
    Match,
    error_page,
    host_port,
    listen,
    location_match,
    peer,
    returned,
    server_names,
    size,
    template,
    time,
    upstream_of,
)
from trimaran.stack.report import Note
from trimaran.stack.source import Source
from trimaran.stack.values import integer, word

T = TypeVar("T")
P = ParamSpec("P")


def read_nginx(
    text: str, file: str, files: FilesOnDisk | None = None, prefix: str | None = None
) -> tuple[Http, list[Note]]:
    """What an nginx.conf serves. Relative paths (`root html`) are taken from `prefix`, by default
    the directory of the file. Raises StackError with every problem found."""
    directory = dirname(file)
    statements, problems, notes = include(
        parse(Source.of(text, file), GRAMMAR), directory, files or NoFiles()
    )
    walk = Walk(NGINX, notes, misplaced="refused")
    walk.problems += problems
    return _File(walk, directory if prefix is None else prefix).read(statements)


@dataclass
class _Level:
    """The honoured directives of one block, by name, and the level around it."""

    around: "_Level | None" = None
    own: dict[str, list[Statement]] = field(default_factory=dict)

    def find(self, name: str) -> list[Statement]:
        """Its own, or else those of the nearest level that has any."""
        level: _Level | None = self
        while level is not None:
            if name in level.own:
                return level.own[name]
            level = level.around
        return []


class _File:
    def __init__(self, walk: Walk, prefix: str) -> None:
        self.walk = walk
        self.prefix = prefix
        self.upstreams: dict[str, Upstream] = {}
        self.shared: dict[str, dict[Hashable, list[Statement]]] = {}

    def read(self, statements: tuple[Statement, ...]) -> tuple[Http, list[Note]]:
        main = self._level(statements, MAIN)
        for events in main.own.get("events", ()):
            self._level(events.block or (), EVENTS)
        inner = [each for block in main.own.get("http", ()) for each in block.block or ()]
        http = self._level(inner, HTTP)
        for statement in http.own.get("upstream", ()):
            self._upstream(statement)
        servers = [self._server(each, http) for each in http.own.get("server", ())]
        if not servers:
            self._share(http)
            self._nothing_served(main, statements)
        workers = self._value(main, "worker_processes", self._workers, 1)
        for statement in main.own.get("worker_processes", ()):
            if statement.arguments == ("auto",):
                self.walk.note(statement, "no effect", "one worker runs; write a number for more")
        values = {name: self._agreed(name) for name in _SHARED}
        self.walk.finish()
        built = Http(
            servers=tuple(servers),
            upstreams=tuple(self.upstreams.values()),
            workers=workers,
            types=dict(values.pop("types")),
            large_client_header_buffer=values.pop("large_client_header_buffers"),
            **values,
        )
        return built, self.walk.notes()

    def _nothing_served(self, main: _Level, statements: tuple[Statement, ...]) -> None:
        for statement in [*main.own.get("http", ()), *statements][:1]:
            self.walk.warn(statement.place, statement.name, "there is no server: nothing is served")

    # levels and values

    def _level(
        self, block: Iterable[Statement], context: str, around: _Level | None = None
    ) -> _Level:
        level = _Level(around)
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

    def _value(self, level: _Level, name: str, convert: Callable[[str], T], default: T) -> T:
        found = level.find(name)
        if not found:
            return default
        value = self._try(found[-1], convert, found[-1].arguments[0])
        return default if value is None else value

    @staticmethod
    def _workers(text: str) -> int:
        return 1 if text == "auto" else integer(1, 512)(text)

    # values that the model has once for all servers

    def _share(self, level: _Level) -> None:
        """Remember what holds at this (innermost) level."""
        for name, (convert, default) in _SHARED.items():
            statements = level.find(name)
            value: Any = default
            if statements:
                made = self._try(statements[-1], convert, statements)
                value = default if made is None else made
            self.shared.setdefault(name, {}).setdefault(value, []).extend(statements[-1:])

    def _agreed(self, name: str) -> Any:
        """The one value; several are refused."""
        values = self.shared.get(name, {})
        if len(values) > 1:
            for statements in values.values():
                for statement in dict.fromkeys(statements):
                    message = "must be the same for every server and location, for now"
                    self.walk.refuse(statement, message, "write it once, in the http block")
        return next(iter(values), None)

    # blocks

    def _upstream(self, statement: Statement) -> None:
        name = statement.arguments[0]
        level = self._level(statement.block or (), UPSTREAM)
        peers = [self._try(each, peer, each.arguments) for each in level.own.get("server", ())]
        if not peers:
            self.walk.refuse(statement, f"{name} has no server")
            return
        if name in self.upstreams:
            self.walk.refuse(statement, f"{name} is there already")
        self.upstreams[name] = Upstream(
            name=name,
            peers=tuple(each for each in peers if each is not None) or (Peer(address="-"),),
            keepalive=self._value(level, "keepalive", integer(0, 1 << 20), 32),
            keepalive_timeout=self._value(level, "keepalive_timeout", time, 60.0),
        )

    def _server(self, statement: Statement, http: _Level) -> Server:
        level = self._level(statement.block or (), SERVER, http)
        names: list[str] = []
        for each in level.own.get("server_name", ()):
            names += self._try(each, server_names, each.arguments) or ()
        found = [self._location(each, level) for each in level.own.get("location", ())]
        locations = [location for location in found if location is not None]
        self._same_twice(level.own.get("location", []), found)
        if "return" in level.own:  # nginx obeys it before it looks for a location
            for each in level.own.get("location", ()):
                self.walk.note(each, "no effect", "the server's own `return` comes first")
            locations = []
        if not any(each.path == "/" and each.match != "=" for each in locations):
            rest = self._try(statement, self._build_location, ("", "/"), level)
            locations += [rest] if rest is not None else []
            self._share(level)
        return Server(
            listen=self._listens(level, statement),
            names=tuple(names),
            locations=tuple(locations),
            keepalive_timeout=self._value(level, "keepalive_timeout", time, 75.0),
            access_log=self._access_log(level),
        )

    def _listens(self, level: _Level, server: Statement) -> tuple[Listen, ...]:
        found: list[Listen] = []
        skipped = 0
        for statement in level.own.get("listen", ()):
            pair = self._try(statement, listen, statement.arguments)
            if pair is None:
                continue
            address, idle = pair
            if address is None:
                skipped += 1
                self.walk.note(statement, "no effect", "only IPv4 addresses are listened on")
            elif idle:
                self.walk.explain(statement, f"{', '.join(idle)} without effect")
            if address is not None:
                found.append(address)
        if skipped and skipped == len(level.own["listen"]):
            self.walk.refuse(server, "listens on no IPv4 address")
        return tuple(found) or (Listen(),)

    def _same_twice(self, statements: list[Statement], found: list[Location | None]) -> None:
        seen: set[tuple[bool, str]] = set()
        for statement, location in zip(statements, found, strict=True):
            key = (location.match == "=", location.path) if location else None
            if key in seen:
                self.walk.refuse(statement, f"'{key[1]}' is there already" if key else "")
            elif key is not None:
                seen.add(key)

    def _location(self, statement: Statement, server: _Level) -> Location | None:
        level = self._level(statement.block or (), LOCATION, server)
        self._share(level)
        for name in ("keepalive_timeout", "access_log"):
            for each in level.own.get(name, ()):
                self.walk.note(each, "no effect", "in a location; that of the server holds")
        matched = self._try(statement, location_match, statement.arguments)
        if matched is None:
            return None
        return self._try(statement, self._build_location, matched, level)

    # what a location does

    def _build_location(self, matched: tuple[Match, str], level: _Level) -> Location:
        pages = [self._try(each, error_page, each.arguments) for each in level.find("error_page")]
        return Location(
            match=matched[0],
            path=matched[1],
            internal="internal" in level.own,
            action=self._action(level),
            error_pages=tuple(page for page in pages if page is not None),
        )

    def _action(self, level: _Level) -> ProxyPass | Files | Return:
        for statement in level.own.get("return", ())[:1]:
            made = self._try(statement, returned, statement.arguments)
            return made or Return(status=500)
        for statement in level.own.get("proxy_pass", ())[:1]:
            forwarded = self._try(statement, self._proxy_pass, statement, level)
            return forwarded or Return(status=500)
        for statement in level.find("try_files"):
            if statement.arguments != ("$uri", "$uri/", "=404"):
                self.walk.refuse(statement, "is supported as `$uri $uri/ =404` only, for now")
        index = [name for each in level.find("index") for name in each.arguments]
        for each in level.find("index"):
            self._try(each, _plain, each.arguments)
        root = self._value(level, "root", self._path, self._path("html"))
        return Files(root=root, index=tuple(index) or ("index.html",))

    def _path(self, text: str) -> str:
        if "$" in text:
            refuse(f"variables here: '{text}' is not supported yet")
        return normpath(join(self.prefix, text))

    def _proxy_pass(self, statement: Statement, level: _Level) -> ProxyPass:
        name, uri = upstream_of(statement.arguments[0])
        if name not in self.upstreams:
            self.upstreams[name] = Upstream(name=name, peers=(Peer(address=host_port(name)),))
        headers = [self._try(each, _header, each) for each in level.find("proxy_set_header")]
        return ProxyPass(
            upstream=name,
            uri=uri,
            set_headers=tuple(header for header in headers if header is not None),
            connect_timeout=self._value(level, "proxy_connect_timeout", time, 60.0),
            send_timeout=self._value(level, "proxy_send_timeout", time, 60.0),
            read_timeout=self._value(level, "proxy_read_timeout", time, 60.0),
        )

    def _access_log(self, level: _Level) -> str | None:
        statements = level.find("access_log")
        path: str | None = None
        for statement in statements:
            target, *rest = statement.arguments
            if target.startswith("syslog:") or "$" in target:
                self.walk.refuse(statement, f"'{target}' is not supported yet", "write a path")
            elif target != "off":
                if path is not None:
                    self.walk.refuse(statement, "is there already", "one log per server for now")
                path = self._path(target)
            if rest and rest != ["combined"]:
                message = f"written in the combined form; {' '.join(rest)} without effect"
                self.walk.explain(statement, message)
        return path


def _header(statement: Statement) -> tuple[str, str]:
    name, value = statement.arguments
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
        refuse(f"'{name}' is not a header's name")
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
        refuse(f"the value of {name} has a control character")
    return name, template(value)


def _plain(arguments: tuple[str, ...]) -> None:
    for argument in arguments:
        if "$" in argument or argument.startswith("/"):
            refuse(f"'{argument}' is not supported yet", "write names of files")


def _types(statements: list[Statement]) -> tuple[tuple[str, str], ...]:
    types = {
        extension: line.name
        for statement in statements
        for line in statement.block or ()
        for extension in line.arguments
    }
    return tuple(types.items())


def _buffer(statements: list[Statement]) -> int:
    integer(1, 1 << 16)(statements[-1].arguments[0])
    return size(statements[-1].arguments[1])


def _last(convert: Callable[[str], T]) -> Callable[[list[Statement]], T]:
    return lambda statements: convert(statements[-1].arguments[0])


# name: (how to make its value, nginx's default)
_SHARED: dict[str, tuple[Callable[[list[Statement]], Any], Hashable]] = {
    "types": (_types, (("html", "text/html"), ("gif", "image/gif"), ("jpg", "image/jpeg"))),
    "default_type": (_last(word), "text/plain"),
    "client_max_body_size": (_last(size), 1 << 20),
    "client_header_timeout": (_last(time), 60.0),
    "client_body_timeout": (_last(time), 60.0),
    "send_timeout": (_last(time), 60.0),
    "large_client_header_buffers": (_buffer, 8192),
}

_ONCE = {
    "http", "events", "worker_processes", "root", "default_type", "client_max_body_size",
    "client_body_timeout", "client_header_timeout", "send_timeout", "keepalive_timeout",
    "proxy_pass", "proxy_connect_timeout", "proxy_send_timeout", "proxy_read_timeout",
    "keepalive", "internal", "try_files", "large_client_header_buffers",
}  # fmt: skip

# name: (the arguments, sorted, that say what is done anyway; a regular expression of those that
# are refused; what to say)
_FIXED: dict[str, tuple[str, str, str]] = {
    "proxy_redirect": (
        "default",
        r"(?!off$).*",
        "a Location that names the upstream is rewritten, as by default",
    ),
    "proxy_next_upstream": ("error timeout", "off", "the next peer is tried on error and timeout"),
    "proxy_intercept_errors": ("off", "on", "answers of peers are passed on as they are"),
    "proxy_http_version": ("1.1", "", "HTTP/1.1 is spoken"),
    "autoindex": ("off", "", "directories are not listed"),
    "recursive_error_pages": ("off", "", "an error page has no error page"),
    "underscores_in_headers": ("off", "", "such headers are dropped"),
    "ignore_invalid_headers": ("off", "", "an invalid header is answered with 400"),
}
