"""Which $variables an nginx.conf makes, and what of: set, named groups, map, geo, split_clients."""

import re
from collections.abc import Iterable, Iterator

from trimaran.stack.blocks import Statement
from trimaran.stack.directives import refuse
from trimaran.stack.http import Map
from trimaran.stack.nginx_values import VARIABLES, variable_names
from trimaran.stack.values import integer

_GROUP = re.compile(r"\(\?P?[<']([A-Za-z_]\w*)[>']")
_MADE = {"map", "geo", "split_clients"}


def every(statements: Iterable[Statement]) -> Iterator[Statement]:
    """The statements of all depths."""
    for statement in statements:
        yield statement
        yield from every(statement.block or ())


def slots(statements: Iterable[Statement]) -> tuple[str, ...]:
    """The variables whose values requests carry."""
    names: dict[str, None] = {}
    for statement in every(statements):
        if statement.name in ("set", "auth_request_set") and statement.arguments:
            names[statement.arguments[0].removeprefix("$")] = None
        for word in statement.words:
            names |= dict.fromkeys(_GROUP.findall(word.text))
    return tuple(name for name in names if name not in VARIABLES)


def made(statements: Iterable[Statement]) -> frozenset[str]:
    """The names of the variables that are made of others."""
    return frozenset(
        each.arguments[-1].removeprefix("$")
        for each in every(statements)
        if each.name in _MADE and each.arguments
    )


def map_of(statement: Statement, known: frozenset[str]) -> Map:
    """A `map`, `geo` or `split_clients` block."""
    *source, name = statement.arguments
    if not name.startswith("$"):
        refuse(f"'{name}' is not a variable", "write it as $name")
    block = statement.block or ()
    volatile = any(each.name == "volatile" and not each.arguments for each in block)
    lines = [each for each in block if each.name != "volatile"]
    name = name[1:]
    if statement.name == "split_clients":
        return _split(name, source, lines, known)
    default, hostnames, ranges, recursive = "", False, False, False
    trusted: list[str] = []
    deleted: list[int] = []
    entries: list[tuple[str, str]] = []
    for line in lines:
        key = line.name
        if key == "hostnames" and not line.arguments:
            hostnames = True
        elif key == "ranges" and not line.arguments:
            ranges = True
        elif key == "proxy_recursive" and statement.name == "geo" and not line.arguments:
            recursive = True
        elif len(line.arguments) != 1:
            refuse(f"'{key}' takes one value")
        elif key == "default":
            default = line.arguments[0]
        elif key == "delete" and statement.name == "geo":
            if ranges:
                deleted.append(len(entries))
                entries.append((line.arguments[0], ""))
            else:
                entries = [pair for pair in entries if pair[0] != line.arguments[0]]
        elif key == "proxy" and statement.name == "geo":
            trusted.append(line.arguments[0])
        else:
            entries.append((key, line.arguments[0]))
    if statement.name == "geo":
        value = source[0] if source else "$remote_addr"
        for index in deleted:
            entries[index] = (entries[index][0], default)
        pairs = tuple(entries)
        return Map(variable=name, kind="geo", source=value, entries=pairs, default=default,
                   volatile=volatile, ranges=ranges, trusted=tuple(trusted),
                   recursive=recursive)  # fmt: skip
    for text in [source[0], default, *(value for _, value in entries)]:
        variable_names(text, known)
    return Map(variable=name, kind="map", source=source[0], entries=tuple(entries),
               default=default, hostnames=hostnames, volatile=volatile)  # fmt: skip


def _split(name: str, source: list[str], lines: list[Statement], known: frozenset[str]) -> Map:
    entries, default, total = [], "", 0
    for line in lines:
        value = line.arguments[0] if line.arguments else ""
        if line.name == "*":
            default = value
            continue
        match = re.fullmatch(r"(\d{1,3})(?:\.(\d{1,2}))?%", line.name)
        if match is None:
            refuse(f"'{line.name}' is not a share", "write it like 12.5%, or * for the rest")
        share = integer(0, 100)(match[1]) * 100 + int((match[2] or "0").ljust(2, "0"))
        total += share
        entries.append((str(share), value))
    if total > 10_000:
        refuse("the shares are more than 100%")
    variable_names(source[0], known)
    return Map(variable=name, kind="split", source=source[0], entries=tuple(entries),
               default=default)  # fmt: skip
