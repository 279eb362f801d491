"""Listening sockets, and who has the one that we want."""

import errno
import os
import socket
from contextlib import suppress
from pathlib import Path

from trimaran.system.errors import CannotRunError

BACKLOG = 4096  # capped by net.core.somaxconn
_TCP_LISTEN = "0A"


def listen_tcp(address: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """A listening socket. Raises CannotRunError, which names who has the port."""
    listener = _bound(address, port, reuse_port)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def bind_refusal(address: str, port: int) -> CannotRunError | None:
    """Why `listen_tcp` would raise; None when it would not."""
    try:
        _bound(address, port, False).close()
    except CannotRunError as refusal:
        return refusal
    return None


def _bound(address: str, port: int, reuse_port: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        raise CannotRunError(*_explain(error, address, port)) from error
    return listener


def _explain(error: OSError, address: str, port: int) -> tuple[str, str]:
    if error.errno == errno.EADDRINUSE:
        holder = port_holder(port) or "another program"
        return f"port {port} of {address} is taken by {holder}", "stop it, or listen elsewhere"
    if error.errno == errno.EACCES:
        return f"this user may not listen on port {port}", "run as root"
    return f"cannot listen on {address}:{port}: {error.strerror}", ""


def port_holder(port: int) -> str | None:
    """Who listens on a TCP port of this network namespace: 'nginx (pid 12)', or None when nobody
    does."""
    inodes = _listeners(port)
    if not inodes:
        return None
    return _process_of(inodes[0]) or "a process that is not ours to see"


def _listeners(port: int) -> list[str]:
    """The inodes of the sockets that listen on a TCP port, IPv4's first."""
    found = []
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/self/net/{name}").read_text().splitlines()[1:]:
                words = line.split()
                its_port = int(words[1].rpartition(":")[2], 16)
                if words[3] == _TCP_LISTEN and its_port == port:
                    found.append(words[9])
    return found


def _process_of(inode: str) -> str | None:
    wanted = f"socket:[{inode}]"
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if os.readlink(descriptor) == wanted:  # noqa: PTH115 -- not a path
                    return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None
