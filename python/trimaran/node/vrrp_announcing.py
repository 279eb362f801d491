"""Gratuitous ARP and neighbour advertisements of virtual addresses, at the wanted pace."""

from collections import deque
from collections.abc import Callable

from trimaran.node.vrrp_links import Links
from trimaran.system import clock, sysctl
from trimaran.system.announce import Announcer
from trimaran.vrrp.address import Address
from trimaran.vrrp.router import Router

MOST_QUEUED = 100_000  # announcements that wait for their turn in one row
Complain = Callable[[str, str, str], None]  # subject, what was tried, why not


class Announcing:
    """Announcements with an interval wait in a row for each interface, or each `garp_group`."""

    def __init__(self, links: Links, complain: Complain) -> None:
        self._links = links
        self._complain = complain
        self._announcer = Announcer()
        self._rows: dict[str, deque[tuple[Router, str, Address]]] = {}
        self._due: dict[str, float] = {}

    def announce(self, router: Router, repeat: int) -> None:
        """Every address of it, on the interface that carries it, `repeat` times."""
        settings = router.settings
        wanted = [
            (router, device, each.ip)
            for device, addresses in settings.carrying.items()
            for each in addresses
        ] * repeat
        if not settings.garp_interval_s:
            for each in wanted:
                self._send(*each)
            return
        row = settings.garp_group or settings.wire
        self._rows.setdefault(row, deque(maxlen=MOST_QUEUED)).extend(wanted)
        self._due.setdefault(row, clock.now())

    def forget(self, router: Router) -> None:
        """What still waits to be announced is not ours any more."""
        row = router.settings.garp_group or router.settings.wire
        waiting = self._rows.get(row)
        if waiting:
            left = [each for each in waiting if each[0] is not router]
            waiting.clear()
            waiting.extend(left)
            if not left:
                self._due.pop(row, None)

    def next_due(self) -> float | None:
        """When the next one in any row is to go out."""
        return min(self._due.values(), default=None)

    def pump(self, now: float) -> None:
        """Send those that are due."""
        for row, at in list(self._due.items()):
            if at > now:
                continue
            router, device, address = self._rows[row].popleft()
            if self._rows[row]:
                self._due[row] = now + router.settings.garp_interval_s
            else:
                del self._due[row]
            self._send(router, device, address)

    def _send(self, router: Router, device: str, address: Address) -> None:
        link = self._links[device]
        if link is None:
            return
        try:
            forwards = address.version == 6 and _forwards(device)
            self._announcer.announce(device, link.mac, address, forwards)
        except OSError as error:
            self._complain(router.settings.name, "Announce", str(error))


def _forwards(interface: str) -> bool:
    try:
        return sysctl.read(f"net/ipv6/conf/{interface}/forwarding") == "1"
    except OSError:
        return False
