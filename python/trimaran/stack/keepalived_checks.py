"""keepalived's checkers: blocks of a real server to checks, with the timing that they inherit from
it and from the virtual server, and keepalived's own defaults."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from trimaran.stack.blocks import Statement
from trimaran.stack.checks import (
    Check,
    DnsProbe,
    FileProbe,
    HttpProbe,
    PingProbe,
    Regex,
    Script,
    ScriptProbe,
    SmtpProbe,
    TcpProbe,
    Tls,
    UdpProbe,
    parse_digest,
    parse_hex,
    parse_status,
)
from trimaran.stack.directives import RefusedError, Walk, refuse
from trimaran.stack.files import Files
from trimaran.stack.keepalived_directives import CHECKERS, TLS, URL
from trimaran.stack.keepalived_options import OptionReader, Options
from trimaran.stack.keepalived_values import LONGEST_S, interface_name
from trimaran.stack.model import RealServer
from trimaran.stack.patterns import compile_pattern
from trimaran.stack.values import address, boolean, choice, integer, seconds, word

T = TypeVar("T")

TIMING: dict[str, Callable[[str], float]] = {
    "delay_loop": seconds(0.001, LONGEST_S),
    "retry": integer(0, 100),
    "delay_before_retry": seconds(0.001, LONGEST_S),
    "connect_timeout": seconds(0.001, LONGEST_S),
    "warmup": seconds(0, LONGEST_S),
}
_RETRY = {"DNS_CHECK": 3, "MISC_CHECK": 0}
_RETRY_DELAY_S = {"HTTP_GET": 3.0, "SSL_GET": 3.0}
_CONNECT_TIMEOUT_S = 5.0
_VERSIONS = {"1.0": "1.0", "1.0c": "1.0C", "1.1": "1.1"}
_TYPES = {name.lower(): name for name in ["A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA"]}


class CheckReader(OptionReader):
    """The checks of one file's real servers; `statements` are the file's."""

    def __init__(self, walk: Walk, statements: Iterable[Statement], files: Files) -> None:
        super().__init__(walk)
        self._disk = files
        self._tls = Tls()
        self._files: dict[str, Options] = {}
        for statement in statements:
            if statement.name == "SSL":
                self._tls = self._ssl(statement)
            elif statement.name in ("track_file", "vrrp_track_file") and statement.arguments:
                block = [each for each in statement.block or () if each.arguments]
                self._files[statement.arguments[0]] = {each.name: each for each in block}

    def checks(self, real: Statement, inherited: Options) -> dict[str, Check]:
        """Every check of a real server, named by its kind. `inherited`: the options of the virtual
        server and the real server, the latter's first."""
        found: dict[str, Check] = {}
        for statement in real.block or ():
            if statement.name not in CHECKERS or statement.block is None:
                continue
            for check in self._check(statement, inherited):
                number = sum(each.kind == check.kind for each in found.values()) + 1
                found[check.kind if number == 1 else f"{check.kind} {number}"] = check
        return found

    def script(self, options: Options, name: str) -> Script | None:
        """`notify_up "COMMAND" [user [group]]`."""
        statement = options.get(name)
        if statement is None:
            return None
        command, *user = statement.arguments
        self._look_at(statement, command)
        return Script(command=command, user=":".join(user) or None)

    def _look_at(self, statement: Statement, command: str) -> None:
        refusal = self._disk.refusal(command)
        if refusal is not None and refusal.fatal:
            self.walk.refuse(statement, refusal.message, refusal.help)
        elif refusal is not None:
            self.walk.warn(statement.place, statement.name, refusal.message)

    def flag(self, options: Options, name: str, default: bool = False) -> bool:
        """An option that may stand alone, or with a boolean."""
        statement = options.get(name)
        if statement is None or not statement.arguments:
            return default if statement is None else True
        return self._value(options, name, boolean, default)

    def _check(self, statement: Statement, inherited: Options) -> list[Check]:
        name = statement.name
        before = len(self.walk.problems)
        own = self._options(statement.block or (), name)
        shared: dict[str, Any] = self._timing(name, {**inherited, **own})
        shared["alpha"] = self.flag({**inherited, **own}, "alpha")
        shared["log_all_failures"] = self.flag({**inherited, **own}, "log_all_failures")
        probes = _READERS[name](self, statement, own, inherited)
        if len(self.walk.problems) > before:
            return []
        if name == "MISC_CHECK" and "misc_timeout" in own:
            shared["timeout"] = self._value(own, "misc_timeout", TIMING["connect_timeout"], 5.0)
        return [Check(**{CHECKERS[name]: probe}, **shared) for probe in probes]

    def _timing(self, name: str, options: Options) -> dict[str, float | None]:
        def timing(option: str, default: float) -> float:
            return self._value(options, option, TIMING[option], default)

        interval = timing("delay_loop", 60.0)
        late = interval if name == "DNS_CHECK" else _RETRY_DELAY_S.get(name, 1.0)
        script = name == "MISC_CHECK"
        return {
            "interval": interval,
            "retries": int(timing("retry", _RETRY.get(name, 1))),
            "retry_delay": timing("delay_before_retry", late),
            "timeout": interval if script else timing("connect_timeout", _CONNECT_TIMEOUT_S),
            "warmup": timing("warmup", 0.0) if "warmup" in options else None,
        }

    def _connection(self, own: Options, ports: bool = True) -> dict[str, Any]:
        found: dict[str, Any] = {
            "address": self._value(own, "connect_ip", address, None),
            "source": self._value(own, "bindto", address, None),
            "interface": self._value(own, "bind_if", interface_name, None),
            "mark": self._value(own, "fwmark", integer(1, 0xFFFFFFFF), None),
        }
        if ports:
            found["port"] = self._value(own, "connect_port", integer(1, 65535), None)
            found["source_port"] = self._value(own, "bind_port", integer(1, 65535), None)
        return found

    # one reader for each checker: (statement, its options, what it inherits) -> probes

    def _tcp(self, statement: Statement, own: Options, inherited: Options) -> list[TcpProbe]:
        return [TcpProbe(**self._connection(own))]

    def _http(self, statement: Statement, own: Options, inherited: Options) -> list[HttpProbe]:
        urls = [each for each in statement.block or () if each.name == "url"]
        if not any(each.block for each in urls):
            self.walk.refuse(statement, "needs a 'url { … }' block")
        host = self._value({**inherited, **own}, "virtualhost", word, None)
        version = self._value(own, "http_protocol", choice(_VERSIONS), "1.0")
        connection = self._connection(own)
        return [
            probe
            for url in urls
            if url.block and (probe := self._url(url, statement, own, host, version, connection))
        ]

    def _url(
        self,
        url: Statement,
        checker: Statement,
        own: Options,
        host: str | None,
        version: str,
        connection: dict[str, Any],
    ) -> HttpProbe | None:
        options = self._options(url.block or (), URL)
        host = self._value(options, "virtualhost", word, host)
        tls = None
        if checker.name == "SSL_GET":
            sni = self._value(own, "sni_name", word, None)
            with_sni = self.flag(own, "enable_sni")
            tls = self._tls.model_copy(update={"server_name": sni or (host if with_sni else None)})
        status = self._each(options, "status_code", _value_of(parse_status))
        pattern = self._regex(options)
        return self._build(
            HttpProbe,
            url,
            path=self._value(options, "path", _path, "/"),
            host=host,
            version=version,
            tls=tls,
            status=status or ((200, 299),),
            digest=self._value(options, "digest", _value_of(parse_digest), None),
            regex=pattern,
            **connection,
        )

    def _regex(self, options: Options) -> Regex | None:
        statement = options.get("regex")
        if statement is None:
            return None
        chosen = options.get("regex_options")
        flags = chosen.arguments if chosen else ()
        try:
            compile_pattern(statement.arguments[0], flags)
        except ValueError as error:
            at_fault = statement if "expression" in str(error) or chosen is None else chosen
            self.walk.refuse(at_fault, str(error))
            return None
        offset = integer(0, 1 << 30)
        return self._build(
            Regex,
            statement,
            pattern=statement.arguments[0],
            options=flags,
            absent="regex_no_match" in options,
            min_offset=self._value(options, "regex_min_offset", offset, 0),
            max_offset=self._value(options, "regex_max_offset", offset, 0) or None,
        )

    def _each(self, options: Options, name: str, convert: Callable[[str], T]) -> tuple[T, ...]:
        statement = options.get(name)
        try:
            return tuple(map(convert, statement.arguments)) if statement else ()
        except RefusedError as error:
            assert statement is not None
            self.walk.refuse(statement, error.message, error.help)
            return ()

    def _ssl(self, statement: Statement) -> Tls:
        options = self._options(statement.block or (), TLS)
        self.walk.note(statement, "honoured")
        if "key" in options and "certificate" not in options:
            self.walk.refuse(options["key"], "needs 'certificate' beside it")
            return Tls()
        return Tls(
            certificate=self._value(options, "certificate", word, None),
            key=self._value(options, "key", word, None),
        )

    def _script(self, statement: Statement, own: Options, inherited: Options) -> list[ScriptProbe]:
        if not self._required(own, "misc_path", statement):
            return []
        user = own["user"].arguments if "user" in own else ()
        command = own["misc_path"].arguments[0]
        self._look_at(own["misc_path"], command)
        dynamic = self.flag(own, "misc_dynamic")
        return [ScriptProbe(command=command, user=":".join(user) or None, dynamic=dynamic)]

    def _ping(self, statement: Statement, own: Options, inherited: Options) -> list[PingProbe]:
        return [PingProbe(**self._connection(own, ports=False))]

    def _udp(self, statement: Statement, own: Options, inherited: Options) -> list[UdpProbe]:
        reply = own.get("require_reply")
        wanted = " ".join(reply.arguments) if reply else ""
        payload = " ".join(own["payload"].arguments) if "payload" in own else ""
        try:
            pattern = parse_hex(wanted, wildcard=True) if wanted else None
        except ValueError as error:
            assert reply is not None
            self.walk.refuse(reply, str(error))
            return []
        try:
            data = parse_hex(payload) if payload else None
        except ValueError as error:
            self.walk.refuse(own["payload"], str(error))
            return []
        length = integer(0, 65535)
        return [
            UdpProbe(
                payload=data,
                require_reply=reply is not None,
                reply=pattern,
                min_length=self._value(own, "min_reply_length", length, 0),
                max_length=self._value(own, "max_reply_length", length, 255),
                **self._connection(own),
            )
        ]

    def _dns(self, statement: Statement, own: Options, inherited: Options) -> list[DnsProbe]:
        kind = self._value(own, "type", choice(_TYPES), "SOA")
        name = self._value(own, "name", word, ".")
        built = self._build(DnsProbe, statement, type=kind, name=name, **self._connection(own))
        return [built] if built else []

    def _smtp(self, statement: Statement, own: Options, inherited: Options) -> list[SmtpProbe]:
        helo = self._value(own, "helo_name", word, "smtpchecker.keepalived.org")
        return [SmtpProbe(helo=helo, **self._connection(own))]

    def _file(self, statement: Statement, own: Options, inherited: Options) -> list[FileProbe]:
        if not self._required(own, "track_file", statement):
            return []
        name = own["track_file"].arguments[0]
        known = self._files.get(name)
        if known is None or "file" not in known:
            self.walk.refuse(own["track_file"], f"there is no track_file '{name}' with a `file`")
            return []
        chosen = own.get("weight") or known.get("weight")
        weight = None
        if chosen is not None:
            weight = self._value({"weight": chosen}, "weight", integer(-(2**31) + 1, 2**31 - 1), 0)
            weight *= -1 if "reverse" in chosen.arguments[1:] else 1
        return [FileProbe(path=known["file"].arguments[0], weight=weight or None)]


