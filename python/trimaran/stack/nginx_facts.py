"""Every directive of nginx 1.31: where it may stand, what it takes, what holds without it.

A line is its name, the contexts (M the top level, E events, H http, S server, L location,
U upstream, I an `if` of a server, J one of a location, X limit_except, s t u stream, its servers,
its upstreams, * any), the number of arguments ('flag' is on or off, '{' opens a block), and the
default.
"""

from dataclasses import dataclass

from trimaran.stack.nginx_facts_forwarding import FACTS as FORWARDING
from trimaran.stack.nginx_facts_http import FACTS as HTTP_FACTS
from trimaran.stack.nginx_facts_stream import FACTS as STREAM_FACTS

CONTEXTS = {
    "M": "the top level", "E": "events", "H": "http", "S": "server", "L": "location",
    "U": "upstream", "I": "if", "J": "if", "X": "limit_except", "s": "stream",
    "t": "server in stream", "u": "upstream in stream",
}  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """One directive: `contexts` in the words of the table, `arguments` as in '1-2' or 'flag'."""

    name: str
    contexts: tuple[str, ...]
    arguments: str
    block: bool
    default: str


def _fact(line: str) -> Fact:
    name, letters, arguments, *default = line.split(" ", 3)
    contexts = dict.fromkeys(
        word for letter, word in CONTEXTS.items() if letter in letters or "*" in letters
    )
    block = arguments.endswith("{")
    return Fact(name, tuple(contexts), arguments.rstrip("{"), block, "".join(default))


FACTS = {
    fact.name: fact
    for text in (HTTP_FACTS, FORWARDING, STREAM_FACTS)
    for fact in map(_fact, text.split("\n")[1:-1])
}
