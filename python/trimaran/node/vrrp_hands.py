"""Carries out what virtual routers want done: adverts, addresses and what belongs to them,
announcements."""

from collections.abc import Callable, Mapping

from trimaran.node.vrrp_announcing import Announcing
from trimaran.node.vrrp_links import Links
from trimaran.node.vrrp_port import Port
from trimaran.system import clock
from trimaran.system.belongings import BelongingsKeeper
from trimaran.system.leases import Leases
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


class Hands:
    """`tell(subject, event)` is called for events and for what the kernel refused."""

    def __init__(
        self,
        ports: Mapping[str, Port],
        links: Links,
        voices: Mapping[Router, Voice],
        tell: Callable[[str, Event], None],
    ) -> None:
        self._ports = ports
        self._links = links
        self._voices = voices
        self._tell = tell
        self._leases = Leases()
        self._belongings = BelongingsKeeper()
        self._put: set[Router] = set()  # whose routes and rules are in place
        self._complaints: dict[str, str] = {}
        self.announcing = Announcing(links, self._complain)

    def perform(self, router: Router, effect: Effect) -> None:
        """One refusal of the kernel is told, and the next effect is tried: to stop half-way
        would leave more wrong than to go on."""
        name = router.settings.name
        try:
            match effect:
                case SendAdvert(priority):
                    self._send(router, priority)
                case HoldAddresses(lifetime_s):
                    self._hold(router, lifetime_s)
                case RemoveAddresses():
                    self._remove(router)
                case Announce(repeat):
                    self.announcing.announce(router, repeat)
                case Event():
                    self._tell(name, effect)
        except OSError as error:
            self._complain(name, type(effect).__name__, str(error))

    def _send(self, router: Router, priority: int) -> None:
        settings, source = router.settings, router.source
        socket = self._ports[settings.wire].sockets.get(settings.lane)
        if socket is None or source is None:
            return  # in FAULT; a resignation that cannot be sent is not an error
        voice = self._voices[router]
        for message, destination in voice.say(priority, source, clock.time_of_day()):
            try:
                socket.send(message, source, destination, voice.ttl)
            except OSError as error:
                self._complain(settings.name, f"sending to {destination}", str(error))

    def _hold(self, router: Router, lifetime_s: int) -> None:
        for device, addresses in router.settings.carrying.items():
            link = self._links[device]
            if link is not None:
                self._leases.hold(link.index, addresses, lifetime_s)
        if router not in self._put:  # once: they have no lifetime
            self._put.add(router)
            self._belongings.put(router.settings.belongings)

    def _remove(self, router: Router) -> None:
        self.announcing.forget(router)
        if router in self._put:
            self._put.discard(router)
            try:
                self._belongings.take(router.settings.belongings)
            except OSError as error:
                self._complain(router.settings.name, "removing routes", str(error))
        for device, addresses in router.settings.carrying.items():
            link = self._links[device]
            if link is not None:
                self._leases.drop(link.index, addresses)

    def _complain(self, subject: str, action: str, error: str) -> None:
        """The same trouble is told once, not once a second."""
        if self._complaints.get(f"{subject} {action}") != error:
            self._complaints[f"{subject} {action}"] = error
            self._tell(subject, Event("vrrp.warning", f"{subject}: {action} failed", error))
