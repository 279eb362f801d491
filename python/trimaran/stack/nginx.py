"""nginx.conf: text in, `stack.http.Http` out, inheritance resolved, with a note on every directive.

A level (http, server, location) looks its values up in itself, then in the level around it: one
rule, and nginx's own, for all of them. So `proxy_set_header` and `error_page` of an outer level
count only where the inner one has none.
"""

from posixpath import dirname, join
from typing import ParamSpec, TypeVar

from trimaran.stack import nginx_variables as variables
from trimaran.stack.blocks import NGINX as GRAMMAR
from trimaran.stack.blocks import Statement, parse
from trimaran.stack.directives import Walk
from trimaran.stack.files import Files as FilesOnDisk
from trimaran.stack.files import NoFiles
from trimaran.stack.http import (
    Http,
    Limits,
    Listen,
    Map,
    Peer,
    Queue,
    Return,
    Server,
    Upstream,
)
from trimaran.stack.nginx_directives import (
    EVENTS,
    HTTP,
    MAIN,
    NGINX,
    SERVER,
    UPSTREAM,
)
from trimaran.stack.nginx_http import (
    count_zone,
    log,
    log_format,
    rate_zone,
    switch,
)
from trimaran.stack.nginx_include import include
from trimaran.stack.nginx_levels import DEFAULT_TYPES, Level, media_types
from trimaran.stack.nginx_locations import is_simple
from trimaran.stack.nginx_manner import errors
from trimaran.stack.nginx_stream import StreamReader
from trimaran.stack.nginx_upstream import queue, retry_budget, sticky
from trimaran.stack.nginx_values import (
    header_buffers,
    listen,
    peer,
    server_names,
    size,
    time,
)
from trimaran.stack.report import Note
from trimaran.stack.source import Source
from trimaran.stack.values import integer, word

T = TypeVar("T")
P = ParamSpec("P")


def read_nginx(
    text: str,
    file: str,
    files: FilesOnDisk | None = None,
    prefix: str | None = None,
    *,
    ipv6: bool = False,
) -> tuple[Http, list[Note]]:
    """What an nginx.conf serves. Relative paths (`root html`) are taken from `prefix`, by default
    the directory of the file; `ipv6`: such addresses are listened on. Raises StackError with every
    problem found."""
    directory = dirname(file)
    statements, problems, notes = include(
        parse(Source.of(text, file), GRAMMAR), directory, files or NoFiles()
    )
    walk = Walk(NGINX, notes, misplaced="refused")
    walk.problems += problems
    reader = _File(walk, file, directory if prefix is None else prefix)
    reader.ipv6 = ipv6
    return reader.read(statements)


