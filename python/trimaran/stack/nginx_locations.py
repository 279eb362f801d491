"""What a location of an nginx.conf does, and all that it says besides."""

import re
from posixpath import dirname, join, normpath
from typing import Any, ParamSpec, TypeVar

from trimaran.stack.blocks import Statement
from trimaran.stack.directives import refuse
from trimaran.stack.http import (
    Balance,
    Basic,
    CountLimit,
    Files,
    Location,
    Log,
    Peer,
    ProxyOptions,
    ProxyPass,
    RateLimit,
    RealIp,
    Return,
    Status,
    Upstream,
)
from trimaran.stack.nginx_directives import EXCEPT, IF, LOCATION
from trimaran.stack.nginx_http import (
    add_header,
    count_limit,
    expires,
    log,
    network,
    next_upstream,
    rate_limit,
    redirect,
    switch,
)
from trimaran.stack.nginx_levels import DEFAULT_TYPES, Level, Reader, media_types
from trimaran.stack.nginx_manner import errors, log_level, manner
from trimaran.stack.nginx_rewrite import CODES, Code, code, in_order
from trimaran.stack.nginx_upstream import cookie_flags
from trimaran.stack.nginx_values import (
    Match,
    balance,
    error_page,
    host_port,
    location_match,
    size,
    time,
    upstream_of,
    variable_names,
)
from trimaran.stack.values import integer, word

T = TypeVar("T")
P = ParamSpec("P")


