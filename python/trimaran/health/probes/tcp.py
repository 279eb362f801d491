"""Well when a TCP connection is accepted."""

import socket
from contextlib import suppress

from trimaran.health.probes.connection import connect, opened
from trimaran.health.settings import CheckSettings, TcpProbe


async def probe(check: CheckSettings, asked: TcpProbe) -> None:
    """Connect, and part with FIN, not RST. Raises ProbeError. A server that resets what it has just
    accepted was there: whether that comes before our FIN or after it is no verdict."""
    with opened(socket.SOCK_STREAM, check.target) as connection:
        await connect(connection, check.target)
        with suppress(OSError):  # ENOTCONN after its RST
            connection.shutdown(socket.SHUT_WR)
