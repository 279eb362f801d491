"""The director's table in the form of `ipvsadm -Ln`, byte for byte."""

from collections.abc import Mapping
from ipaddress import IPv4Network, ip_address
from typing import Any

HEADER = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
"""


def listing(status: Mapping[str, Any]) -> str:
    """`status` is the director's part of `GET /status` (docs/decisions/0002). Sorted by address
    and port as ipvsadm does; a real server that is out of the table is not listed."""
    lines = [HEADER]
    for service in sorted(status["services"], key=_place):
        lines.append(f"{service['protocol'].upper():<4} {_end(service)} {_how(service)}\n")
        for real in sorted(service["real_servers"], key=_place):
            if real["listed"]:
                lines.append(_line(real))
    return "".join(lines)


def _how(service: Mapping[str, Any]) -> str:
    """Scheduler, flags, persistence: as ipvsadm says them."""
    flags = service["scheduler_flags"]
    words = [service["scheduler"], *([f"({','.join(flags)})"] if flags else [])]
    timeout, granularity = service["persistence_s"], service["granularity"]
    if timeout:
        words += ["persistent", str(timeout)]
    if timeout and ":" in service["address"] and granularity < 128:
        words += ["mask", str(granularity)]
    elif timeout and ":" not in service["address"] and granularity < 32:
        words += ["mask", str(IPv4Network(f"0.0.0.0/{granularity}").netmask)]
    return " ".join([*words, *(["ops"] if service["one_packet"] else [])])


def _line(real: Mapping[str, Any]) -> str:
    end = _end(real)
    return (
        f"  -> {end:<28} {real['forward']:<7} {real['weight']:<6} "
        f"{real['active']:<10} {real['inactive']:<10}\n"
    )


def _end(row: Mapping[str, Any]) -> str:
    address = row["address"]
    return f"[{address}]:{row['port']}" if ":" in address else f"{address}:{row['port']}"


def _place(row: Mapping[str, Any]) -> tuple[int, str, bytes, int]:
    """IPv4 before IPv6, TCP before UDP (a real server has no protocol of its own)."""
    address = ip_address(row["address"])
    return address.version, row.get("protocol", ""), address.packed, int(row["port"])
