"""Settings across the process border: frozen dataclasses to JSON-able data and back."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, _BaseAddress, ip_address, ip_interface
from typing import Any, TypeVar

import msgspec

from trimaran.vrrp.address import Address, Interface

T = TypeVar("T")


def to_plain(settings: object) -> Any:
    """A settings dataclass as JSON-able data (addresses as text, bytes as base64)."""
    return msgspec.to_builtins(settings, enc_hook=str)


def from_plain(kind: type[T], data: Any) -> T:
    """The settings dataclass that `to_plain` made `data` from. Raises msgspec.ValidationError."""
    return msgspec.convert(data, kind, dec_hook=_decode)


_KINDS: dict[Any, Callable[[str], Any]] = {
    IPv4Address: IPv4Address,
    IPv4Interface: IPv4Interface,
    Address: ip_address,
    _BaseAddress: ip_address,
    Interface: ip_interface,
}


def _decode(kind: type[Any], value: Any) -> Any:
    if kind not in _KINDS:
        raise NotImplementedError(f"{kind} does not cross the border")
    return _KINDS[kind](value)
