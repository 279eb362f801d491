"""The kernel's table of connections, as /proc/net/ip_vs_conn has it."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from trimaran.director.ipvs import SCTP, TCP, UDP, Address, Connection

PROTOCOLS = {"TCP": TCP, "UDP": UDP, "SCTP": SCTP}


def connections(lines: Iterable[str]) -> Iterator[Connection]:
    """One for each line but the first; a line cut short is left out."""
    for line in lines:
        words = line.split()
        if len(words) < 9 or words[0] == "Pro":
            continue
        ends = [(_address(words[at]), int(words[at + 1], 16)) for at in (1, 3, 5)]
        engine, data = [*words[9:11], "", ""][:2]
        protocol = PROTOCOLS.get(words[0], 0)
        yield Connection(protocol, ends[0], ends[1], ends[2], words[7], int(words[8]), engine, data)


def _address(word: str) -> Address:
    """IPv4's are eight hexadecimal digits."""
    return IPv6Address(word) if ":" in word else IPv4Address(int(word, 16))
