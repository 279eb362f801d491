"""What a virtual router wants done, in this order. The driver does it; nothing here does."""

from dataclasses import dataclass, field

from trimaran.vrrp.address import Address


@dataclass(frozen=True)
class SendAdvert:
    """Send one advert with this priority (0 resigns)."""

    priority: int


@dataclass(frozen=True)
class HoldAddresses:
    """Carry the virtual addresses for so many seconds from now: adds what is missing and renews
    what is there. The kernel removes them when nobody renews (a killed daemon)."""

    lifetime_s: int


@dataclass(frozen=True)
class RemoveAddresses:
    """Carry the virtual addresses no longer."""


@dataclass(frozen=True)
class Announce:
    """Gratuitous ARP, or an unsolicited neighbour advertisement, for every virtual address,
    `repeat` times back to back."""

    repeat: int


@dataclass(frozen=True)
class Event:
    """Something a human may want to know; `cause` says why, always."""

    name: str
    message: str
    cause: str
    data: dict[str, str | int | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Master:
    """Who was heard advertising last."""

    address: Address
    priority: int


Effect = SendAdvert | HoldAddresses | RemoveAddresses | Announce | Event