class Locations(Reader):
    """Reads `location` and `if` blocks; `upstreams` are those known by name so far."""

    def _location(self, statement: Statement, server: Level) -> Location | None:
        level = self._level(statement.block or (), LOCATION, server)
        matched = level.matched = self._try(statement, location_match, statement.arguments)
        if matched is None:
            return None
        return self._try(statement, self._build_location, matched, level, statement)

    def _same_twice(self, statements: list[Statement], found: list[Location | None]) -> None:
        seen: set[tuple[str, str]] = set()
        for statement, location in zip(statements, found, strict=True):
            kind = {"^~": ""}.get(location.match, location.match) if location else ""
            key = (kind, location.path) if location else None
            if key in seen:
                self.walk.refuse(statement, f"'{key[1]}' is there already" if key else "")
            elif key is not None:
                seen.add(key)

    def _codes(
        self, statement: Statement, level: Level, path: tuple[Match, str] | None
    ) -> tuple[Code, ...]:
        def inner(block: Statement) -> tuple[tuple[Code, ...], Location | None]:
            own = self._level(block.block or (), IF, level)
            codes = self._codes(block, own, path)
            if path is None or not set(own.own) - CODES:
                return codes, None
            return codes, self._try(block, self._build_location, path, own, None)

        block = [
            each
            for each in in_order(statement.block or ())
            if any(each is kept for kept in level.own.get(each.name, ()))
        ]
        found = [self._try(each, code, each, self.known, inner) for each in block]
        return tuple(each for each in found if each is not None)

    def _build_location(
        self, matched: tuple[Match, str], level: Level, statement: Statement | None
    ) -> Location:
        pages = [
            self._try(each, error_page, each.arguments, self.known)
            for each in level.find("error_page")
        ]
        server = statement is not None and statement.name == "server"
        codes: tuple[Code, ...] = ()
        if statement is not None and not server:
            codes = self._codes(statement, level, matched)
        satisfy_any = self._value(level, "satisfy", _satisfy, False)
        guarded = any(level.find(name) for name in _GUARDS)
        action = self._action(level, matched)
        if len(codes) == 1 and isinstance(codes[0], Return) and not guarded:
            action, codes = codes[0], ()
        inner = [] if server else level.own.get("location", [])
        nested = [self._location(each, level) for each in inner]
        self._same_twice(inner, nested)
        return Location(
            match=matched[0],
            path=matched[1],
            internal="internal" in level.own,
            action=action,
            error_pages=tuple(page for page in pages if page is not None),
            recursive_error_pages=self._value(level, "recursive_error_pages", switch, False),
            locations=tuple(each for each in nested if each is not None),
            rewrite=codes,
            headers=self._each(level, "add_header", add_header),
            expires=next(iter(self._each(level, "expires", expires)[-1:]), None),
            logs=self._logs(level),
            body_size=self._unless(level, "client_max_body_size", size),
            default_type=self._unless(level, "default_type", word),
            types=self._types(level),
            access=self._access(level),
            basic=self._basic(level),
            satisfy_any=satisfy_any,
            rates=self._rates(level),
            counts=self._counts(level),
            try_files=self._try_files(level),
            root=self._special_root(level, action),
            alias=self._root(level)[1],
            real_ip=self._real_ip(level),
            absolute_redirect=self._own_value(level, "absolute_redirect", switch),
            alias_skip=self._alias_skip(level, matched),
            manner=manner(self, level),
            except_=self._except(level, matched),
            errors=errors(self, level) if level.find("error_log") != self._main_errors() else None,
            log_not_found=self._value(level, "log_not_found", switch, True),
            body_timeout=self._unless(level, "client_body_timeout", time),
            send_timeout=self._unless(level, "send_timeout", time),
            auth=next(iter(self._paths(level, "auth_request")[-1:]), None),
            auth_sets=self._each(level, "auth_request_set", _auth_set),
            mirrors=self._paths(level, "mirror"),
            mirror_body=self._value(level, "mirror_request_body", switch, True),
        )

    def _paths(self, level: Level, name: str) -> tuple[str, ...]:
        """The paths that auth_request or mirror name; none where it is 'off'."""
        found = level.find(name)
        if any(each.arguments == ("off",) for each in found):
            return ()
        made = [self._try(each, variable_names, each.arguments[0], self.known) for each in found]
        return tuple(each for each in made if each is not None)

    def _types(self, level: Level) -> dict[str, str] | None:
        statements = level.find("types")
        types = dict(media_types(statements)) if statements else dict(DEFAULT_TYPES)
        return None if types == self.types else types

    def _logs(self, level: Level) -> tuple[Log, ...] | None:
        """None: the server's own, which is one of the combined format."""
        statements = level.find("access_log")
        server = level.server().find("access_log")
        if statements == server and is_simple(server):
            return None
        found = [
            self._try(each, log, each.arguments, self.known, self.formats, self._path)
            for each in statements
        ]
        return tuple(each for each in found if each is not None)

    def _access(self, level: Level) -> tuple[tuple[bool, str], ...]:
        statements = level.access()
        found = [(each.name == "allow", self._try(each, network, each.arguments))
                 for each in statements]  # fmt: skip
        return tuple((allowed, text) for allowed, text in found if text is not None)

    def _basic(self, level: Level) -> Basic | None:
        realm = level.find("auth_basic")
        file = level.find("auth_basic_user_file")
        if not realm or not file or realm[-1].arguments[0] == "off":
            return None
        text = self._try(realm[-1], variable_names, realm[-1].arguments[0], self.known)
        path = file[-1].arguments[0]
        if path.startswith("$"):
            self._try(file[-1], variable_names, path, self.known)
        else:
            path = join(dirname(self.file), path)
        return Basic(realm=text or "", file=path)

    def _rates(self, level: Level) -> tuple[RateLimit, ...]:
        dry_run = self._value(level, "limit_req_dry_run", switch, False)
        word = self._value(level, "limit_req_log_level", log_level, "error")
        status = self._value(level, "limit_req_status", integer(400, 599), 503)
        found = [self._try(each, rate_limit, each.arguments, dry_run, status, word)
                 for each in level.find("limit_req")]  # fmt: skip
        return tuple(each for each in found if each is not None)

    def _counts(self, level: Level) -> tuple[CountLimit, ...]:
        dry_run = self._value(level, "limit_conn_dry_run", switch, False)
        word = self._value(level, "limit_conn_log_level", log_level, "error")
        status = self._value(level, "limit_conn_status", integer(400, 599), 503)
        found = [self._try(each, count_limit, each.arguments, dry_run, status, word)
                 for each in level.find("limit_conn")]  # fmt: skip
        return tuple(each for each in found if each is not None)

    def _real_ip(self, level: Level) -> RealIp | None:
        found = [self._try(each, network, each.arguments)
                 for each in level.find("set_real_ip_from")]  # fmt: skip
        if not found:
            return None
        header = self._value(level, "real_ip_header", word, "X-Real-IP")
        return RealIp(
            from_=tuple(each for each in found if each is not None),
            header=header,
            recursive=self._value(level, "real_ip_recursive", switch, False),
        )

    def _try_files(self, level: Level) -> tuple[str, ...]:
        for statement in level.own.get("try_files", ()):
            for text in statement.arguments:
                self._try(statement, variable_names, text, self.known)
            return statement.arguments
        return ()

    def _main_errors(self) -> list[Statement]:
        return self.http.find("error_log") if self.http else []

    def _except(
        self, level: Level, matched: tuple[Match, str]
    ) -> tuple[tuple[str, ...], Location] | None:
        for statement in level.own.get("limit_except", ()):
            own = self._level(statement.block or (), EXCEPT, level)
            other = self._try(statement, self._build_location, matched, own, None)
            methods = tuple(word.upper() for word in statement.arguments)
            methods += ("HEAD",) if "GET" in methods else ()
            return (methods, other) if other else None
        return None

    @staticmethod
    def _alias_skip(level: Level, matched: tuple[Match, str]) -> int | None:
        """How much of a path the alias stands for; it may be that of a location around."""
        around: Level | None = level
        while around is not None and not (around.own.keys() & {"alias", "root"}):
            around = around.around
        if around is None or "alias" not in around.own:
            return None
        kind, path = around.matched or matched
        return len(path.encode()) if kind in ("", "^~", "=") else None

    def _special_root(
        self, level: Level, action: ProxyPass | Files | Return | Status
    ) -> str | None:
        root, alias = self._root(level)
        files = isinstance(action, Files)
        return root if alias or "$" in root or (not files and "try_files" in level.own) else None

    def _root(self, level: Level) -> tuple[str, bool]:
        around: Level | None = level
        while around is not None and not (around.own.keys() & {"alias", "root"}):
            around = around.around
        alias = around.own.get("alias", []) if around else []
        found = alias or (around.own.get("root", []) if around else [])
        if not found:
            return self._path("html"), False
        text = self._try(found[-1], variable_names, found[-1].arguments[0], self.known) or ""
        path = text if text.startswith("$") else join(self.prefix, text)
        return path if alias or "$" in path else normpath(path), bool(alias)

    def _action(
        self, level: Level, matched: tuple[Match, str]
    ) -> ProxyPass | Files | Return | Status:
        around: Level | None = level
        while around is not None:
            for statement in around.own.get("proxy_pass", ())[:1]:
                made = self._try(statement, self._proxy_pass, statement, level, matched)
                return made or Return(status=500)
            if "stub_status" in around.own:
                return Status()
            around = around.around if around.is_if else None
        index = [name for each in level.find("index") for name in each.arguments]
        for each in level.find("index"):
            for name in each.arguments:
                self._try(each, variable_names, name, self.known)
        return Files(root=self._root(level)[0], index=tuple(index) or ("index.html",))

    def _proxy_pass(
        self, statement: Statement, level: Level, matched: tuple[Match, str]
    ) -> ProxyPass:
        name, uri = upstream_of(statement.arguments[0])
        if "$" in name:
            variable_names(name, self.known)
        elif name not in self.upstreams:
            self.upstreams[name] = Upstream(name=name, peers=(Peer(address=host_port(name)),))
        found = [
            self._try(each, _header, each, self.known) for each in level.find("proxy_set_header")
        ]
        default = None
        if "$" not in name:
            default = (f"http://{name}{uri or '/'}", matched[1] if uri else "/")
        return ProxyPass(
            upstream=name,
            uri=uri,
            set_headers=tuple(header for header in found if header is not None),
            connect_timeout=self._value(level, "proxy_connect_timeout", time, 60.0),
            send_timeout=self._value(level, "proxy_send_timeout", time, 60.0),
            read_timeout=self._value(level, "proxy_read_timeout", time, 60.0),
            options=self._options(level, default),
        )

    def _spooling(self, level: Level) -> dict[str, Any]:
        """Where bodies wait, and how much of them."""
        buffers = 64 << 10
        for statement in level.find("proxy_buffers")[-1:]:
            buffers = self._try(statement, _buffers, statement.arguments) or buffers
        if not self._value(level, "proxy_buffering", switch, True):
            buffers = 0
        in_file = self._value(level, "client_body_in_file_only", _in_file, "off")
        return {
            "request_buffering": self._value(level, "proxy_request_buffering", switch, True),
            "body_memory": self._value(level, "client_body_buffer_size", size, 16 << 10),
            "body_in_file": in_file,
            "body_directory": self._directory(level, "client_body_temp"),
            "buffers": buffers,
            "temp_most": self._value(level, "proxy_max_temp_file_size", size, 1 << 30),
            "temp_directory": self._directory(level, "proxy_temp"),
        }

    def _directory(self, level: Level, name: str) -> str:
        found = level.find(f"{name}_path")
        return self._path(found[-1].arguments[0] if found else name)

    def _bind(self, level: Level) -> str:
        for statement in level.find("proxy_bind")[-1:]:
            text = " ".join(statement.arguments)
            if statement.arguments[1:] not in ((), ("transparent",)):
                self.walk.refuse(statement, f"'{statement.arguments[1]}' is not possible")
            made = self._try(statement, variable_names, text, self.known)
            return "" if text == "off" else made or ""
        return ""

    def _options(self, level: Level, default: tuple[str, str] | None) -> ProxyOptions:
        redirects = None
        if statements := level.find("proxy_redirect"):
            pairs = [
                self._try(each, redirect, each.arguments, self.known, default)
                for each in statements
            ]
            redirects = tuple(pair for pair in pairs if pair is not None)
            if [each.arguments for each in statements] == [("default",)]:
                redirects = None
        cookies = [
            (kind, *each.arguments)
            for kind in ("domain", "path")
            for each in level.find(f"proxy_cookie_{kind}")
            if len(each.arguments) == 2
        ]
        flags = self._each(level, "proxy_cookie_flags", cookie_flags)
        words = [each.arguments for each in level.find("proxy_next_upstream")[-1:]]
        method, body = level.find("proxy_method"), level.find("proxy_set_body")
        return ProxyOptions(
            method=method[-1].arguments[0] if method else None,
            body=body[-1].arguments[0] if body else None,
            pass_headers=self._value(level, "proxy_pass_request_headers", switch, True),
            pass_body=self._value(level, "proxy_pass_request_body", switch, True),
            http_1_0=self._value(level, "proxy_http_version", _version, False),
            redirects=redirects,
            hide=tuple(each.arguments[0] for each in level.find("proxy_hide_header")),
            pass_=tuple(each.arguments[0] for each in level.find("proxy_pass_header")),
            intercept_errors=self._value(level, "proxy_intercept_errors", switch, False),
            next=next_upstream(words[0]) if words else ("error", "timeout"),
            next_tries=self._value(level, "proxy_next_upstream_tries", integer(0, 1 << 20), 0),
            next_timeout=self._value(level, "proxy_next_upstream_timeout", time, 0.0),
            cookies=(*cookies, *(each for each in flags if each)),
            bind=self._bind(level),
            limit_rate=self._value(level, "proxy_limit_rate", size, 0),
            **self._spooling(level),
            ignore=tuple(
                name.lower()
                for each in level.find("proxy_ignore_headers")
                for name in each.arguments
            ),
        )

    def _balance(self, level: Level) -> Balance:
        for name in ("least_conn", "least_time", "ip_hash", "hash", "random"):
            for statement in level.own.get(name, ()):
                words = statement.arguments
                found = self._try(statement, balance, name, words, self.known)
                return found or Balance()
        return Balance()


