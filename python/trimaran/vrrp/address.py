"""An IP address of either family."""

from abc import ABCMeta
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Address = IPv4Address | IPv6Address
    Interface = IPv4Interface | IPv6Interface
else:  # msgspec, which carries settings across the border, knows no union of two such classes

    class Address(metaclass=ABCMeta):  # noqa: B024 -- a name for isinstance
        """IPv4 or IPv6."""

    class Interface(metaclass=ABCMeta):  # noqa: B024
        """IPv4 or IPv6, with a prefix length."""

    for kind in (IPv4Address, IPv6Address):
        Address.register(kind)
    for kind in (IPv4Interface, IPv6Interface):
        Interface.register(kind)
