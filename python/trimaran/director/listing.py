"""The director's table in the form of `ipvsadm -Ln`, byte for byte."""

from collections.abc import Mapping
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
        end = f"{service['address']}:{service['port']}"
        lines.append(f"{service['protocol'].upper():<4} {end} {service['scheduler']}\n")
        for real in sorted(service["real_servers"], key=_place):
            if real["listed"]:
                lines.append(_line(real))
    return "".join(lines)


def _line(real: Mapping[str, Any]) -> str:
    end = f"{real['address']}:{real['port']}"
    return (
        f"  -> {end:<28} {real['forward']:<7} {real['weight']:<6} "
        f"{real['active']:<10} {real['inactive']:<10}\n"
    )


def _place(row: Mapping[str, Any]) -> tuple[tuple[int, ...], int]:
    return tuple(int(part) for part in row["address"].split(".")), int(row["port"])
