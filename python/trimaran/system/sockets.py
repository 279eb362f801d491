"""Listening sockets, and who has the one that we want."""

import errno
import os
import socket
import struct
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

from trimaran.system.errors import CannotRunError

BACKLOG = 4096  # capped by net.core.somaxconn
_TCP_LISTEN = "0A"


def listen_tcp(address: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """A listening socket. Raises CannotRunError, which names who has the port."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotRunError(*_explain(error, address, port)) from error
    listener.setblocking(False)
    return listener


def _explain(error: OSError, address: str, port: int) -> tuple[str, str]:
    if error.errno == errno.EADDRINUSE:
        holder = port_holder(port) or "another program"
        return f"port {port} of {address} is taken by {holder}", "stop it, or listen elsewhere"
    if error.errno == errno.EACCES:
        return f"this user may not listen on port {port}", "run as root"
    return f"cannot listen on {address}:{port}: {error.strerror}", ""


def port_holder(port: int, address: str | None = None) -> str | None:
    """Who listens on a TCP port of this network namespace: 'nginx (pid 12)', or None when nobody
    does. With `address` only a listener that is in the way of that address."""
    inodes = [
        inode
        for local, its_port, inode in _listeners()
        if its_port == port and (address is None or _in_the_way(local, address))
    ]
    if not inodes:
        return None
    return _process_of(inodes[0]) or "a process that is not ours to see"


def _in_the_way(local: str, address: str) -> bool:
    return local == address or "0.0.0.0" in (local, address)


def _listeners() -> list[tuple[str, int, str]]:
    """(address, port, inode) of every listening TCP socket, IPv6's wildcard as 0.0.0.0."""
    found = []
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/self/net/{name}").read_text().splitlines()[1:]:
                words = line.split()
                if words[3] != _TCP_LISTEN:
                    continue
                hex_address, hex_port = words[1].split(":")
                found.append((_address(hex_address), int(hex_port, 16), words[9]))
    return found


def _address(text: str) -> str:
    """/proc's hexadecimal words in host order; of IPv6 the IPv4 part, or the wildcard."""
    return str(IPv4Address(struct.pack("=I", int(text[-8:], 16))))


def _process_of(inode: str) -> str | None:
    wanted = f"socket:[{inode}]"
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if os.readlink(descriptor) == wanted:  # noqa: PTH115 -- not a path
                    return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None
