"""keepalived's `lvs_method`: NAT, DR, or TUN with what the tunnel is."""

from collections.abc import Sequence

from trimaran.stack.directives import refuse
from trimaran.stack.model import Forward, Tunnel
from trimaran.stack.nearest import suggestion
from trimaran.stack.values import choice, integer

HELP = "write `lvs_method DR` or `lvs_method TUN`: NAT is not supported yet"
_TYPES = {"ipip": "ipip", "gue": "gue", "gre": "gre"}
# Remote checksum offload concerns only packets that the director's own kernel made.
_CHECKSUMS = {"nocsum": False, "csum": True, "remcsum": False}


def method(words: Sequence[str]) -> tuple[Forward, Tunnel | None]:
    """`DR`, or `TUN [type ipip|gue port NUMBER|gre] [nocsum|csum|remcsum]`. Raises RefusedError."""
    first, *rest = words
    forward = choice({"dr": "dr", "tun": "tunnel"}, HELP)(first)
    if forward == "dr":
        if rest:
            refuse(f"DR takes no '{rest[0]}'")
        return "dr", None
    return "tunnel", _tunnel(list(rest))


def _tunnel(words: list[str]) -> Tunnel:
    kind, port, checksum = "ipip", None, False
    while words:
        word = words.pop(0)
        if word == "type":
            kind = choice(_TYPES)(_next(words, word))
        elif word == "port":
            port = integer(1, 65535)(_next(words, word))
        elif word in _CHECKSUMS:
            checksum = _CHECKSUMS[word]
        else:
            refuse(f"takes no '{word}'", suggestion(word, ["type", "port", *_CHECKSUMS]))
    return Tunnel.model_validate({"type": kind, "port": port, "checksum": checksum})


def _next(words: list[str], option: str) -> str:
    if not words:
        refuse(f"'{option}' is followed by nothing")
    return words.pop(0)
