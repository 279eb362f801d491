"""One simulated machine: a process that may die, sleep or freeze, and a kernel that does not."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

from trimaran.vrrp.group import Group
from trimaran.vrrp.packet import GROUP, TTL, Advert, Datagram, Rejection, decode, encode
from trimaran.vrrp.router import Router
from trimaran.vrrp.settings import RouterSettings
from trimaran.vrrp.table import State

Input = tuple[Callable[..., None], tuple[Any, ...]]


class Election:
    """One virtual router, and what is seen of it from outside."""

    def __init__(self, number: int, lan: int, version: int, interval_s: float) -> None:
        self.number, self.lan, self.version, self.interval_s = number, lan, version, interval_s
        self.vip = IPv4Interface(f"192.0.2.{100 + number}/32")
        self.members: list[Member] = []
        self.client_arp: dict[int, Member] = {}  # by segment: whom the clients there send to
        self.masterships = 0
        # What RFC 3768 and 9568 allow, reckoned here and not by the machine that is on trial.
        self.longest_skew_s = interval_s if version == 3 else 1.0

    def masters(self) -> list["Member"]:
        return [each for each in self.members if each.state is State.MASTER]

    def holders(self) -> list["Member"]:
        """Whose kernel carries the address now."""
        return [each for each in self.members if each.held]

    def down_s(self, priority: int, lost: int = 3) -> float:
        """Master down at that priority."""
        return lost * self.interval_s + (256 - priority) / 256 * self.longest_skew_s


class Member:
    """One machine's part in one election, and what its kernel carries for it."""

    def __init__(
        self, machine: "Machine", election: Election, settings: RouterSettings, segment: int
    ) -> None:
        self.machine, self.election, self.settings = machine, election, settings
        self.segment = segment  # the switch it hangs on
        self.name = f"{machine.number}" if election.lan == 0 else f"{machine.number}'"
        self.address = IPv4Address(f"192.0.2.{machine.number + 1}")
        self.router: Router | None = None
        self.carrier = True
        self.held = False
        self.lease_ends = 0.0
        self.lease_watched = False
        self.armed: float | None = None
        self.spoke_at: float | None = None  # as master, on its own clock
        self.leaving_since: float | None = None
        self.dialect = settings.dialect()
        self._heard: dict[tuple[int, int, int], Advert | Rejection] = {}

    def __repr__(self) -> str:
        return self.name

    @property
    def state(self) -> State:
        return self.router.state if self.router else State.STOPPED

    def message(self, priority: int) -> bytes:
        """The bytes of its advert."""
        advert = Advert(priority, self.settings.interval_cs, (self.election.vip.ip,))
        return encode(advert, self.dialect, self.address, GROUP)

    def understand(
        self, sender: "Member", priority: int, flip: tuple[int, int] | None
    ) -> Advert | Rejection:
        """What the codec makes of the sender's advert, one byte of which may be damaged on the
        way. (Remembered where it is not: the codec is pure, and it is half of the work.)"""
        key = sender.machine.number, sender.election.number, priority
        if flip is None and key in self._heard:
            return self._heard[key]
        message = sender.message(priority)
        if flip is not None:
            at = flip[0] % len(message)
            message = message[:at] + bytes([message[at] ^ flip[1]]) + message[at + 1 :]
        told = decode(Datagram(sender.address, GROUP, TTL, message), self.dialect)
        if flip is None:
            self._heard[key] = told
        return told


class Machine:
    """A node. `drift` is how fast its clock runs, `epoch` where that began."""

    def __init__(self, number: int, drift: float, epoch: float) -> None:
        self.number, self.drift, self.epoch = number, drift, epoch
        self.members: list[Member] = []
        self.group: Group | None = None
        self.awake = True
        self.reading = False  # what waited while it slept; it has not looked at its clock yet
        self.frozen_since: float | None = None
        self.waiting: list[Input] = []  # what a sleeping process has not seen yet

    @property
    def running(self) -> bool:
        return any(member.router for member in self.members)

    def clock(self, now: float) -> float:
        """Its own monotonic clock, which stands still while a hypervisor has it frozen."""
        return self.epoch + (now if self.frozen_since is None else self.frozen_since) * self.drift

    def due(self, at: float) -> float:
        """When its clock will show `at`."""
        return (at - self.epoch) / self.drift

    def begin(self, now: float) -> None:
        """Make the process's routers. Each may find what a killed one left behind."""
        self.awake, self.waiting = True, []
        for member in self.members:
            member.router, member.armed = Router(member.settings), None
        if len(self.members) > 1:
            self.group = Group("both", self.routers())
        for member in self.members:
            router = member.router
            assert router is not None
            source = member.address if member.carrier else None
            router.set_interface(source, "no carrier", self.clock(now))
            for track in member.settings.tracks:
                router.set_track(track, True, "well", self.clock(now))
        for member in self.members:
            assert member.router is not None
            member.router.start(self.clock(now), member.held)

    def routers(self) -> list[Router]:
        return [member.router for member in self.members if member.router]

    def end(self) -> None:
        """The process is no more."""
        self.group, self.waiting = None, []
        for member in self.members:
            member.router = member.spoke_at = member.armed = member.leaving_since = None
