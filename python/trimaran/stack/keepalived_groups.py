"""keepalived's virtual_server_group: addresses, ranges and networks that are served alike."""

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from trimaran.stack.blocks import Statement
from trimaran.stack.directives import RefusedError, Walk, refuse
from trimaran.stack.values import address, integer

LARGEST = 1024  # services that a director has at most
Listen = tuple[IPv4Address, int]


def group_listens(group: Statement, walk: Walk) -> list[Listen]:
    """What a group stands for, in its order; what is wrong with an entry is a problem where it
    stands."""
    found: list[Listen] = []
    for entry in group.block or ():
        walk.note(entry, "honoured")
        try:
            if entry.name == "fwmark":
                refuse("by fwmark is not supported yet", "list addresses and ports")
            if len(entry.arguments) != 1:
                refuse("needs a port, and nothing else", "DR forwards one port")
            port = integer(1, 65535)(entry.arguments[0])
            listens = [(each, port) for each in _addresses(entry.name)]
            if len(found) + len(listens) > LARGEST:
                refuse(f"makes more than {LARGEST} services")
            if twice := set(found) & set(listens):
                refuse(f"has {min(twice)[0]} port {port}, which is in the group already")
        except RefusedError as error:
            walk.refuse(entry, error.message, error.help)
            continue
        found += listens
    return found


def _addresses(text: str) -> Iterator[IPv4Address]:
    """'10.0.0.1', '10.0.0.1-9', '10.0.0.250-10.0.1.10' or '10.0.0.8/29'. Raises RefusedError."""
    first, dash, last = text.partition("-")
    if "/" in text:
        try:
            network = IPv4Network(text, strict=False)
        except ValueError:
            refuse(f"'{text}' is no IPv4 network")
        low, high = network[0], network[-1]
    elif dash:
        low = address(first)
        if re.fullmatch(r"[0-9]{1,3}", last):
            last = f"{first.rpartition('.')[0]}.{last}"
        high = address(last)
    else:
        low = high = address(text)
    size = int(high) - int(low) + 1
    if not 1 <= size <= LARGEST:
        refuse(f"'{text}' is a range of {size} addresses", f"possible: 1 to {LARGEST}")
    return (low + place for place in range(size))
