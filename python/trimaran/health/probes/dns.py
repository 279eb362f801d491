"""Well when a name server answers a question over UDP."""

import asyncio
import socket

import dns.exception
import dns.flags
import dns.message
import dns.rcode

from trimaran.health.probes.connection import connect, opened
from trimaran.health.probes.errors import ProbeError
from trimaran.health.settings import CheckSettings, DnsProbe


async def probe(check: CheckSettings, asked: DnsProbe) -> None:
    """Ask, and wait for the answer to this very question; datagrams that are none are passed over,
    as anybody can send them. Raises ProbeError."""
    question = dns.message.make_query(asked.name, asked.type)
    loop = asyncio.get_running_loop()
    with opened(socket.SOCK_DGRAM, check.target) as connection:
        await connect(connection, check.target)
        await loop.sock_sendall(connection, question.to_wire())
        while True:
            answer = _message(await loop.sock_recv(connection, 65535))
            if answer is not None and question.is_response(answer):
                break
    if answer.rcode() != dns.rcode.NOERROR:
        raise ProbeError(f"the answer is {dns.rcode.to_text(answer.rcode())}")


def _message(data: bytes) -> dns.message.Message | None:
    try:
        return dns.message.from_wire(data, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return None
