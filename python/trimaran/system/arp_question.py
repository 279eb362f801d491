"""ARP who-has (RFC 826), asked once by hand: everybody who answers, not only the first."""

import socket
import struct
import time

ETH_P_ARP = 0x0806
_ARP = struct.Struct("!6s6sH HHBBH 6s4s6s4s")  # Ethernet header, then RFC 826's fields
_REQUEST, _REPLY = 1, 2


def who_has(interface: str, mac: str, address: str, target: str, wait_s: float) -> set[str]:
    """Ask from `interface` (whose `mac` and `address` are given) who has `target`; the MAC
    addresses of all who answer within `wait_s`. In the namespace of the calling thread."""
    ours = bytes.fromhex(mac.replace(":", ""))
    sought = socket.inet_aton(target)
    question = _ARP.pack(
        b"\xff" * 6, ours, ETH_P_ARP, 1, 0x0800, 6, 4, _REQUEST,
        ours, socket.inet_aton(address), b"\0" * 6, sought,
    )  # fmt: skip
    answers: set[str] = set()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP)) as wire:
        wire.bind((interface, ETH_P_ARP))
        wire.send(question)
        deadline = time.monotonic() + wait_s
        while (left := deadline - time.monotonic()) > 0:
            wire.settimeout(left)
            try:
                frame = wire.recv(256)
            except TimeoutError:
                break
            if len(frame) < _ARP.size:
                continue
            fields = _ARP.unpack_from(frame)
            # To us only: a gratuitous reply to everybody is no answer.
            if fields[0] == ours and fields[7] == _REPLY and fields[9] == sought:
                answers.add(fields[8].hex(":"))
    return answers
