"""Byte streams to a check's target, with TLS or without."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from trimaran.health.probes import tls
from trimaran.health.probes.connection import connect, opened
from trimaran.health.settings import Target, Tls

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def stream(
    target: Target, secured: Tls | None, protocols: tuple[str, ...] = ()
) -> AsyncIterator[Stream]:
    """A connection, closed at once at the end. Raises ProbeError for every failure in its block."""
    with opened(socket.SOCK_STREAM, target) as connection:
        try:
            context = tls.context(secured, protocols) if secured else None
            await connect(connection, target)
            reader, writer = await asyncio.open_connection(
                sock=connection,
                ssl=context,
                server_hostname=(secured.server_name or "") if secured else None,
            )
        except ssl.SSLError as error:
            raise tls.explained(error) from error
        try:
            if secured:
                tls.check_age(secured, writer.get_extra_info("ssl_object"))
            yield reader, writer
        except ssl.SSLError as error:
            raise tls.explained(error) from error
        finally:
            writer.transport.abort()
            await asyncio.sleep(0)  # the transport lets go of the socket
