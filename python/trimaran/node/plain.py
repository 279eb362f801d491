"""Settings across the process border: frozen dataclasses to JSON-able data and back."""

from ipaddress import IPv4Address, IPv4Interface, _BaseAddress, ip_address
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def to_plain(settings: object) -> Any:
    """A settings dataclass as JSON-able data (addresses as text, bytes as base64)."""
    return msgspec.to_builtins(settings, enc_hook=str)


def from_plain(kind: type[T], data: Any) -> T:
    """The settings dataclass that `to_plain` made `data` from. Raises msgspec.ValidationError."""
    return msgspec.convert(data, kind, dec_hook=_decode)


def _decode(kind: type[Any], value: Any) -> Any:
    if kind in (IPv4Address, IPv4Interface):
        return kind(value)
    if kind is _BaseAddress:
        return ip_address(value)
    raise NotImplementedError(f"{kind} does not cross the border")
