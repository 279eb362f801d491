"""`stream` blocks of an nginx.conf."""

from trimaran.stack.blocks import Statement
from trimaran.stack.directives import refuse
from trimaran.stack.http import Map, Peer, Upstream
from trimaran.stack.nginx_directives import STREAM, STREAM_SERVER, STREAM_UPSTREAM
from trimaran.stack.nginx_http import count_limit, log, log_format, switch
from trimaran.stack.nginx_levels import Level
from trimaran.stack.nginx_locations import Locations
from trimaran.stack.nginx_manner import log_level, rate
from trimaran.stack.nginx_values import (
    STREAM_VARIABLES,
    host_port,
    listen,
    peer,
    size,
    time,
    variable_names,
)
from trimaran.stack.nginx_variables import map_of
from trimaran.stack.stream import (
    StreamLimit,
    StreamListen,
    StreamLog,
    StreamPass,
    StreamReturn,
    StreamServer,
)
from trimaran.stack.values import integer

PREFIX = "stream/"  # of its upstreams' names, which may be the same as those of http


class StreamReader(Locations):
    """Reads `stream` blocks; the upstreams go to the others."""

    def stream(self, block: list[Statement], main: Level) -> tuple[StreamServer, ...]:
        """The servers of all `stream` blocks."""
        before, self.known = self.known, self.known | STREAM_VARIABLES
        level = self._level(block, STREAM, main)
        formats = dict(
            made
            for each in level.own.get("log_format", ())
            if (made := self._try(each, log_format, each, self.known))
        )
        for each in level.own.get("upstream", ()):
            self._stream_upstream(each)
        found = [self._stream_server(each, level, formats) for each in level.own.get("server", ())]
        self.known = before
        return tuple(each for each in found if each is not None)

    def stream_maps(self, block: list[Statement]) -> tuple[Map, ...]:
        """The variables that are made of others."""
        known = self.known | STREAM_VARIABLES
        names = ("map", "geo", "split_clients")
        found = [self._try(each, map_of, each, known) for each in block if each.name in names]
        return tuple(each for each in found if each is not None)

    def _stream_upstream(self, statement: Statement) -> None:
        name = f"{PREFIX}{statement.arguments[0]}"
        level = self._level(statement.block or (), STREAM_UPSTREAM)
        peers = [self._try(each, _peer, each) for each in level.own.get("server", ())]
        if not peers:
            self.walk.refuse(statement, f"{statement.arguments[0]} has no server")
            return
        self.upstreams[name] = Upstream(
            name=name,
            peers=tuple(each for each in peers if each is not None) or (Peer(address="-"),),
            balance=self._balance(level),
            keepalive=0,
        )

    def _stream_server(
        self, statement: Statement, around: Level, formats: dict[str, tuple[str, str]]
    ) -> StreamServer | None:
        level = self._level(statement.block or (), STREAM_SERVER, around)
        action = self._stream_action(statement, level)
        listens: list[StreamListen] = []
        for each in level.own.get("listen", ()):
            made = self._try(each, listen, each.arguments)
            listens += [StreamListen(address=at.address, port=at.port) for at in (made or ([],))[0]]
        if not level.own.get("listen"):
            self.walk.refuse(statement, "needs a listen")
        if action is None or not listens:
            return None
        sets = [self._try(each, self._set, each.arguments) for each in level.find("set")]
        return StreamServer(
            listen=tuple(listens),
            action=action,
            access=self._access(level),
            counts=self._stream_counts(level),
            sets=tuple(each for each in sets if each is not None),
            logs=self._stream_logs(level, formats),
        )

    def _set(self, words: tuple[str, ...]) -> tuple[str, str]:
        return words[0].removeprefix("$"), variable_names(words[1], self.known)

    def _stream_action(
        self, statement: Statement, level: Level
    ) -> StreamPass | StreamReturn | None:
        for each in level.own.get("return", ()):
            text = self._try(each, variable_names, each.arguments[0], self.known)
            return StreamReturn(text=text or "")
        for each in level.own.get("proxy_pass", ()):
            return self._try(each, self._stream_pass, each.arguments[0], level)
        self.walk.refuse(statement, "needs a proxy_pass or a return")
        return None

    def _stream_pass(self, target: str, level: Level) -> StreamPass:
        name = variable_names(target, self.known) if "$" in target else f"{PREFIX}{target}"
        if "$" not in target and name not in self.upstreams:
            address = _address(target)
            self.upstreams[name] = Upstream(name=name, peers=(Peer(address=address),), keepalive=0)
        rates = {
            f"{way}_rate": self._try(each, rate, each.arguments[0], self.known)
            for way in ("upload", "download")
            for each in level.find(f"proxy_{way}_rate")[-1:]
        }
        return StreamPass(
            upstream=name,
            connect_timeout=self._value(level, "proxy_connect_timeout", time, 60.0),
            timeout=self._value(level, "proxy_timeout", time, 600.0),
            next=self._value(level, "proxy_next_upstream", switch, True),
            tries=self._value(level, "proxy_next_upstream_tries", integer(0, 1 << 20), 0),
            next_timeout=self._value(level, "proxy_next_upstream_timeout", time, 0.0),
            half_close=self._value(level, "proxy_half_close", switch, False),
            buffer=self._value(level, "proxy_buffer_size", size, 16 << 10),
            **rates,
        )

    def _stream_counts(self, level: Level) -> tuple[StreamLimit, ...]:
        dry_run = self._value(level, "limit_conn_dry_run", switch, False)
        word = self._value(level, "limit_conn_log_level", log_level, "error")
        found = [
            self._try(each, count_limit, each.arguments, dry_run, 503, word)
            for each in level.find("limit_conn")
        ]
        return tuple(StreamLimit(**each.model_dump()) for each in found if each is not None)

    def _stream_logs(
        self, level: Level, formats: dict[str, tuple[str, str]]
    ) -> tuple[StreamLog, ...]:
        logs: list[StreamLog] = []
        for each in level.find("access_log"):
            made = self._try(each, log, each.arguments, self.known, formats, self._path)
            if made is not None and made.format is None:
                self.walk.refuse(each, "needs the name of a log_format")
            elif made is not None:
                logs.append(StreamLog.model_validate(made.model_dump()))
        return tuple(logs)


def _peer(statement: Statement) -> Peer:
    address, *rest = statement.arguments
    if not address.startswith("unix:") and not address.rpartition(":")[2].isdigit():
        refuse(f"'{address}' has no port")
    return peer((address, *rest))


def _address(text: str) -> str:
    if not text.startswith("unix:") and not text.rpartition(":")[2].isdigit():
        refuse(f"'{text}' has no port")
    return host_port(text)
