"""How a location answers: redirects, tokens, conditions, rates, keeping of connections."""

import re
from typing import Any

from trimaran.stack.blocks import Statement
from trimaran.stack.directives import refuse
from trimaran.stack.http import Manner
from trimaran.stack.nginx_http import add_header, switch
from trimaran.stack.nginx_levels import Level, Reader
from trimaran.stack.nginx_values import size, time, variable_names
from trimaran.stack.values import integer

LEVELS = ("emerg", "alert", "crit", "error", "warn", "notice", "info", "debug")


def manner(reader: Reader, level: Level) -> Manner:
    """What holds at a level."""
    values = dict(_DEFAULTS)
    for name, (field, convert) in _VALUES.items():
        found = level.find(name)
        if found and (made := reader._try(found[-1], convert, found[-1].arguments[0])) is not None:
            values[field] = made
    for name in ("limit_rate", "limit_rate_after"):
        for each in level.find(name)[-1:]:
            values[name] = reader._try(each, rate, each.arguments[0], reader.known)
    for each in level.find("keepalive_timeout")[-1:]:
        made = reader._try(each, _keepalive, each.arguments)
        if made is not None:
            values["keepalive_timeout"], values["keepalive_header"] = made
    for each in level.find("keepalive_disable")[-1:]:
        values["keepalive_disable"] = reader._try(each, _browsers, each.arguments) or ()
    trailers = reader._each(level, "add_trailer", add_header)
    return Manner.model_validate({**values, "trailers": trailers})


def errors(reader: Reader, level: Level) -> tuple[tuple[str, str], ...]:
    """The error logs of a level: (path, level)."""
    found = [reader._try(each, error_log, each, reader) for each in level.find("error_log")]
    return tuple(each for each in found if each is not None)


def error_log(statement: Statement, reader: Reader) -> tuple[str, str]:
    """`error_log PATH [LEVEL]`."""
    path, *rest = statement.arguments
    if rest and rest[0] not in LEVELS:
        refuse(f"'{rest[0]}' is no level", f"allowed: {', '.join(LEVELS)}")
    if path.startswith("memory:"):
        refuse("'memory:' is not supported", "write a path, stderr or syslog:server=…")
    special = path == "stderr" or path.startswith("syslog:")
    return path if special else reader._path(path), rest[0] if rest else "error"


def log_level(word: str) -> str:
    """Of limit_req_log_level and limit_conn_log_level."""
    if word not in ("info", "notice", "warn", "error"):
        refuse(f"'{word}' is no level", "write info, notice, warn or error")
    return word


def rate(text: str, known: frozenset[str]) -> str:
    """A size, or a template of one."""
    return variable_names(text, known) if "$" in text else str(size(text))


def _keepalive(words: tuple[str, ...]) -> tuple[float, int | None]:
    header = round(time(words[1])) if len(words) > 1 else 0
    return time(words[0]), header or None


def _browsers(words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        if word not in ("none", "msie6", "safari"):
            refuse(f"'{word}' is no browser", "write none, msie6 or safari")
    return () if "none" in words else words


def _tokens(word: str) -> str:
    if word not in ("on", "off", "build"):
        refuse(f"'{word}' is not possible", "write on, off or build")
    return "off" if word == "off" else "on"


def _modified(word: str) -> str:
    if word not in ("exact", "before", "off"):
        refuse(f"'{word}' is not possible", "write exact, before or off")
    return word


def count(word: str) -> int:
    """A number of things."""
    if not re.fullmatch(r"\d{1,18}", word):
        refuse(f"'{word}' is not a number")
    return int(word)


_DEFAULTS: dict[str, Any] = {
    "keepalive_requests": 1000,
    "keepalive_time": 3600.0,
    "keepalive_disable": ("msie6",),
}
_VALUES: dict[str, tuple[str, Any]] = {
    "server_tokens": ("server_tokens", _tokens),
    "server_name_in_redirect": ("server_name_in_redirect", switch),
    "port_in_redirect": ("port_in_redirect", switch),
    "if_modified_since": ("if_modified_since", _modified),
    "etag": ("etag", switch),
    "max_ranges": ("max_ranges", integer(0, (1 << 31) - 1)),
    "chunked_transfer_encoding": ("chunked", switch),
    "auth_delay": ("auth_delay", time),
    "keepalive_requests": ("keepalive_requests", count),
    "keepalive_time": ("keepalive_time", time),
}
