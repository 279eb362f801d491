"""A dialogue with one virtual router: what the world says, and what it must answer."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface

from playbook import Playbook
from trimaran.vrrp.effects import Announce, Event, HoldAddresses, SendAdvert
from trimaran.vrrp.packet import Advert
from trimaran.vrrp.router import Router
from trimaran.vrrp.settings import RouterSettings

LOW, OURS, HIGH = (IPv4Address(f"192.0.2.{last}") for last in (1, 5, 9))
VIP = IPv4Interface("192.0.2.100/32")
SETTINGS = RouterSettings("front", 10, "ens33", 100, (VIP,))
SKEW = 156 / 256
DOWN = 3 + SKEW
HOLD = HoldAddresses(5)  # 3.61 s rounded up, and one more


class Dialogue(Playbook):
    machine: Router

    def __init__(self, ignore: tuple[type, ...] = (Event,), **changes: object) -> None:
        settings = replace(SETTINGS, **changes)  # type: ignore[arg-type]
        super().__init__(Router(settings), ignore)

    def start(self) -> "Dialogue":
        self.tell(0, "interface up", lambda now: self.machine.set_interface(OURS, "", now))
        self.tell(0, "start", self.machine.start)
        return self

    def start_silently(self) -> "Dialogue":
        """Started; what it said about that is not looked at."""
        self.machine.set_interface(OURS, "", 0)
        self.machine.start(0)
        self.machine.take_effects()
        return self

    def master(self) -> "Dialogue":
        """Started, and master since DOWN; the next advert is due at DOWN + 1."""
        self.start()
        self.wait(self.machine.master_down_s, SendAdvert(self.machine.settings.priority), HOLD,
                  Announce(5))  # fmt: skip
        return self

    def hears(
        self,
        at: float,
        priority: int,
        *answer: object,
        source: IPv4Address = HIGH,
        addresses: tuple[IPv4Address, ...] = (VIP.ip,),
        interval_cs: int = 100,
    ) -> None:
        advert = Advert(priority, interval_cs, addresses)
        self.tell(
            at,
            f"priority {priority} from {source}",
            lambda now: self.machine.receive(advert, source, now),
            *answer,
        )

    def last_cause(self) -> str:
        assert self.machine.last_transition
        return self.machine.last_transition[2]
