"""Words of a classic file to values; what is wrong with them is a RefusedError."""

import re
from collections.abc import Callable
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
)

from trimaran.stack.directives import refuse
from trimaran.stack.nearest import suggestion

_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number within bounds."""

    def convert(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,12}", text):
            refuse(f"takes a whole number from {low} to {high}, not '{text}'")
        number = int(text)
        if not low <= number <= high:
            refuse(f"takes a number from {low} to {high}, not {number}")
        return number

    return convert


def seconds(low: float, high: float) -> Callable[[str], float]:
    """A decimal number of seconds within bounds."""

    def convert(text: str) -> float:
        if not _NUMBER.fullmatch(text):
            refuse(f"takes a number of seconds, not '{text}'")
        number = float(text)
        if not low <= number <= high:
            refuse(f"takes {low:g} to {high:g} seconds, not {number:g}")
        return number

    return convert


def milliseconds(low: float, high: float) -> Callable[[str], float]:
    """A decimal number of milliseconds within bounds, in seconds."""

    def convert(text: str) -> float:
        if not _NUMBER.fullmatch(text):
            refuse(f"takes a number of milliseconds, not '{text}'")
        number = float(text)
        if not low <= number <= high:
            refuse(f"takes {low:g} to {high:g} milliseconds, not {number:g}")
        return number / 1000

    return convert


def choice(allowed: dict[str, str], help_: str = "") -> Callable[[str], str]:
    """One of the words (in any case), as what it stands for."""

    def convert(text: str) -> str:
        found = allowed.get(text.lower())
        if found is None:
            refuse(f"'{text}' is not possible yet", help_ or suggestion(text, allowed))
        return found

    return convert


def address(text: str) -> IPv4Address:
    """An IPv4 address."""
    try:
        return IPv4Address(text)
    except AddressValueError:
        why = "IPv6 is not supported yet" if ":" in text else ""
        refuse(f"'{text}' is not an IPv4 address", why)


def interface_address(text: str) -> IPv4Interface:
    """An IPv4 address, with or without '/length'."""
    try:
        return IPv4Interface(text)
    except ValueError:
        why = "IPv6 is not supported yet" if ":" in text else ""
        refuse(f"'{text}' is not an IPv4 address", why)


def any_address(text: str) -> IPv4Address | IPv6Address:
    """An IP address."""
    try:
        return ip_address(text)
    except ValueError:
        refuse(f"'{text}' is not an IP address")


def any_interface(text: str) -> IPv4Interface | IPv6Interface:
    """An IP address, with or without '/length'."""
    try:
        return ip_interface(text)
    except ValueError:
        refuse(f"'{text}' is not an IP address")


def word(text: str) -> str:
    """Any word."""
    return text


_BOOLEANS = {"on": "yes", "true": "yes", "yes": "yes", "off": "no", "false": "no", "no": "no"}


def boolean(text: str) -> bool:
    """keepalived's words for yes and no."""
    return choice(_BOOLEANS)(text) == "yes"
