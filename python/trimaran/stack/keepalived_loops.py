"""keepalived's lines that stand for several: `~SEQ(var, start, step, end)`, `~SEQx` (hexadecimal)
and `~LST(var, a, b)` or `~LST({v, w}, {a, b}, {c, d})`, one or more before the rest of the line."""

import itertools
import re
from collections.abc import Iterator

MOST = 65536  # repetitions of one line; keepalived's own manual goes to 65,024

_LOOP = re.compile(r"\s*~(SEQx?|LST)\(([^()]*)\)")
_PARTS = re.compile(r"\s*(?:\{([^{}]*)\}|([^,{}]*))\s*(?:,|$)")
Binding = dict[str, str]


def repeated(line: str) -> tuple[list[Binding], str]:
    """What the variables are in each repetition, and the rest of the line. A line without a loop
    is itself, once. Raises ValueError."""
    loops: list[list[Binding]] = []
    while match := _LOOP.match(line):
        parse = _list if match[1] == "LST" else _sequence
        loops.append(parse(match[2], match[1]))
        line = line[match.end() :]
    if re.match(r"\s*~(SEQ|LST)", line):
        raise ValueError("is no loop: ~SEQ(name, 1, 9) or ~LST(name, a, b)")
    count = 1
    for loop in loops:
        count *= len(loop)
    if count > MOST:
        raise ValueError(f"makes {count} lines; possible: {MOST}")
    found = []
    for chosen in itertools.product(*loops):
        found.append({name: value for each in chosen for name, value in each.items()})
    return found, line


def _sequence(text: str, kind: str) -> list[Binding]:
    name, *words = (part.strip() for part in text.split(","))
    try:
        numbers = [int(word, 0) for word in words]
    except ValueError:
        raise ValueError(f"~{kind}({text}) needs numbers after the name") from None
    if not name or not 1 <= len(numbers) <= 3:
        raise ValueError(f"~{kind}({text}) needs a name and one to three numbers")
    end = numbers[-1]
    start = numbers[0] if len(numbers) > 1 else (1 if end > 0 else -1)
    step = numbers[1] if len(numbers) == 3 else (1 if end >= start else -1)
    if step == 0 or (end - start) * step < 0:
        raise ValueError(f"~{kind}({text}) never ends")
    if abs(end - start) // abs(step) >= MOST:
        raise ValueError(f"~{kind}({text}) makes more than {MOST} lines")
    form = "x" if kind == "SEQx" else "d"
    return [{name: format(n, form)} for n in range(start, end + (1 if step > 0 else -1), step)]


def _list(text: str, kind: str) -> list[Binding]:
    parts = [[each.strip() for each in part.split(",")] for part in _parts(text)]
    if len(parts) < 2 or not all(parts[0]) or any(len(each) != len(parts[0]) for each in parts):
        raise ValueError(f"~{kind}({text}) needs a name, or names in braces, and as many values")
    return [dict(zip(parts[0], each, strict=True)) for each in parts[1:]]


def _parts(text: str) -> Iterator[str]:
    """What commas part, braces being one."""
    at = 0
    while at < len(text) and (match := _PARTS.match(text, at)) and match.end() > at:
        yield match[2] if match[1] is None else match[1]
        at = match.end()
