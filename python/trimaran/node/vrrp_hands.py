"""Carries out what virtual routers want done: adverts, addresses, announcements."""

from collections import deque
from collections.abc import Callable, Mapping

from trimaran.node.vrrp_port import Port
from trimaran.system import clock, sysctl
from trimaran.system.announce import Announcer
from trimaran.system.leases import Leases
from trimaran.vrrp.address import Address
from trimaran.vrrp.effects import (
    Announce,
    Effect,
    Event,
    HoldAddresses,
    RemoveAddresses,
    SendAdvert,
)
from trimaran.vrrp.router import Router
from trimaran.vrrp.voice import Voice

MOST_QUEUED = 100_000  # announcements that wait for their turn on one interface


class Hands:
    """`tell(subject, event)` is called for events and for what the kernel refused."""

    def __init__(
        self,
        ports: Mapping[str, Port],
        voices: Mapping[Router, Voice],
        tell: Callable[[str, Event], None],
    ) -> None:
        self._ports = ports
        self._voices = voices
        self._tell = tell
        self._leases = Leases()
        self._announcer = Announcer()
        self._complaints: dict[str, str] = {}
        self._paced: dict[str, deque[tuple[Router, Address]]] = {}
        self._paced_at: dict[str, float] = {}

    def perform(self, router: Router, effect: Effect) -> None:
        """One refusal of the kernel is told, and the next effect is tried: to stop half-way
        would leave more wrong than to go on."""
        settings = router.settings
        port = self._ports[settings.interface]
        try:
            match effect:
                case SendAdvert(priority):
                    self._send(router, port, priority)
                case HoldAddresses(lifetime_s):
                    if port.link is not None:
                        self._leases.hold(port.link.index, settings.carried, lifetime_s)
                case RemoveAddresses():
                    self._unannounce(router)
                    if port.link is not None:
                        self._leases.drop(port.link.index, settings.carried)
                case Announce(repeat):
                    self._announce(router, port, repeat)
                case Event():
                    self._tell(settings.name, effect)
        except OSError as error:
            self._complain(settings.name, type(effect).__name__, str(error))

    def next_due(self) -> float | None:
        """When the next paced announcement is to go out."""
        return min(self._paced_at.values(), default=None)

    def pump(self, now: float) -> None:
        """Send the paced announcements that are due."""
        for interface, at in list(self._paced_at.items()):
            if at > now:
                continue
            router, address = self._paced[interface].popleft()
            if self._paced[interface]:
                self._paced_at[interface] = now + router.settings.garp_interval_s
            else:
                del self._paced_at[interface]
            self._announce_one(router, self._ports[interface], address)

    def _send(self, router: Router, port: Port, priority: int) -> None:
        settings, source = router.settings, router.source
        socket = port.sockets.get(settings.lane)
        if socket is None or source is None:
            return  # in FAULT; a resignation that cannot be sent is not an error
        voice = self._voices[router]
        for message, destination in voice.say(priority, source, clock.time_of_day()):
            try:
                socket.send(message, source, destination, voice.ttl)
            except OSError as error:
                self._complain(settings.name, f"sending to {destination}", str(error))

    def _announce(self, router: Router, port: Port, repeat: int) -> None:
        addresses = [each.ip for each in router.settings.carried] * repeat
        if not router.settings.garp_interval_s:
            for address in addresses:
                self._announce_one(router, port, address)
            return
        queue = self._paced.setdefault(port.interface, deque(maxlen=MOST_QUEUED))
        queue.extend((router, address) for address in addresses)
        self._paced_at.setdefault(port.interface, clock.now())

    def _announce_one(self, router: Router, port: Port, address: Address) -> None:
        if port.link is None:
            return
        try:
            forwards = address.version == 6 and _forwards(port.interface)
            self._announcer.announce(port.interface, port.link.mac, address, forwards)
        except OSError as error:
            self._complain(router.settings.name, "Announce", str(error))

    def _unannounce(self, router: Router) -> None:
        """What still waits to be announced is not ours any more."""
        interface = router.settings.interface
        queue = self._paced.get(interface)
        if queue:
            left = [each for each in queue if each[0] is not router]
            queue.clear()
            queue.extend(left)
            if not left:
                self._paced_at.pop(interface, None)

    def _complain(self, subject: str, action: str, error: str) -> None:
        """The same trouble is told once, not once a second."""
        if self._complaints.get(f"{subject} {action}") != error:
            self._complaints[f"{subject} {action}"] = error
            self._tell(subject, Event("vrrp.warning", f"{subject}: {action} failed", error))


def _forwards(interface: str) -> bool:
    try:
        return sysctl.read(f"net/ipv6/conf/{interface}/forwarding") == "1"
    except OSError:
        return False
