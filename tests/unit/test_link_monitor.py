"""The bytes of rtnetlink that tell a change of ours from news."""

import struct
from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from trimaran.system.link_monitor import _addresses_spoken_of

NEWLINK, NEWADDR, DELADDR = 16, 20, 21
VIP = IPv4Address("192.0.2.100").packed


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 2) + body


def address(kind: int, local: bytes) -> bytes:
    label = struct.pack("=HH", 4 + 6, 3) + b"ens33\0" + b"\0\0"  # padded to a multiple of four
    return message(kind, bytes(8) + label + struct.pack("=HH", 8, 2) + local)


def test_addresses_are_named_and_links_are_not() -> None:
    data = address(NEWADDR, VIP) + message(NEWLINK, bytes(20)) + address(DELADDR, VIP)
    assert list(_addresses_spoken_of(data)) == [VIP, None, VIP]


@given(st.binary(max_size=200))
def test_noise_ends(data: bytes) -> None:
    assert len(list(_addresses_spoken_of(data))) <= len(data)
    assert len(list(_addresses_spoken_of(address(NEWADDR, VIP)[:28] + data))) <= len(data) + 28
