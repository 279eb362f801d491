"""A packet as a client would send it, for the program to be asked about. Pure."""

import struct
from dataclasses import dataclass
from typing import Literal

from trimaran.director.settings import IPAddress
from trimaran.director.tables import PROTOCOLS

Kind = Literal["syn", "ack", "fin", "rst"]
FLAGS: dict[str, int] = {"syn": 0x02, "ack": 0x10, "fin": 0x11, "rst": 0x04}
TTL = 64
CLIENT_MAC = bytes.fromhex("020000000001")


@dataclass(frozen=True)
class Question:
    """What becomes of this packet? Both addresses are of one version; `kind` is TCP's alone."""

    source: IPAddress
    source_port: int
    address: IPAddress
    port: int
    protocol: Literal["tcp", "udp"] = "tcp"
    kind: Kind = "syn"


def frame(question: Question, mac: bytes) -> bytes:
    """It on Ethernet, to that MAC, with right lengths and checksums."""
    number = PROTOCOLS[question.protocol]
    transport = _transport(question)
    six = question.address.version == 6
    source, destination = question.source.packed, question.address.packed
    pseudo = source + destination
    pseudo += struct.pack("!I3xB" if six else "!xBH", *_pseudo(six, number, len(transport)))
    at = 6 if number == PROTOCOLS["udp"] else 16  # the checksum's place
    sum_ = checksum(pseudo + transport)
    transport = transport[:at] + struct.pack("!H", sum_ or 0xFFFF) + transport[at + 2 :]
    if six:
        network = struct.pack("!IHBB", 6 << 28, len(transport), number, TTL) + source + destination
    else:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(transport), 0, 0x4000, TTL, number, 0)
        network = head + source + destination
        network = network[:10] + struct.pack("!H", checksum(network)) + network[12:]
    kind = 0x86DD if six else 0x0800
    return mac + CLIENT_MAC + struct.pack("!H", kind) + network + transport


def _pseudo(six: bool, number: int, length: int) -> tuple[int, int]:
    return (length, number) if six else (number, length)


def _transport(question: Question) -> bytes:
    ports = struct.pack("!HH", question.source_port, question.port)
    if question.protocol == "udp":
        return ports + struct.pack("!HH", 8, 0)
    return ports + struct.pack("!IIBBHHH", 1, 0, 5 << 4, FLAGS[question.kind], 65535, 0, 0)


def checksum(data: bytes) -> int:
    """The Internet's (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
