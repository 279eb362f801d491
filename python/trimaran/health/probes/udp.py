"""Well when a datagram meets no ICMP error, or brings the reply that is wanted."""

import asyncio
import secrets
import socket

from trimaran.health.probes.connection import connect, opened
from trimaran.health.probes.errors import ProbeError
from trimaran.health.settings import CheckSettings, UdpProbe

RANDOM_LENGTH = 64


async def probe(check: CheckSettings, asked: UdpProbe) -> None:
    """Send one datagram, and wait as long as the check allows. Raises ProbeError."""
    payload = bytes.fromhex(asked.payload) if asked.payload else secrets.token_bytes(RANDOM_LENGTH)
    loop = asyncio.get_running_loop()
    with opened(socket.SOCK_DGRAM, check.target) as connection:
        await connect(connection, check.target)
        await loop.sock_sendall(connection, payload)
        try:
            reply = await _reply(connection, check.timeout_s)
        except TimeoutError:
            if asked.require_reply:
                raise ProbeError(f"no answer within {check.timeout_s:g} s") from None
            return  # no error came either
    if asked.require_reply:
        _compare(reply, asked)


async def _reply(connection: socket.socket, timeout_s: float) -> bytes:
    # A little less than the check itself has, to say what silence means here.
    async with asyncio.timeout(timeout_s * 0.95):
        return await asyncio.get_running_loop().sock_recv(connection, 65536)


def _compare(reply: bytes, asked: UdpProbe) -> None:
    if not asked.min_length <= len(reply) <= asked.max_length:
        wanted = f"{asked.min_length} to {asked.max_length}"
        raise ProbeError(f"the reply has {len(reply)} bytes, not {wanted}")
    for index, (found, wanted) in enumerate(zip(reply.hex(), asked.reply or "", strict=False)):
        if wanted not in (found, "x"):
            raise ProbeError(f"the reply differs at byte {index // 2}: '{reply[:16].hex()}'")
