"""Well when it answers an ICMP echo request.

A datagram socket of ICMP: the kernel gives it an identifier, and hands it only its own answers.
"""

import asyncio
import itertools
import secrets
import socket
import struct

from trimaran.health.probes.connection import connect, opened
from trimaran.health.probes.errors import ProbeError, explained
from trimaran.health.settings import CheckSettings, PingProbe
from trimaran.system import sysctl

ECHO, ECHO_REPLY = 8, 0
RANGE = "net/ipv4/ping_group_range"
_numbers = itertools.count(1)


async def probe(check: CheckSettings, asked: PingProbe) -> None:
    """Ask, and wait for an answer with the same number and contents. Raises ProbeError."""
    _allow()
    token = secrets.token_bytes(32)
    number = next(_numbers) & 0xFFFF
    loop = asyncio.get_running_loop()
    with opened(socket.SOCK_DGRAM, check.target, socket.IPPROTO_ICMP) as connection:
        await connect(connection, check.target)
        await loop.sock_sendall(connection, struct.pack("!BBHHH", ECHO, 0, 0, 0, number) + token)
        while True:
            answer = await loop.sock_recv(connection, 2048)
            if len(answer) < 8:
                continue
            kind, code, _sum, _identifier, numbered = struct.unpack_from("!BBHHH", answer)
            if (kind, code, numbered) == (ECHO_REPLY, 0, number) and answer[8:] == token:
                return


def _allow() -> None:
    """As keepalived does: where nobody may have such a socket (the kernel's default '1 0'), let
    group 0 have it."""
    try:
        low, high = map(int, sysctl.read(RANGE).split())
        if low > high:
            sysctl.write(RANGE, "0 0")
    except PermissionError as error:
        raise ProbeError(f"may not open a ping socket: {explained(error)}") from error
    except (OSError, ValueError):
        return  # the socket itself will tell
