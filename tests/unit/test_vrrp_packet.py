"""The codec against bytes that keepalived 2.2.7 (and, where said, 2.4.3) sent."""

import struct
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.vrrp.address import Address
from trimaran.vrrp.packet import (
    GROUP,
    GROUP6,
    Advert,
    Checksum,
    Datagram,
    Dialect,
    Peer,
    Rejection,
    checksum,
    decode,
    encode,
    router_id_of,
    unwrap,
)

VIPS = (IPv4Address("192.0.2.100"), IPv4Address("192.0.2.101"))
VIPS6 = (IPv6Address("fe80::64"), IPv6Address("2001:db8::64"))
SOURCE, PEER = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.3")
SOURCE6 = IPv6Address("fe80::1")
V2 = Dialect(10)
PASS = Dialect(10, password=b"secret1")
V3 = Dialect(10, version=3)
V6 = Dialect(10, version=3, ipv6=True)
UNICAST = replace(V3, peers=(Peer(SOURCE), Peer(PEER)))
SIX = "fe800000000000000000000000000064 20010db8000000000000000000000064"
GOLDEN: dict[str, tuple[int, Dialect, str]] = {
    "v2": (100, V2, "210a64020001f627 c0000264 c0000265 0000000000000000"),
    "v2, priority 0": (0, V2, "210a000200015a28 c0000264 c0000265 0000000000000000"),
    "v2 PASS": (100, PASS, "210a6402010187db c0000264 c0000265 7365637265743100"),
    "v2 PASS, priority 0": (0, PASS, "210a00020101ebdb c0000264 c0000265 7365637265743100"),
    "v3": (100, V3, "310a640200644330 c0000264 c0000265"),
    "v3, priority 0": (0, V3, "310a00020064a730 c0000264 c0000265"),
    "v3 without pseudo-header (2.4.3)": (
        100,
        replace(V3, checksum=Checksum.MESSAGE),
        "310a64020064e5c4 c0000264 c0000265",
    ),
    "v3 unicast": (100, UNICAST, "310a64020064613f c0000264 c0000265"),
    "v3 unicast, old checksum (2.4.3)": (
        100,
        replace(UNICAST, checksum=Checksum.GROUP),
        "310a640200644330 c0000264 c0000265",
    ),
    "v3 IPv6": (100, V6, f"310a640200643f5e {SIX}"),
    "v3 IPv6, priority 0": (0, V6, f"310a00020064a35e {SIX}"),
}
PASS_ADVERT = Advert(100, 100, VIPS)
PASS_BYTES = bytes.fromhex(GOLDEN["v2 PASS"][2])
V3_BYTES = bytes.fromhex(GOLDEN["v3"][2])


def ends(dialect: Dialect) -> tuple[Address, Address]:
    """From where and to where the golden adverts of this dialect went."""
    if dialect.ipv6:
        return SOURCE6, GROUP6
    return SOURCE, PEER if dialect.peers else GROUP


def datagram(payload: bytes, dialect: Dialect = PASS, ttl: int = 255) -> Datagram:
    return Datagram(*ends(dialect), ttl, payload)


def understand(payload: bytes, dialect: Dialect = PASS) -> Advert | Rejection:
    return decode(datagram(payload, dialect), dialect)


def resealed(payload: bytes, at: int, value: int) -> bytes:
    """One byte replaced, the checksum (over the message alone) made right again."""
    changed = bytearray(payload)
    changed[at] = value
    changed[6:8] = b"\0\0"
    changed[6:8] = checksum(bytes(changed)).to_bytes(2, "big")
    return bytes(changed)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_vectors_both_ways(name: str) -> None:
    priority, dialect, text = GOLDEN[name]
    advert = Advert(priority, 100, VIPS6 if dialect.ipv6 else VIPS)
    wire = bytes.fromhex(text)
    assert encode(advert, dialect, *ends(dialect)) == wire
    told = understand(wire, dialect)
    assert told == advert
    assert isinstance(told, Advert)
    assert told.checksum is dialect.checksum


def test_every_form_of_checksum_is_taken_and_told() -> None:
    for form in (Checksum.PSEUDO_HEADER, Checksum.MESSAGE, Checksum.GROUP):
        wire = encode(PASS_ADVERT, replace(UNICAST, checksum=form), SOURCE, PEER)
        told = understand(wire, UNICAST)
        assert isinstance(told, Advert)
        assert told.checksum is form
    group = encode(PASS_ADVERT, replace(V3, checksum=Checksum.GROUP), SOURCE, PEER)
    assert decode(Datagram(SOURCE, PEER, 255, group), V3) is Rejection.DESTINATION
    assert understand(resealed(bytes.fromhex(GOLDEN["v3 IPv6"][2]), 2, 9), V6) is Rejection.CHECKSUM


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
def test_what_is_wrong_in_version_2_has_a_name(reason: Rejection, wire: bytes) -> None:
    assert understand(wire) is reason


