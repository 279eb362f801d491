"""Sockets to a check's target, from where it is to come."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from trimaran.health.probes.errors import explained
from trimaran.health.settings import Target

SO_MARK = 36  # asm-generic/socket.h; Python 3.11 does not name it


@contextmanager
def opened(kind: int, target: Target, protocol: int = 0) -> Iterator[socket.socket]:
    """A socket, non-blocking, bound as the target has it. Raises ProbeError for every OSError in
    its block, too."""
    try:
        family = socket.AF_INET if target.address.version == 4 else socket.AF_INET6
        with socket.socket(
            family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol
        ) as made:
            _prepare(made, target, with_port=protocol == 0)
            yield made
    except TimeoutError as error:
        if error.errno is None:  # the check's own deadline
            raise
        raise explained(error) from error
    except OSError as error:
        raise explained(error) from error


def _prepare(made: socket.socket, target: Target, with_port: bool) -> None:
    if target.mark is not None:
        made.setsockopt(socket.SOL_SOCKET, SO_MARK, target.mark)
    if target.interface is not None:
        made.setsockopt(
            socket.SOL_SOCKET, socket.SO_BINDTODEVICE, target.interface.encode() + b"\0"
        )
    if target.source is not None or target.source_port is not None:
        if target.source_port is not None:  # the last probe's may be in TIME_WAIT
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = target.source_port or 0 if with_port else 0
        made.bind((str(target.source or ""), port))


async def connect(made: socket.socket, target: Target) -> None:
    """Connect it to the target. Raises OSError."""
    where = (str(target.address), target.port)
    if made.type == socket.SOCK_STREAM:
        await asyncio.get_running_loop().sock_connect(made, where)
    else:  # nothing to wait for
        made.connect(where)
