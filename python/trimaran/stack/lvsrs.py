"""The real-server script of LVS in DR mode: its `VIP=` lines are the addresses that lo carries.

The script is not run. Everything else in it (the route, arp_ignore, arp_announce) is what a real
server's role does anyway.
"""

import re
from ipaddress import AddressValueError, IPv4Address

from trimaran.stack.errors import Place, Problem, StackError
from trimaran.stack.report import Note

_VIP = re.compile(r"[ \t]*(?:export[ \t]+)?((?:\w+_)?VIPS?\d*)=([^\n;#]*)", re.IGNORECASE)


def is_lvsrs(text: str) -> bool:
    """Whether a text looks like such a script."""
    return any(_VIP.match(line) for line in text.splitlines())


def read_lvsrs(text: str, file: str) -> tuple[tuple[IPv4Address, ...], list[Note]]:
    """The virtual addresses of the script, in its order. Raises StackError."""
    addresses: dict[IPv4Address, None] = {}
    problems: list[Problem] = []
    note = "the script is not run; the real server's role does what it does"
    notes = [Note(Place(file), "script", "no effect", note)]
    for number, line in enumerate(text.splitlines(), 1):
        match = _VIP.match(line)
        if match is None:
            continue
        place = Place(file, number, match.start(1) + 1)
        words = match[2].strip().strip("\"'()").split()
        try:
            addresses |= dict.fromkeys(IPv4Address(word.split("/")[0]) for word in words)
        except AddressValueError as error:
            problems.append(Problem(place, f"{match[1]}: {error}", "write the address itself"))
            notes.append(Note(place, match[1], "refused", "not an IPv4 address"))
        else:
            notes.append(Note(place, match[1], "honoured"))
    if not addresses and not problems:
        problems.append(Problem(Place(file), "no address is set", "a line `VIP=ADDRESS` is needed"))
    if problems:
        raise StackError(problems, notes)
    return tuple(addresses), notes