_READERS: Mapping[str, Callable[[CheckReader, Statement, Options, Options], list[Any]]] = {
    "TCP_CHECK": CheckReader._tcp,
    "HTTP_GET": CheckReader._http,
    "SSL_GET": CheckReader._http,
    "MISC_CHECK": CheckReader._script,
    "PING_CHECK": CheckReader._ping,
    "UDP_CHECK": CheckReader._udp,
    "DNS_CHECK": CheckReader._dns,
    "SMTP_CHECK": CheckReader._smtp,
    "FILE_CHECK": CheckReader._file,
}


def common_checks(
    servers: dict[str, RealServer], port: int
) -> tuple[dict[str, Check], dict[str, RealServer]]:
    """The checks of the service, where every real server has the same (its own port is the
    service's); else none, and each keeps its own."""
    plain = {
        name: server.model_copy(
            update={"checks": {key: _plain(each, port) for key, each in server.checks.items()}}
        )
        for name, server in servers.items()
    }
    checks = [server.checks for server in plain.values()]
    if not checks or any(each != checks[0] for each in checks):
        return {}, {name: with_check(server) for name, server in plain.items()}
    return checks[0], {
        name: server.model_copy(update={"checks": {}}) for name, server in plain.items()
    }


def with_check(server: RealServer) -> RealServer:
    """A single check is the server's `check`."""
    check, checks = single(server.checks)
    return server.model_copy(update={"check": check, "checks": checks})


def single(checks: dict[str, Check]) -> tuple[Check | None, dict[str, Check]]:
    """(`check`, `checks`) as the model has them."""
    return (next(iter(checks.values())), {}) if len(checks) == 1 else (None, checks)


def _plain(check: Check, port: int) -> Check:
    asked = getattr(check, check.kind)
    if getattr(asked, "port", None) != port:
        return check
    return check.model_copy(update={check.kind: asked.model_copy(update={"port": None})})


def _value_of(parse: Callable[[str], T]) -> Callable[[str], T]:
    def convert(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            refuse(str(error))

    return convert


def _path(text: str) -> str:
    if not text.startswith("/"):
        refuse(f"'{text}' does not begin with '/'")
    return text
