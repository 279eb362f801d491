"""AH and auth_hmac against bytes that keepalived sent (2.2.7, and for the HMAC 2.4.3)."""

import struct
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.vrrp.packet import GROUP, GROUP6, Advert, Datagram, Peer, Rejection, unwrap
from trimaran.vrrp.seal import HmacKey, HmacSettings
from trimaran.vrrp.settings import RouterSettings
from trimaran.vrrp.voice import Voice

SOURCE, OTHER = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.3")
VIPS = (IPv4Interface("192.0.2.100/32"), IPv4Interface("192.0.2.101/32"))
PLAIN = RouterSettings("front", 10, "ens33", 100, VIPS)
AH = replace(PLAIN, password=b"secret1", ah=True)
KEYS = (HmacKey(1, bytes(range(32))), HmacKey(2, bytes(range(64))))
SIGNED = replace(PLAIN, version=3, hmac=HmacSettings(KEYS, 1))
SIX = replace(SIGNED, addresses=(IPv6Interface("fe80::64/128"), IPv6Interface("2001:db8::64/128")))
AH_GOLDEN = bytes.fromhex(
    "70040000 c0000201 00000001 402d838db7c7debc53c3426e"
    "210a64020201f427 c0000264 c0000265 0000000000000000"
)
HMAC_GOLDEN = bytes.fromhex(
    "310a640200644330 c0000264 c000026501010000 6b02b83b 8314 0000 918ac24b56da3c37e8786904975d7685"
)
GOLDEN_AT = 0x6B02B83B + 0x8314 / 65536


def hears(settings: RouterSettings, payload: bytes, at: float, **changes: object) -> object:
    """What a fresh router makes of it."""
    return understands(Voice(settings), payload, at, **changes)


def understands(voice: Voice, payload: bytes, at: float, **changes: object) -> object:
    return voice.understand(carried(payload, **changes), at)


def carried(payload: bytes, **changes: object) -> Datagram:
    return replace(Datagram(SOURCE, GROUP, 255, payload), **changes)  # type: ignore[arg-type]


def ah(datagram: bytes) -> Datagram:
    opened = unwrap(datagram)
    assert isinstance(opened, Datagram)
    return opened


def test_the_golden_ah() -> None:
    ((whole, to),) = Voice(AH).say(100, SOURCE, 0)
    assert to == GROUP
    assert whole[20:] == AH_GOLDEN
    assert whole[:20] == struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0xC0, 68, 1, 0, 255, 51, 0, SOURCE.packed, GROUP.packed
    )
    assert Voice(AH).understand(ah(whole), 0) == Advert(100, 100, tuple(v.ip for v in VIPS))


def test_the_golden_hmac() -> None:
    assert Voice(SIGNED).say(100, SOURCE, GOLDEN_AT) == [(HMAC_GOLDEN, GROUP)]
    told = hears(SIGNED, HMAC_GOLDEN, GOLDEN_AT)
    assert told == Advert(100, 100, tuple(v.ip for v in VIPS))


@pytest.mark.parametrize("peers", [(), (Peer(OTHER), Peer(SOURCE))])
def test_ah_on_the_way(peers: tuple[Peer, ...]) -> None:
    """What routers and the kernel change is not proved: checksum, TOS, and a peer's TTL."""
    settings = replace(AH, peers=peers)
    whole = bytearray(Voice(settings).say(100, SOURCE, 0)[0][0])
    whole[1], whole[10:12] = 0, b"\x12\x34"
    assert isinstance(Voice(settings).understand(ah(bytes(whole)), 0), Advert)
    whole[8] = 254
    told = Voice(settings).understand(ah(bytes(whole)), 0)
    assert isinstance(told, Advert) if peers else told is Rejection.AUTHENTICATION


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (4, 9, Rejection.AUTHENTICATION),  # the datagram's id
        (20, 6, Rejection.AUTHENTICATION_TYPE),
        (21, 5, Rejection.AUTHENTICATION_TYPE),
        (24, 1, Rejection.AUTHENTICATION),  # SPI
        (31, 9, Rejection.AUTHENTICATION),  # sequence
        (43, 0, Rejection.AUTHENTICATION),
        (46, 200, Rejection.AUTHENTICATION),  # priority
    ],
)
def test_a_changed_ah_is_rejected(at: int, value: int, reason: Rejection) -> None:
    whole = bytearray(Voice(AH).say(100, SOURCE, 0)[0][0])
    whole[at] = value
    assert Voice(AH).understand(ah(bytes(whole)), 0) is reason


