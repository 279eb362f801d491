"""Runs in the test machine, and does what the host asks through a serial port (vm/relayed.py):

    N  a netlink message of generic netlink -> the kernel's datagrams, up to the last of them
    X  a shell command -> its status and both outputs
    F  frames onto the wire -> the frames that came out of it (see `forward`)

Everything has its length before it (4 bytes, big-endian).
"""

import socket
import struct
import subprocess
import sys
from pathlib import Path

NETLINK_GENERIC = 16
ERROR, DONE = 2, 3
ETH_P_ALL = 3
OUTGOING = 4
ARP = b"\x08\x06"
WIRE = "wire"  # the far end of the director's interface
PROBE = bytes.fromhex("020000000099")


class Port:
    """The serial port to the host."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("r+b", buffering=0)  # noqa: SIM115

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._file.read(size - len(data))
            if not part:
                sys.exit(0)
            data += part
        return data

    def take(self) -> bytes:
        return self.read(struct.unpack("!I", self.read(4))[0])

    def give(self, data: bytes) -> None:
        data = struct.pack("!I", len(data)) + data
        while data:
            data = data[self._file.write(data) :]


def ask(netlink: socket.socket, question: bytes) -> bytes:
    """The kernel's datagrams, each with its length; the last has an error or the end in it."""
    netlink.send(question)
    answers = b""
    while True:
        data = netlink.recv(1 << 20)
        answers += struct.pack("!I", len(data)) + data
        while len(data) >= 16:
            length, kind = struct.unpack_from("=IH", data)
            if kind in (ERROR, DONE):
                return answers
            data = data[(length + 3) & ~3 :]


def forward(wire: socket.socket, frames: bytes) -> bytes:
    """Put frames onto the wire; what came out, up to the answer to an ARP request that went in
    last: frames are forwarded in the order in which they came."""
    while frames:
        (length,) = struct.unpack_from("!I", frames)
        wire.send(frames[4 : 4 + length])
        frames = frames[4 + length :]
    wire.send(
        b"\xff" * 6 + PROBE + ARP + bytes.fromhex("0001080006040001")
        + PROBE + bytes([10, 0, 0, 253]) + bytes(6) + bytes([10, 0, 0, 1])
    )  # fmt: skip
    seen = b""
    while True:
        frame, (_, _, kind, *_) = wire.recvfrom(1 << 16)
        if kind == OUTGOING:
            continue
        if frame[12:14] == ARP and frame[:6] == PROBE:
            return seen
        if frame[:1] != b"\x33" and frame[12:14] != ARP:  # no IPv6 multicast, no ARP of its own
            seen += struct.pack("!I", len(frame)) + frame


def main() -> None:
    port = Port(sys.argv[1])
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
    netlink.bind((0, 0))
    wire = None
    while True:
        request = port.take()
        kind, body = request[:1], request[1:]
        if kind == b"N":
            port.give(ask(netlink, body))
        elif kind == b"X":
            done = subprocess.run(
                body.decode(), shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            port.give(struct.pack("!i", done.returncode) + done.stdout)
        elif kind == b"F":
            if wire is None:
                wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
                wire.bind((WIRE, ETH_P_ALL))
                wire.settimeout(30)
            port.give(forward(wire, body))
        else:
            port.give(b"")
            return


main()
