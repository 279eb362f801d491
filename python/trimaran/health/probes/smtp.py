"""Well when a mail server greets, and accepts HELO and QUIT (RFC 5321 §4.1.1)."""

import asyncio
import socket

from trimaran.health.probes.connection import connect, opened
from trimaran.health.probes.errors import ProbeError
from trimaran.health.settings import CheckSettings, SmtpProbe

LONGEST = 4096  # bytes of one whole reply


async def probe(check: CheckSettings, asked: SmtpProbe) -> None:
    """The dialogue; each reply must have the code that it should. Raises ProbeError."""
    loop = asyncio.get_running_loop()
    with opened(socket.SOCK_STREAM, check.target) as connection:
        await connect(connection, check.target)
        for said, code in (("", "220"), (f"HELO {asked.helo}", "250"), ("QUIT", "221")):
            if said:
                await loop.sock_sendall(connection, f"{said}\r\n".encode())
            reply = await _reply(connection)
            if reply[:3] != code:
                after = f"after {said.split()[0]}" if said else "greeting"
                raise ProbeError(f"{after}: {code} was wanted, not '{reply[:60]}'")


async def _reply(connection: socket.socket) -> str:
    """The last line of a reply: of '250-a', '250 b' the second."""
    data = b""
    while len(data) <= LONGEST:
        more = await asyncio.get_running_loop().sock_recv(connection, LONGEST)
        if not more:
            raise ProbeError("the connection ended within the dialogue")
        data += more
        lines = data.split(b"\r\n")
        if not lines.pop() and lines and lines[-1][3:4] != b"-":
            return lines[-1].decode(errors="replace")
    raise ProbeError(f"a reply of more than {LONGEST} bytes")