def test_ah_is_not_replayed_and_a_successor_goes_on() -> None:
    master, backup = Voice(AH), Voice(AH)
    (first,), (second,) = (master.say(100, SOURCE, 0) for _ in range(2))
    assert isinstance(backup.understand(ah(second[0]), 0), Advert)
    assert backup.understand(ah(second[0]), 0) is Rejection.REPLAY
    assert backup.understand(ah(first[0]), 0) is Rejection.REPLAY
    ((third, _),) = backup.say(100, OTHER, 0)
    assert int.from_bytes(third[28:32], "big") == 3


def test_another_password_or_none() -> None:
    ((whole, _),) = Voice(AH).say(100, SOURCE, 0)
    assert Voice(replace(AH, password=b"secret2")).understand(ah(whole), 0) is (
        Rejection.AUTHENTICATION
    )
    plain = Voice(PLAIN).say(100, SOURCE, 0)[0][0]
    assert hears(AH, plain, 0) is Rejection.AUTHENTICATION_TYPE
    assert hears(AH, plain[:20], 0) is Rejection.TRUNCATED


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (0, Rejection.TRAILER),
        (1, Rejection.KEY),
        (2, Rejection.TRAILER),
        (4, Rejection.STALE),
        (9, Rejection.AUTHENTICATION),
        (11, Rejection.AUTHENTICATION),
        (12, Rejection.AUTHENTICATION),
        (27, Rejection.AUTHENTICATION),
        (-14, Rejection.AUTHENTICATION),  # the priority
        (-13, Rejection.UNSIGNED),  # the number of addresses: the trailer is none then
    ],
)
@pytest.mark.parametrize("mode", ["enforce", "permissive", "receive-only"])
def test_a_changed_trailer_is_rejected_in_every_mode(at: int, reason: Rejection, mode: str) -> None:
    changed = bytearray(HMAC_GOLDEN)
    changed[16 + at] ^= 0x40
    settings = replace(SIGNED, hmac=replace(SIGNED.hmac, mode=mode))
    told = hears(settings, bytes(changed), GOLDEN_AT)
    if reason is Rejection.UNSIGNED and mode != "enforce":
        reason = Rejection.LENGTH
    assert told is reason


def test_a_signature_is_bound_to_its_sender_and_its_virtual_router() -> None:
    assert hears(SIGNED, HMAC_GOLDEN, GOLDEN_AT, source=OTHER) is Rejection.AUTHENTICATION
    other = bytearray(HMAC_GOLDEN)
    other[1] = 11
    settings = replace(SIGNED, router_id=11)
    assert hears(settings, bytes(other), GOLDEN_AT) is Rejection.AUTHENTICATION


def test_modes() -> None:
    def mode(name: str) -> RouterSettings:
        return replace(SIGNED, hmac=replace(SIGNED.hmac, mode=name))

    bare = Voice(replace(SIGNED, hmac=None)).say(100, SOURCE, 0)[0][0]
    assert hears(mode("enforce"), bare, 0) is Rejection.UNSIGNED
    assert isinstance(hears(mode("permissive"), bare, 0), Advert)
    assert isinstance(hears(mode("receive-only"), bare, 0), Advert)
    assert Voice(mode("receive-only")).say(100, SOURCE, 0)[0][0] == bare
    assert len(Voice(mode("permissive")).say(100, SOURCE, 0)[0][0]) == len(bare) + 28


