"""`upstream` blocks of an nginx.conf: sticky, queue, and what else says how peers are chosen."""

import re

from trimaran.stack.directives import refuse
from trimaran.stack.http import Queue, Sticky, StickyCookie, StickyLearn
from trimaran.stack.nginx_values import size, time, variable_names
from trimaran.stack.values import integer

SESSION_BYTES = 128  # what nginx says of its zones: 8,000 sessions in 1m
_COOKIE_FLAGS = {"httponly", "secure"}


def queue(words: tuple[str, ...]) -> Queue:
    """`queue N [timeout=TIME]`."""
    timeout = 60.0
    for word in words[1:]:
        if not word.startswith("timeout="):
            refuse(f"'{word}' is not possible", "write timeout=TIME")
        timeout = time(word.removeprefix("timeout="))
    return Queue(most=integer(1, 1 << 20)(words[0]), timeout=timeout)


def retry_budget(text: str) -> int:
    """`retry_budget N%` (ours): tries of a next peer are at most that share of the requests."""
    if not text.endswith("%"):
        refuse(f"'{text}' is not a share", "write it like 20%")
    return integer(0, 100)(text[:-1])


def sticky(words: tuple[str, ...], known: frozenset[str]) -> Sticky:
    """`sticky cookie NAME …`, `sticky route $VARIABLE …`, `sticky learn …`."""
    kind, *rest = words
    if kind == "cookie":
        return Sticky(cookie=_cookie(rest, known))
    if kind == "learn":
        return _learn(rest, known)
    if kind != "route":
        refuse(f"'{kind}' is not possible", "write cookie, route or learn")
    return Sticky(lookup=tuple(_variable(word, known) for word in rest))


def _cookie(words: list[str], known: frozenset[str]) -> StickyCookie:
    name, *rest = words
    if not re.fullmatch(r"[A-Za-z0-9_]+", name):
        refuse(f"'{name}' is not a cookie's name here", "write letters, digits and '_'")
    values: dict[str, str | float | bool] = {}
    for word in rest:
        key, equals, value = word.partition("=")
        if key in values:
            refuse(f"'{key}' is there already")
        if word in _COOKIE_FLAGS:
            values[word] = True
        elif key == "expires" and value:
            values[key] = 0.0 if value == "max" else time(value)
        elif key == "path" and value:
            values[key] = value
        elif key in ("domain", "samesite") and value:
            values[key] = variable_names(value, known)
            if key == "samesite" and "$" not in value and value.lower() not in _SAME_SITE:
                refuse(f"'{word}' is not possible", "write strict, lax or none")
        else:
            refuse(f"'{word}' is not possible" if not equals else f"'{key}' takes another value")
    return StickyCookie.model_validate({"name": name, **values})


_SAME_SITE = ("strict", "lax", "none")


def _learn(words: list[str], known: frozenset[str]) -> Sticky:
    zone, most, timeout, at_head = "", 0, 600.0, False
    variables: dict[str, list[str]] = {"create": [], "lookup": []}
    for word in words:
        key, _, value = word.partition("=")
        if key in variables:
            variables[key].append(_variable(value, known))
        elif key == "zone":
            zone, colon, room = value.partition(":")
            if not (zone and colon):
                refuse(f"'{word}' lacks a name or a size", "write zone=NAME:SIZE")
            most = size(room) // SESSION_BYTES
        elif key == "timeout":
            timeout = time(value)
        elif word == "header":
            at_head = True
        else:
            refuse(f"'{word}' is not possible")
    for key, found in variables.items():
        if not found:
            refuse(f"'learn' needs {key}=$VARIABLE")
    if not most:
        refuse("'learn' needs zone=NAME:SIZE")
    learn = StickyLearn(zone=zone, most=most, create=tuple(variables["create"]), timeout=timeout,
                        at_head=at_head)  # fmt: skip
    return Sticky(lookup=tuple(variables["lookup"]), learn=learn)


def _variable(text: str, known: frozenset[str]) -> str:
    if not text.startswith("$"):
        refuse(f"'{text}' is not a variable", "write it as $name")
    return variable_names(text, known)


_FLAG = re.compile(r"(no)?(secure|httponly)|nosamesite|samesite=(strict|lax|none)", re.IGNORECASE)


def cookie_flags(words: tuple[str, ...], known: frozenset[str]) -> tuple[str, str, str] | None:
    """`proxy_cookie_flags COOKIE FLAG …` as (flags, what names the cookie, the flags); None is
    'off'."""
    if words == ("off",):
        return None
    if not words[1:]:
        refuse("takes 'off', or a cookie and its flags")
    for word in words[1:]:
        if "$" in word:
            variable_names(word, known)
        elif not _FLAG.fullmatch(word):
            refuse(f"'{word}' is no flag of a cookie")
    if not words[0].startswith("~"):
        variable_names(words[0], known)
    return "flags", words[0], " ".join(words[1:])
