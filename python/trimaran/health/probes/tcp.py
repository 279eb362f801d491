"""Well when a TCP connection is accepted within the timeout."""

import asyncio
import os
import socket
from ipaddress import IPv4Address, IPv6Address


class ProbeError(Exception):
    """The probe failed; the message says how."""


async def probe(address: IPv4Address | IPv6Address, port: int, timeout_s: float) -> None:
    """Connect, and part with FIN, not RST. Raises ProbeError."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.setblocking(False)
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().sock_connect(connection, (str(address), port))
            connection.shutdown(socket.SHUT_WR)
        except TimeoutError as error:
            raise ProbeError(f"no answer within {timeout_s:g} s") from error
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise ProbeError(reason.lower()) from error