def test_the_window_and_what_is_older() -> None:
    for skew in (5, -5):
        assert isinstance(hears(SIGNED, HMAC_GOLDEN, GOLDEN_AT + skew), Advert)
    for skew in (6, -6):
        assert hears(SIGNED, HMAC_GOLDEN, GOLDEN_AT + skew) is Rejection.STALE
    monotonic = replace(SIGNED, hmac=replace(SIGNED.hmac, window_s=None))
    assert isinstance(hears(monotonic, HMAC_GOLDEN, 0), Advert)


def test_sequences_grow_with_a_clock_that_stands_and_survive_one_that_is_set_back() -> None:
    voice, listener = Voice(SIGNED), Voice(SIGNED)
    heard = [voice.say(100, SOURCE, 1000.0)[0][0] for _ in range(3)]
    assert len(set(heard)) == 3
    assert all(isinstance(understands(listener, each, 1000.0), Advert) for each in heard)
    assert understands(listener, heard[0], 1000.0) is Rejection.REPLAY
    # Both clocks are set back by an hour: the sender begins anew, the old mark counts no more.
    back = voice.say(100, SOURCE, -2600.0 % (1 << 32))[0][0]
    assert isinstance(understands(listener, back, -2600.0 % (1 << 32)), Advert)
    # By less than the window: it goes on growing.
    voice, listener = Voice(SIGNED), Voice(SIGNED)
    for at in (1000.0, 998.0):
        assert isinstance(understands(listener, voice.say(1, SOURCE, at)[0][0], at), Advert)


def test_keys_change_without_a_gap() -> None:
    """Both keys everywhere; then one after the other signs with the new one."""
    new = replace(SIGNED, hmac=replace(SIGNED.hmac, active=2))
    assert isinstance(hears(SIGNED, Voice(new).say(100, SOURCE, 0)[0][0], 0), Advert)
    alone = replace(SIGNED, hmac=HmacSettings(KEYS[:1], 1))
    assert hears(alone, Voice(new).say(100, SOURCE, 0)[0][0], 0) is Rejection.KEY


def test_ipv6_sums_up_the_trailer() -> None:
    source = IPv6Address("fe80::1")
    ((wire, to),) = Voice(SIX).say(100, source, 5.0)
    assert to == GROUP6
    ends = {"source": source, "destination": GROUP6}
    assert isinstance(hears(SIX, wire, 5.0, **ends), Advert)
    wrong = wire[:6] + bytes([wire[6] ^ 1]) + wire[7:]  # which the signature does not cover
    assert hears(SIX, wrong, 5.0, **ends) is Rejection.CHECKSUM


def test_each_peer_gets_its_own_checksum_and_the_same_signature() -> None:
    settings = replace(SIGNED, peers=(Peer(OTHER), Peer(IPv4Address("192.0.2.4"))))
    (one, _), (two, _) = Voice(settings).say(100, SOURCE, 5.0)
    assert one[6:8] != two[6:8]
    assert one[16:] == two[16:]
    listener = replace(SIGNED, peers=(Peer(SOURCE),))
    assert isinstance(hears(listener, one, 5.0, destination=OTHER), Advert)
    assert hears(settings, one, 5.0, destination=OTHER) is Rejection.SOURCE


def test_no_secret_is_in_any_text() -> None:
    assert "secret" not in repr(AH)
    assert "\\x00\\x01" not in repr(SIGNED)


@given(st.binary(max_size=160))
def test_noise_is_rejected_not_raised(data: bytes) -> None:
    for settings in (AH, SIGNED):
        assert isinstance(hears(settings, data, 0, header=bytes(20)), Rejection)
    assert isinstance(hears(SIX, data, 0, source=IPv6Address("fe80::1")), Rejection)
