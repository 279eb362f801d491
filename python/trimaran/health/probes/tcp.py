"""Well when a TCP connection is accepted."""

import socket

from trimaran.health.probes.connection import connect, opened
from trimaran.health.settings import CheckSettings, TcpProbe


async def probe(check: CheckSettings, asked: TcpProbe) -> None:
    """Connect, and part with FIN, not RST. Raises ProbeError."""
    with opened(socket.SOCK_STREAM, check.target) as connection:
        await connect(connection, check.target)
        connection.shutdown(socket.SHUT_WR)
