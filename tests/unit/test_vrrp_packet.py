"""The VRRPv2 codec against bytes that keepalived 2.2.7 sent."""

import struct
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.vrrp.packet import (
    GROUP,
    Advert,
    Datagram,
    Rejection,
    checksum,
    decode,
    encode,
    router_id_of,
    unwrap,
)

VIPS = (IPv4Address("192.0.2.100"), IPv4Address("192.0.2.101"))
SOURCE = IPv4Address("192.0.2.1")
GOLDEN = {
    "none": (
        Advert(10, 100, 1, VIPS),
        "210a64020001f627 c0000264 c0000265 0000000000000000",
    ),
    "none, priority 0": (
        Advert(10, 0, 1, VIPS),
        "210a000200015a28 c0000264 c0000265 0000000000000000",
    ),
    "PASS": (
        Advert(10, 100, 1, VIPS, b"secret1"),
        "210a6402010187db c0000264 c0000265 7365637265743100",
    ),
    "PASS, priority 0": (
        Advert(10, 0, 1, VIPS, b"secret1"),
        "210a00020101ebdb c0000264 c0000265 7365637265743100",
    ),
}
PASS_ADVERT = GOLDEN["PASS"][0]
PASS_BYTES = bytes.fromhex(GOLDEN["PASS"][1])


def datagram(payload: bytes, ttl: int = 255, destination: IPv4Address = GROUP) -> Datagram:
    return Datagram(SOURCE, destination, ttl, payload)


def understand(payload: bytes, **fields: object) -> Advert | Rejection:
    """As the router 10, 1 s, PASS secret1, unless told otherwise."""
    expected: dict[str, object] = {"router_id": 10, "interval_s": 1, "password": b"secret1"}
    return decode(datagram(payload), **(expected | fields))  # type: ignore[arg-type]


def resealed(payload: bytes, at: int, value: int) -> bytes:
    """One byte replaced, the checksum made right again."""
    changed = bytearray(payload)
    changed[at] = value
    changed[6:8] = b"\0\0"
    changed[6:8] = checksum(bytes(changed)).to_bytes(2, "big")
    return bytes(changed)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_vectors_both_ways(name: str) -> None:
    advert, text = GOLDEN[name]
    wire = bytes.fromhex(text)
    assert encode(advert) == wire
    assert understand(wire, password=advert.password) == advert


@pytest.mark.parametrize(
    ("reason", "wire"),
    [
        (Rejection.TRUNCATED, PASS_BYTES[:7]),
        (Rejection.VERSION, resealed(PASS_BYTES, 0, 0x31)),
        (Rejection.ROUTER_ID, resealed(PASS_BYTES, 1, 11)),
        (Rejection.LENGTH, resealed(PASS_BYTES, 3, 3)),
        (Rejection.LENGTH, PASS_BYTES[:-1]),
        (Rejection.LENGTH, PASS_BYTES + b"\0"),
        (Rejection.CHECKSUM, PASS_BYTES[:2] + b"\x65" + PASS_BYTES[3:]),
        (Rejection.TYPE, resealed(PASS_BYTES, 0, 0x22)),
        (Rejection.AUTHENTICATION_TYPE, resealed(PASS_BYTES, 4, 0)),
        (Rejection.AUTHENTICATION_TYPE, resealed(PASS_BYTES, 4, 2)),
        (Rejection.AUTHENTICATION, resealed(PASS_BYTES, len(PASS_BYTES) - 1, 1)),
        (Rejection.INTERVAL, resealed(PASS_BYTES, 5, 2)),
    ],
)
def test_what_is_wrong_has_a_name(reason: Rejection, wire: bytes) -> None:
    assert understand(wire) is reason


def test_ttl_and_destination() -> None:
    def told(**fields: object) -> Advert | Rejection:
        packet = replace(datagram(PASS_BYTES), **fields)  # type: ignore[arg-type]
        return decode(packet, router_id=10, interval_s=1, password=b"secret1")

    assert told(ttl=254) is Rejection.TTL
    assert told(destination=SOURCE) is Rejection.DESTINATION
    assert told() == PASS_ADVERT


def test_an_earlier_check_names_the_reason() -> None:
    several_wrong = datagram(resealed(PASS_BYTES, 1, 99)[:-1], ttl=1)
    assert decode(several_wrong, router_id=10, interval_s=1, password=None) is Rejection.TTL


def test_other_address_lists_are_no_reason() -> None:
    other = replace(PASS_ADVERT, addresses=(IPv4Address("203.0.113.9"),))
    assert understand(encode(other)) == other


def test_a_password_is_in_no_text() -> None:
    assert "secret1" not in repr(PASS_ADVERT)


def wrapped(payload: bytes, *, options: bytes = b"", padding: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x40 | words, 0xC0, words * 4 + len(payload), 0, 0, 255, 112, 0,
        SOURCE.packed, GROUP.packed,
    )  # fmt: skip
    return header + options + payload + padding


def test_unwrap_drops_ethernet_padding_and_skips_options() -> None:
    for options in (b"", b"\x94\x04\0\0"):
        data = wrapped(PASS_BYTES, options=options, padding=bytes(6))
        assert unwrap(data) == datagram(PASS_BYTES)


@pytest.mark.parametrize(
    "data", [b"", bytes(19), wrapped(PASS_BYTES)[:-1], b"\x65" + wrapped(b"")[1:], b"\x44" * 40]
)
def test_unwrap_believes_no_length(data: bytes) -> None:
    assert unwrap(data) is Rejection.TRUNCATED


adverts = st.builds(
    Advert,
    router_id=st.integers(1, 255),
    priority=st.integers(0, 255),
    interval_s=st.integers(1, 255),
    addresses=st.lists(st.ip_addresses(v=4), max_size=20).map(tuple),
    password=st.none() | st.binary(max_size=8),
)


@given(adverts)
def test_round_trip(advert: Advert) -> None:
    packet = unwrap(wrapped(encode(advert)))
    assert isinstance(packet, Datagram)
    assert router_id_of(packet) == advert.router_id
    told = decode(
        packet,
        router_id=advert.router_id,
        interval_s=advert.interval_s,
        password=advert.password,
    )
    assert told == advert


@given(st.binary(max_size=120))
def test_noise_is_rejected_not_raised(data: bytes) -> None:
    packet = unwrap(data)
    if isinstance(packet, Datagram):
        assert isinstance(understand(packet.payload), Rejection)
        router_id_of(packet)
    assert isinstance(understand(data), Rejection)


@given(adverts, st.integers(0, 10_000), st.integers(1, 255))
def test_any_one_damaged_byte_is_noticed(advert: Advert, at: int, flip: int) -> None:
    wire = bytearray(encode(advert))
    wire[at % len(wire)] ^= flip
    told = decode(
        datagram(bytes(wire)),
        router_id=advert.router_id,
        interval_s=advert.interval_s,
        password=advert.password,
    )
    assert isinstance(told, Rejection)