@pytest.mark.parametrize(
    ("reason", "wire"),
    [
        (Rejection.TRUNCATED, V3_BYTES[:7]),
        (Rejection.VERSION, PASS_BYTES),
        (Rejection.ROUTER_ID, resealed(V3_BYTES, 1, 11)),
        (Rejection.LENGTH, resealed(V3_BYTES, 3, 1)),
        (Rejection.LENGTH, V3_BYTES + bytes(8)),
        (Rejection.CHECKSUM, V3_BYTES[:2] + b"\x65" + V3_BYTES[3:]),
        (Rejection.TYPE, resealed(V3_BYTES, 0, 0x32)),
        (Rejection.INTERVAL, resealed(V3_BYTES, 5, 0)),
    ],
)
def test_what_is_wrong_in_version_3_has_a_name(reason: Rejection, wire: bytes) -> None:
    assert understand(wire, V3) is reason


def test_the_reserved_bits_of_version_3_are_not_looked_at() -> None:
    told = understand(resealed(V3_BYTES, 4, 0xA0), V3)
    assert told == Advert(100, 100, VIPS)


def test_intervals_from_10_ms_to_40_95_s() -> None:
    for interval_cs in (1, 4095):
        advert = Advert(100, interval_cs, VIPS)
        assert understand(encode(advert, V3, SOURCE, GROUP), V3) == advert


def test_ttl_and_destination() -> None:
    def told(dialect: Dialect = PASS, **fields: object) -> Advert | Rejection:
        packet = replace(datagram(PASS_BYTES, dialect), **fields)  # type: ignore[arg-type]
        return decode(packet, dialect)

    assert told(ttl=254) is Rejection.TTL
    assert told(destination=SOURCE) is Rejection.DESTINATION
    assert told() == PASS_ADVERT
    near = replace(PASS, peers=(Peer(SOURCE, min_ttl=250, max_ttl=254),))
    assert told(near, ttl=249) is Rejection.TTL
    assert told(near, ttl=255) is Rejection.TTL
    assert told(near, ttl=252) == PASS_ADVERT
    assert told(near, destination=GROUP) is Rejection.DESTINATION
    stranger = replace(PASS, peers=(Peer(PEER),))
    assert told(stranger, ttl=1) == PASS_ADVERT
    assert told(replace(stranger, check_source=True), ttl=1) is Rejection.SOURCE


def test_an_earlier_check_names_the_reason() -> None:
    several_wrong = datagram(resealed(PASS_BYTES, 1, 99)[:-1], ttl=1)
    assert decode(several_wrong, PASS) is Rejection.TTL


def test_other_address_lists_are_no_reason() -> None:
    other = replace(PASS_ADVERT, addresses=(IPv4Address("203.0.113.9"),))
    assert understand(encode(other, PASS, SOURCE, GROUP)) == other


def test_a_password_is_in_no_text() -> None:
    assert "secret1" not in repr(PASS)


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


@st.composite
def spoken(draw: st.DrawFn) -> tuple[Advert, Dialect]:
    """An advert, and the dialect it is spoken in."""
    version, ipv6 = draw(st.sampled_from([(2, False), (3, False), (3, True)]))
    interval_cs = draw(st.integers(1, 255)) * 100 if version == 2 else draw(st.integers(1, 4095))
    addresses = draw(st.lists(st.ip_addresses(v=6 if ipv6 else 4), max_size=20).map(tuple))
    dialect = Dialect(
        draw(st.integers(1, 255)),
        version,
        ipv6,
        interval_cs,
        draw(st.none() | st.binary(max_size=8)) if version == 2 else None,
        draw(st.sampled_from([(), (Peer(SOURCE),)])),
    )
    return Advert(draw(st.integers(0, 255)), interval_cs, addresses), dialect


@given(spoken())
def test_round_trip(said: tuple[Advert, Dialect]) -> None:
    advert, dialect = said
    source, destination = ends(dialect)
    if dialect.ipv6 and dialect.peers:
        destination = SOURCE6
    packet = Datagram(source, destination, 255, encode(advert, dialect, source, destination))
    assert router_id_of(packet) == dialect.router_id
    assert decode(packet, dialect) == advert


@given(st.binary(max_size=120), st.sampled_from([V2, PASS, V3, V6, UNICAST]))
def test_noise_is_rejected_not_raised(data: bytes, dialect: Dialect) -> None:
    packet = unwrap(data)
    if isinstance(packet, Datagram):
        assert isinstance(decode(packet, dialect), Rejection)
        router_id_of(packet)
    assert isinstance(understand(data, dialect), Rejection)


@given(spoken(), st.integers(0, 10_000), st.integers(1, 255))
def test_any_one_damaged_byte_is_noticed(said: tuple[Advert, Dialect], at: int, flip: int) -> None:
    advert, dialect = said
    dialect = replace(dialect, peers=())
    wire = bytearray(encode(advert, dialect, *ends(dialect)))
    wire[at % len(wire)] ^= flip
    assert isinstance(understand(bytes(wire), dialect), Rejection)