class _File(StreamReader):
    def read(self, statements: tuple[Statement, ...]) -> tuple[Http, list[Note]]:
        slots = variables.slots(statements)
        self.known = frozenset(slots) | variables.made(statements)
        main = self._level(statements, MAIN)
        for events in main.own.get("events", ()):
            self._level(events.block or (), EVENTS)
        inner = [each for block in main.own.get("http", ()) for each in block.block or ()]
        http = self.http = self._level(inner, HTTP, main)
        for statement in http.own.get("log_format", ()):
            made = self._try(statement, log_format, statement, self.known)
            self.formats |= [made] if made else []
        self.types = (
            dict(media_types(http.find("types"))) if "types" in http.own else dict(DEFAULT_TYPES)
        )
        for statement in http.own.get("upstream", ()):
            self._upstream(statement)
        servers = [self._server(each, http) for each in http.own.get("server", ())]
        block = [each for found in main.own.get("stream", ()) for each in found.block or ()]
        stream = self.stream(block, main)
        if not servers and not stream:
            self._nothing_served(main, statements)
        workers = self._value(main, "worker_processes", self._workers, 1)
        for statement in main.own.get("worker_processes", ()):
            if statement.arguments == ("auto",):
                self.walk.note(statement, "no effect", "one worker runs; write a number for more")
        maps = (*self._maps(http), *self.stream_maps(block))
        rates = self._each(http, "limit_req_zone", rate_zone)
        zones = [each for each in block if each.name == "limit_conn_zone"]
        counts = (
            *self._each(http, "limit_conn_zone", count_zone),
            *self._each(Level(own={"limit_conn_zone": zones}), "limit_conn_zone", count_zone),
        )
        default_type = self._value(http, "default_type", word, "text/plain")
        body_size = self._value(http, "client_max_body_size", size, 1 << 20)
        self.walk.finish()
        built = Http(
            servers=tuple(servers),
            upstreams=tuple(self.upstreams.values()),
            workers=workers,
            types=self.types,
            default_type=default_type,
            client_max_body_size=body_size,
            variables=slots,
            maps=maps,
            rate_zones=rates,
            count_zones=counts,
            client_body_timeout=self._value(http, "client_body_timeout", time, 60.0),
            send_timeout=self._value(http, "send_timeout", time, 60.0),
            limits=self._limits(http),
            stream=stream,
            directory=join(dirname(self.file), ""),
            errors=errors(self, http),
        )
        return built, self.walk.notes()

    def _maps(self, http: Level) -> tuple[Map, ...]:
        statements = [each for name in _MAPS for each in http.own.get(name, ())]
        found = [self._try(each, variables.map_of, each, self.known) for each in statements]
        return tuple(each for each in found if each is not None)

    def _nothing_served(self, main: Level, statements: tuple[Statement, ...]) -> None:
        for statement in [*main.own.get("http", ()), *statements][:1]:
            self.walk.warn(statement.place, statement.name, "there is no server: nothing is served")

    @staticmethod
    def _workers(text: str) -> int:
        return 1 if text == "auto" else integer(1, 512)(text)

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
            balance=self._balance(level),
            keepalive=self._value(level, "keepalive", integer(0, 1 << 20), 32),
            keepalive_timeout=self._value(level, "keepalive_timeout", time, 60.0),
            keepalive_requests=self._value(level, "keepalive_requests", integer(1, 1 << 30), 1000),
            keepalive_time=self._value(level, "keepalive_time", time, 3600.0),
            sticky=next(iter(self._each(level, "sticky", sticky)), None),
            queue=self._queue(level),
            retry_percent=self._own_value(level, "retry_budget", retry_budget),
        )

    def _access_log(self, level: Level) -> str | None:
        logs = level.find("access_log")
        syslog = bool(logs) and logs[0].arguments[0].startswith("syslog:")
        if not logs or syslog or not is_simple(logs) or logs[0].arguments[0] == "off":
            return None
        made = self._try(logs[0], log, logs[0].arguments, self.known, self.formats, self._path)
        return made.path if made else None

    def _queue(self, level: Level) -> Queue | None:
        for statement in level.own.get("queue", ()):
            return self._try(statement, queue, statement.arguments)
        return None

    def _server(self, statement: Statement, http: Level) -> Server:
        level = self._level(statement.block or (), SERVER, http)
        names: list[str] = []
        for each in level.own.get("server_name", ()):
            names += self._try(each, server_names, each.arguments) or ()
        found = [self._location(each, level) for each in level.own.get("location", ())]
        locations = [location for location in found if location is not None]
        self._same_twice(level.own.get("location", []), found)
        codes = self._codes(statement, level, None)
        if len(codes) == 1 and isinstance(codes[0], Return):  # before any location is looked for
            for each in level.own.get("location", ()):
                self.walk.note(each, "no effect", "the server's own `return` comes first")
        rest = self._try(statement, self._build_location, ("", "/"), level, statement)
        if rest is not None and not any(
            each.path == "/" and each.match in ("", "^~") for each in locations
        ):
            locations.append(rest)
        limits = self._limits(level)
        return Server(
            limits=None if limits == self._limits(http) else limits,
            listen=self._listens(level, statement),
            names=tuple(names),
            locations=tuple(locations),
            keepalive_timeout=self._value(level, "keepalive_timeout", time, 75.0),
            access_log=self._access_log(level),
            rewrite=codes,
            rest=rest if codes else None,
        )

    def _limits(self, level: Level) -> Limits:
        buffers = level.find("large_client_header_buffers")
        made = self._try(buffers[-1], header_buffers, buffers[-1].arguments) if buffers else None
        count, room = made or (4, 8192)
        switches = {
            name: self._value(level, name, switch, default)
            for name, default in (
                ("merge_slashes", True),
                ("ignore_invalid_headers", True),
                ("underscores_in_headers", False),
            )
        }
        return Limits(
            header_timeout=self._value(level, "client_header_timeout", time, 60.0),
            header_line=room,
            header_buffers=count,
            max_headers=self._value(level, "max_headers", integer(1, 1 << 16), 1000),
            **switches,
        )

    def _listens(self, level: Level, server: Statement) -> tuple[Listen, ...]:
        found: list[Listen] = []
        skipped = 0
        for statement in level.own.get("listen", ()):
            pair = self._try(statement, listen, statement.arguments)
            if pair is None:
                continue
            addresses, idle = pair
            kept = [each for each in addresses if self.ipv6 or ":" not in each.address]
            if not kept:
                skipped += 1
                self.walk.note(statement, "no effect", "only IPv4 addresses are listened on")
            elif idle:
                self.walk.explain(statement, f"{', '.join(idle)} without effect")
            found += kept
        if skipped and skipped == len(level.own["listen"]):
            self.walk.refuse(server, "listens on no IPv4 address")
        return tuple(found) or (Listen(),)


_MAPS = ("map", "geo", "split_clients")
