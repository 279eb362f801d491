"""What a virtual router tells of its peers' mistakes: each once, not once per advert."""

from collections import Counter

from trimaran.vrrp.address import Address
from trimaran.vrrp.effects import Event
from trimaran.vrrp.packet import Advert, Checksum, Rejection
from trimaran.vrrp.settings import RouterSettings

REJECTION_EVENT_EVERY_S = 60.0


class Grievances:
    """Remembers what was told. Counts in `counters`."""

    def __init__(self, settings: RouterSettings, counters: Counter[str]) -> None:
        self._settings = settings
        self._counters = counters
        self._ours = frozenset(interface.ip for interface in settings.addresses)
        self._told_at: dict[Rejection, float] = {}
        self._addresses: frozenset[Address] = self._ours
        self._interval_cs = settings.interval_cs

    def rejected(self, reason: Rejection, source: Address, now: float) -> Event | None:
        """A datagram that is no advert for us."""
        key = f"rejected_{reason.name.lower()}"
        self._counters[key] += 1
        last = self._told_at.get(reason)
        if last is not None and now - last < REJECTION_EVENT_EVERY_S:
            return None
        self._told_at[reason] = now
        count = self._counters[key]
        name = self._settings.name
        message = f"{name}: advert from {source} dropped ({count} so far)"
        if reason is Rejection.INTERVAL and self._settings.version == 2:
            every = self._settings.interval_cs // 100
            message += f": every member must advertise every {every} s"
        return Event(
            "vrrp.rejected", message, reason.value, {"reason": reason.name, "count": count}
        )

    def accepted(self, advert: Advert, source: Address) -> list[Event]:
        """An advert that is none of ours in some way: told, never a reason to drop it."""
        told = []
        if advert.checksum is not Checksum.PSEUDO_HEADER:
            self._counters[f"checksum_{advert.checksum.name.lower()}"] += 1
        theirs = frozenset(advert.addresses)
        if theirs not in (self._ours, self._addresses):
            listed = ", ".join(map(str, advert.addresses)) or "no addresses"
            message = f"{self._settings.name}: {source} advertises {listed}, unlike this node"
            told.append(Event("vrrp.warning", message, "the members' address lists differ"))
        self._addresses = theirs
        if advert.interval_cs not in (self._settings.interval_cs, self._interval_cs):
            every = f"{advert.interval_cs / 100:g} s"
            message = f"{self._settings.name}: {source} advertises every {every}, unlike this node"
            told.append(Event("vrrp.warning", message, "the members' advert intervals differ"))
        self._interval_cs = advert.interval_cs
        return told
