"""What a location says besides what it does: headers, logs, limits, access, forwarding options."""

import re
from collections.abc import Callable
from typing import Any

from trimaran.stack.blocks import Statement
from trimaran.stack.directives import refuse
from trimaran.stack.http import (
    AddHeader,
    CountLimit,
    CountZone,
    Expires,
    Log,
    RateLimit,
    RateZone,
)
from trimaran.stack.nginx_values import size, time, variable_names
from trimaran.stack.values import integer

Known = frozenset[str]


def add_header(words: tuple[str, ...], known: Known) -> AddHeader:
    """`add_header NAME VALUE [always]`."""
    if words[2:] not in ((), ("always",)):
        refuse(f"'{words[2]}' is not possible", "write nothing, or always")
    value = variable_names(words[1], known)
    return AddHeader(name=words[0], value=value, always=len(words) == 3)


def expires(words: tuple[str, ...], known: Known) -> Expires:
    """`expires [modified] TIME | epoch | max | off | $variable`."""
    modified = words[0] == "modified"
    text = words[-1]
    if len(words) > 1 + modified or (modified and len(words) == 1):
        refuse(f"'{' '.join(words)}' is not possible")
    if "$" in text:
        return Expires(value=variable_names(text, known), modified=modified)
    if text in ("epoch", "max", "off"):
        return Expires(value=text, modified=modified)
    if text.startswith("@"):
        return Expires(value=f"@{round(time(text[1:]))}", modified=modified)
    sign = "-" if text.startswith("-") else ""
    return Expires(value=f"{sign}{round(time(text.lstrip('+-')))}", modified=modified)


def log(
    words: tuple[str, ...],
    known: Known,
    formats: dict[str, tuple[str, str]],
    path: Callable[[str], str],
) -> Log | None:
    """`access_log PATH [FORMAT] [if=…]`; None is `off`."""
    target, *rest = words
    if target == "off":
        return None
    if "$" in target:
        refuse(f"'{target}' is not supported yet", "write a path")
    where = target if target.startswith("syslog:") else path(target)
    name, test, held = "combined", None, False
    for word in rest:
        if word.startswith("if="):
            test = variable_names(word[3:], known)
        elif word.startswith("buffer="):
            held = size(word[7:]) > 0
        elif word == "gzip" or word.startswith("gzip="):
            refuse("'gzip' is not supported yet")
        elif "=" not in word:
            name = word
    if name == "combined":
        return Log(path=where, condition=test, held=held)
    if name not in formats:
        refuse(f"there is no log_format '{name}'")
    escape, text = formats[name]
    return Log.model_validate(
        {
            "path": where,
            "format": text,
            "escape": escape,
            "condition": test,
            "held": held,
        }
    )


def log_format(statement: Statement, known: Known) -> tuple[str, tuple[str, str]]:
    """(name, (escape, text))."""
    name, *words = statement.arguments
    escape = "default"
    if words and words[0].startswith("escape="):
        escape = words.pop(0)[7:]
        if escape not in ("default", "json", "none"):
            refuse(f"'{escape}' is not possible", "write default, json or none")
    return name, (escape, variable_names("".join(words), known))


def rate_zone(words: tuple[str, ...], known: Known) -> RateZone:
    """`limit_req_zone KEY zone=NAME:SIZE rate=N r/s`."""
    name, most = _zone(words[1:])
    rates = [word for word in words if word.startswith("rate=")]
    match = re.fullmatch(r"rate=(\d{1,6})r/([sm])", rates[0]) if rates else None
    if match is None:
        refuse("needs rate=Nr/s or rate=Nr/m")
    rate = int(match[1]) * 1000
    rate = rate if match[2] == "s" else rate // 60
    return RateZone(name=name, key=variable_names(words[0], known), rate=rate, most=most)


def count_zone(words: tuple[str, ...], known: Known) -> CountZone:
    """`limit_conn_zone KEY zone=NAME:SIZE`."""
    name, most = _zone(words[1:])
    return CountZone(name=name, key=variable_names(words[0], known), most=most)


def _zone(words: tuple[str, ...]) -> tuple[str, int]:
    zones = [word[5:] for word in words if word.startswith("zone=")]
    if not zones:
        refuse("needs zone=NAME:SIZE")
    name, _, room = zones[0].partition(":")
    return name, max(1, size(room) // 128)


def rate_limit(words: tuple[str, ...], dry_run: bool, status: int, level: str) -> RateLimit:
    """`limit_req zone=NAME [burst=N] [nodelay | delay=N]`."""
    values: dict[str, Any] = {"dry_run": dry_run, "status": status, "level": level}
    for word in words:
        name, _, value = word.partition("=")
        if name == "zone":
            values["zone"] = value
        elif name in ("burst", "delay"):
            values[name] = integer(0, 1 << 30)(value)
        elif word == "nodelay":
            values["delay"] = 1 << 40
        else:
            refuse(f"'{word}' is not possible")
    if "zone" not in values:
        refuse("needs zone=NAME")
    return RateLimit.model_validate(values)


def count_limit(words: tuple[str, ...], dry_run: bool, status: int, level: str) -> CountLimit:
    """`limit_conn ZONE N`."""
    count = integer(1, 65535)(words[1])
    return CountLimit(zone=words[0], count=count, dry_run=dry_run, status=status, level=level)


_NEXT = re.compile(
    r"error|timeout|invalid_header|denied|http_(?:500|502|503|504|403|404|429)|non_idempotent|off"
)


def next_upstream(words: tuple[str, ...]) -> tuple[str, ...]:
    """The words of proxy_next_upstream; 'off' is none."""
    for word in words:
        if not _NEXT.fullmatch(word):
            refuse(f"'{word}' is not possible")
    return () if "off" in words else words


def redirect(
    words: tuple[str, ...], known: Known, default: tuple[str, str] | None
) -> tuple[str, str] | None:
    """(from, to) of proxy_redirect; None is 'off'. `default` is what 'default' means here."""
    if words == ("off",):
        return None
    if words == ("default",):
        if default is None:
            refuse("'default' needs a proxy_pass before it, without variables")
        return default
    if len(words) != 2:
        refuse("takes 'default', 'off', or what to replace and its replacement")
    if not words[0].startswith("~"):
        variable_names(words[0], known)
        variable_names(words[1], known)
    return words[0], words[1]


def switch(word: str) -> bool:
    """`on` or `off`."""
    if word not in ("on", "off"):
        refuse(f"takes on or off, not '{word}'")
    return word == "on"


def network(words: tuple[str, ...]) -> str:
    """What `allow` and `deny` name."""
    text = words[0]
    if text == "all":
        return text
    if text == "unix:":
        refuse("'unix:' is not supported yet")
    if not re.fullmatch(r"[0-9a-fA-F.:]+(/\d{1,3})?", text):
        refuse(f"'{text}' is not a network")
    return text
