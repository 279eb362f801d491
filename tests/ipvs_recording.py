"""What ipvsadm 1.31 and Linux 6.1 said, recorded in the test machine (vm/record_netlink.py)."""

import json
import struct
from pathlib import Path
from typing import Any


def rows(name: str) -> dict[str, dict[str, Any]]:
    """The rows of a file of tests/unit, by command."""
    path = Path(__file__).parent / "unit" / name
    return {row["command"]: row for row in json.loads(path.read_text())}


class Recorded:
    """The kernel of a recording: answers a recorded question as it did then."""

    def __init__(self, row: dict[str, Any]) -> None:
        messages = {way: map(bytes.fromhex, row[way]) for way in ("sent", "heard")}
        # A conversation is known by its sequence number and port, which are bytes 8 to 16.
        self._conversations = {message[16:]: message[8:16] for message in messages["sent"]}
        self._heard = list(messages["heard"])
        self._queue: list[bytes] = []

    def send(self, data: bytes, /) -> None:
        _, family, _, sequence, _ = struct.unpack_from("=IHHII", data)
        if family == 16:  # which number has IPVS?
            number = struct.pack("=BBH", 1, 2, 0) + struct.pack("=HHHH", 6, 1, 0x20, 0)
            rows = [(16, number), (2, bytes(4))]
        else:
            conversation = self._conversations[data[16:]]
            rows = [
                (int.from_bytes(message[4:6], "little"), message[16:])
                for message in self._heard
                if message[8:16] == conversation
            ]
        self._queue = [
            struct.pack("=IHHII", 16 + len(body), kind, 0, sequence, 0) + body
            for kind, body in rows
        ]

    def recv(self, size: int, /) -> bytes:
        return self._queue.pop(0)

    def close(self) -> None:
        pass