def is_simple(logs: list[Statement]) -> bool:
    """Whether the logs are none, or one in the combined format."""
    words = [each.arguments for each in logs]
    if words and words[0][0].startswith("syslog:"):
        return False
    return not words or (len(words) == 1 and words[0][1:] in ((), ("combined",)))


def _auth_set(words: tuple[str, ...], known: frozenset[str]) -> tuple[str, str]:
    if not words[0].startswith("$"):
        refuse(f"'{words[0]}' is not a variable", "write it as $name")
    return words[0][1:], variable_names(words[1], known)


def _buffers(words: tuple[str, ...]) -> int:
    return integer(1, 1 << 20)(words[0]) * size(words[1])


def _in_file(text: str) -> str:
    if text not in ("off", "on", "clean"):
        refuse(f"takes on, off or clean, not '{text}'")
    return text


def _version(text: str) -> bool:
    if text not in ("1.0", "1.1"):
        refuse(f"'{text}' is not supported yet", "write 1.1 or 1.0")
    return text == "1.0"


def _satisfy(text: str) -> bool:
    if text not in ("all", "any"):
        refuse(f"takes all or any, not '{text}'")
    return text == "any"


def _header(statement: Statement, known: frozenset[str]) -> tuple[str, str]:
    name, value = statement.arguments
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
        refuse(f"'{name}' is not a header's name")
    if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
        refuse(f"the value of {name} has a control character")
    return name, variable_names(value, known)


# What a bare `return` would jump: nginx returns before it asks these, so it stays a code then.
_GUARDS = (
    "allow",
    "deny",
    "auth_basic",
    "limit_req",
    "limit_conn",
    "try_files",
    "auth_request",
    "mirror",
)
