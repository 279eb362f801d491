"""Packets to addresses that are carried but not accepted (RFC 9568 §6.1, Accept_Mode false).

A table of nftables of its own, from start to end: while the address is not ours, nothing is
delivered to it here anyway. IPv6 neighbour discovery must go on."""

import subprocess
from collections.abc import Iterable

from trimaran.system.errors import CannotRunError
from trimaran.vrrp.address import Address


def ruleset(table: str, addresses: Iterable[Address]) -> str:
    """What `nft -f` is told: the table made anew, with these addresses."""
    lines = [f"table inet {table}", f"delete table inet {table}"]
    every = list(addresses)
    if not every:
        return "\n".join(lines) + "\n"
    lines += [f"table inet {table} {{", "  chain input {",
              "    type filter hook input priority -1; policy accept;"]  # fmt: skip
    four = ", ".join(str(each) for each in every if each.version == 4)
    six = ", ".join(str(each) for each in every if each.version == 6)
    if four:
        lines.append(f"    ip daddr {{ {four} }} counter drop")
    if six:
        lines.append(
            f"    ip6 daddr {{ {six} }} icmpv6 type != {{ nd-neighbor-solicit, "
            "nd-neighbor-advert } counter drop"
        )
        lines.append(f"    ip6 daddr {{ {six} }} meta l4proto != ipv6-icmp counter drop")
    return "\n".join([*lines, "  }", "}"]) + "\n"


def apply(table: str, addresses: Iterable[Address]) -> None:
    """Drop what is sent to these addresses, and to no other. Raises CannotRunError."""
    try:
        done = subprocess.run(
            ["nft", "-f", "-"], input=ruleset(table, addresses), text=True, capture_output=True,
            check=False, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRunError(f"no_accept needs nft: {error}", "install nftables") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise CannotRunError(f"nft refused the rules of no_accept: {said[:1]}", "")
