"""A world in the test machine that is driven from here, step by step.

    with vm.relayed() as world:
        ipvs = Ipvs(world.wire())             # our code, run here; its netlink is answered there
        world.run("ipvsadm -Ln")              # a shell command there, in the same world
        world.forward([frame])                # onto the director's interface; what came out of it

Our Python runs on this host at its full speed: only datagrams, commands and frames cross over.
"""

import socket
import struct
from collections.abc import Iterable

SETUP = """
ip link add ens33 type veth peer name wire
sysctl -qw net.ipv6.conf.wire.disable_ipv6=1 net.ipv4.conf.all.rp_filter=0
sysctl -qw net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.ens33.rp_filter=0
sysctl -qw net.ipv4.conf.wire.arp_ignore=8 net.ipv4.conf.ens33.accept_local=1
ip link set ens33 address 02:00:00:00:00:01 up
ip link set wire arp off up
ip addr add 10.0.0.1/24 dev ens33
ip addr add fd00::1/64 dev ens33 nodad
"""


class RelayedWire:
    """A netlink socket there."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._answers: list[bytes] = []

    def send(self, data: bytes, /) -> None:
        """Ask."""
        self._answers = split(self._world.ask(b"N" + data))

    def recv(self, size: int, /) -> bytes:
        """The next datagram of the answer."""
        return self._answers.pop(0)

    def close(self) -> None:
        """The world keeps its socket."""


class World:
    """Made by `Machine.relayed`."""

    def __init__(self, port: socket.socket) -> None:
        self._port = port

    def ask(self, request: bytes) -> bytes:
        """One exchange."""
        self._port.sendall(struct.pack("!I", len(request)) + request)
        return self._take(struct.unpack("!I", self._take(4))[0])

    def _take(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self._port.recv(size - len(data))
            assert part, "the test machine has closed its port"
            data += part
        return bytes(data)

    def wire(self) -> RelayedWire:
        """For `Ipvs` and `IpvsMachine`."""
        return RelayedWire(self)

    def try_(self, command: str) -> tuple[int, str]:
        """Run a shell command; its status and both outputs."""
        answer = self.ask(b"X" + command.encode())
        return struct.unpack_from("!i", answer)[0], answer[4:].decode()

    def run(self, command: str) -> str:
        """Run a shell command that must not fail; both outputs."""
        status, output = self.try_(command)
        assert status == 0, f"{command}: exit {status}\n{output}"
        return output

    def cable(self) -> None:
        """Give the world a director's interface, ens33 (10.0.0.1/24, fd00::1/64), for `forward`."""
        self.run("set -e\n" + SETUP)

    def forward(self, frames: Iterable[bytes]) -> list[bytes]:
        """Let these Ethernet frames come in at ens33; the frames that left there because of
        them."""
        return split(
            self.ask(b"F" + b"".join(struct.pack("!I", len(frame)) + frame for frame in frames))
        )


def split(data: bytes) -> list[bytes]:
    """What has its length before it, part by part."""
    parts = []
    while data:
        (length,) = struct.unpack_from("!I", data)
        parts.append(data[4 : 4 + length])
        data = data[4 + length :]
    return parts
