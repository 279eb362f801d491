"""nginx's rewrite module: set, rewrite, if, return and break, in their order."""

import re
from collections.abc import Callable, Iterable

from trimaran.stack.blocks import Statement
from trimaran.stack.directives import refuse
from trimaran.stack.http import Break, If, Location, Return, Rewrite, Set
from trimaran.stack.nginx_values import VARIABLES, returned, variable_names

Code = Set | Rewrite | Break | Return | If
CODES = frozenset({"set", "rewrite", "if", "return", "break"})
_CHANGEABLE = {"args", "limit_rate"}
_TEST = re.compile(r"(.*?)\s*(!?~\*?|!?=)\s*(.*)", re.DOTALL)


def code(
    statement: Statement,
    known: frozenset[str],
    inner: Callable[[Statement], tuple[tuple[Code, ...], Location | None]],
) -> Code:
    """One code; `inner` makes of an `if` what runs in it and the location that it is."""
    words = statement.arguments
    match statement.name:
        case "break":
            return Break()
        case "return":
            return returned(words, known)
        case "set":
            name = words[0].removeprefix("$")
            if not words[0].startswith("$"):
                refuse(f"'{words[0]}' is not a variable", "write it as $name")
            if name in VARIABLES and name not in _CHANGEABLE:
                refuse(f"'{words[0]}' cannot be changed, for now")
            return Set(variable=name, value=variable_names(words[1], known))
        case "rewrite":
            flag = words[2] if len(words) > 2 else ""
            if flag not in ("", "last", "break", "redirect", "permanent"):
                refuse(f"'{flag}' is not a flag", "write last, break, redirect or permanent")
            return Rewrite.model_validate(
                {"pattern": words[0], "replacement": variable_names(words[1], known), "flag": flag}
            )
    test, left, right = condition(words)
    then, location = inner(statement)
    if test not in ("~", "~*", "!~", "!~*"):
        variable_names(right, known)
    return If(test=test, left=variable_names(left, known), right=right, then=then,
              location=location)  # fmt: skip


def condition(words: tuple[str, ...]) -> tuple[str, str, str]:
    """(test, left, right) of the words of `if (…)`."""
    first, last = words[0], words[-1]
    if not first.startswith("(") or not last.endswith(")"):
        refuse("needs its condition in parentheses")
    inner = [first[1:], *words[1:]] if len(words) > 1 else [first[1:-1]]
    if len(words) > 1:
        inner[-1] = inner[-1].removesuffix(")")
    parts = [part for part in inner if part] or [""]
    if re.fullmatch(r"!?-[fdex]", parts[0]):
        if len(parts) != 2:
            refuse("a test of a file takes one path")
        return parts[0], parts[1], ""
    if len(parts) == 1:
        if not parts[0].startswith("$"):
            refuse(f"'{parts[0]}' is not a variable")
        match = _TEST.fullmatch(parts[0])
        if match and match[1].startswith("$") and match[2] in ("=", "!=", "~", "~*", "!~"):
            return match[2], match[1], match[3]
        return "", parts[0], ""
    if len(parts) == 2 and re.fullmatch(r"!?=|!?~\*?", parts[1]):
        parts.append("")
    if len(parts) != 3 or not re.fullmatch(r"!?=|!?~\*?", parts[1]):
        refuse(f"'{' '.join(parts)}' is not a condition")
    return parts[1], parts[0], parts[2]


def in_order(block: Iterable[Statement]) -> list[Statement]:
    """The codes of a block."""
    return [statement for statement in block if statement.name in CODES]
