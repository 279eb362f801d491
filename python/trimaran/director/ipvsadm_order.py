"""The order of ipvsadm's listings."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from trimaran.director.ipvs import Address, DestinationRow, Listen, Mark, ServiceRow

Row = TypeVar("Row")


def sorted_services(rows: Sequence[ServiceRow]) -> list[ServiceRow]:
    """By mark, IP version, protocol, address and port."""
    return _sorted(rows, _compare_services)


def sorted_destinations(rows: Sequence[DestinationRow]) -> list[DestinationRow]:
    """By IP version, address and port."""
    return _sorted(rows, _compare_destinations)


def _difference(one: int, other: int) -> int:
    """As ipvsadm has it: in 32 bits, so that addresses far from each other compare the wrong way
    round (10.0.0.1 comes after 192.168.0.1)."""
    return ((one - other + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)


def _compare_addresses(one: Address, other: Address) -> int:
    words = [_difference(a, b) for a, b in zip(_words(one), _words(other), strict=False)]
    return next((difference for difference in words if difference), 0)


def _words(address: Address) -> list[int]:
    packed = address.packed
    return [int.from_bytes(packed[at : at + 4], "big") for at in range(0, len(packed), 4)]


def _compare_services(one: ServiceRow, other: ServiceRow) -> int:
    a, b = one.service.key, other.service.key
    marks = [key.mark if isinstance(key, Mark) else 0 for key in (a, b)]
    if marks[0] != marks[1] or a.version != b.version:
        return _difference(*marks) or a.version - b.version
    if not isinstance(a, Listen) or not isinstance(b, Listen):
        return 0
    return a.protocol - b.protocol or _compare_addresses(a.address, b.address) or a.port - b.port


def _compare_destinations(one: DestinationRow, other: DestinationRow) -> int:
    a, b = one.destination, other.destination
    return (
        a.address.version - b.address.version
        or _compare_addresses(a.address, b.address)
        or a.port - b.port
    )


def _sorted(rows: Sequence[Row], compare: Callable[[Row, Row], int]) -> list[Row]:
    """By halves, as glibc's qsort does: where the order goes in a circle, halves decide."""
    if len(rows) < 2:
        return list(rows)
    half = len(rows) // 2
    first, second = _sorted(rows[:half], compare), _sorted(rows[half:], compare)
    merged: list[Row] = []
    while first and second:
        merged.append(first.pop(0) if compare(first[0], second[0]) <= 0 else second.pop(0))
    return merged + first + second
