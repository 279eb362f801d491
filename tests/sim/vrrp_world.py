"""Virtual routers, their kernels and a client on one simulated LAN, all from one seed.

The routers are the real ones, the adverts real bytes. Simulated are time, the wire (loss, delay,
duplication, one-way cuts), clocks that run fast or slow, processes that crash or sleep, and the
kernel's side of it: an address lives until its lease ends, whoever put it there.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface

from trimaran.vrrp.effects import (
    Announce,
    Effect,
    Event,
    HoldAddresses,
    RemoveAddresses,
    SendAdvert,
)
from trimaran.vrrp.packet import GROUP, TTL, Advert, Datagram, Rejection, decode, encode
from trimaran.vrrp.router import Router
from trimaran.vrrp.settings import RouterSettings
from trimaran.vrrp.table import State

VIP = IPv4Interface("192.0.2.100/32")
CLIENT = -1
HOLDS = (State.MASTER, State.RESIGNING)


@dataclass
class Wire:
    """How bad the LAN is. Delays in seconds; `cuts` are (from, to) pairs that hear nothing."""

    loss: float = 0.0
    duplication: float = 0.0
    delay: tuple[float, float] = (0.0001, 0.002)
    cuts: set[tuple[int, int]] = field(default_factory=set)
    corruption: float = 0.0


class Node:
    """One machine: a process that may die or sleep, a kernel that does not."""

    def __init__(self, number: int, settings: RouterSettings, drift: float, epoch: float) -> None:
        self.number, self.settings = number, settings
        self.address = IPv4Address(f"192.0.2.{number + 1}")
        self.drift, self.epoch = drift, epoch
        self.router: Router | None = None
        self.awake = True
        self.waiting: list[Callable[[], None]] = []  # what a sleeping process has not seen yet
        self.lease_ends = 0.0
        self.spoke_at: float | None = None  # as master, on its own clock

    def clock(self, now: float) -> float:
        """The node's own monotonic clock."""
        return self.epoch + now * self.drift

    @property
    def state(self) -> State:
        return self.router.state if self.router else State.STOPPED


class World:
    """Runs everything; `check` is called after every step."""

    def __init__(self, seed: int, priorities: tuple[int, ...], **changes: object) -> None:
        self.random = random.Random(seed)
        self.wire = Wire()
        self.now = 0.0
        self.check: Callable[[], None] = lambda: None
        self.history: list[str] = []
        self.masterships = 0
        self.adverts = 0
        self.rejected = 0
        self.client_arp: int | None = None
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.nodes = []
        for number, priority in enumerate(priorities):
            settings = RouterSettings("front", 10, "ens33", priority, (VIP,), **changes)  # type: ignore[arg-type]
            drift, epoch = self.random.uniform(0.998, 1.002), self.random.uniform(0, 1e6)
            self.nodes.append(Node(number, settings, drift, epoch))

    # -- what a scenario does

    def start(self, node: Node) -> None:
        """Start the process, which may find what a killed one left behind."""
        if node.router is not None:
            return
        self._note(f"start {node.number}")
        node.router, node.awake, node.waiting = Router(node.settings), True, []
        node.router.set_interface(node.address, "", node.clock(self.now))
        node.router.start(node.clock(self.now), node.lease_ends > self.now)
        self._act(node)

    def crash(self, node: Node) -> None:
        """kill -9: the address stays until its lease ends."""
        self._note(f"crash {node.number}")
        node.router = node.spoke_at = None

    def stop(self, node: Node) -> None:
        """Told to stop gracefully."""
        self._note(f"stop {node.number}")
        self._give(node, lambda router: router.stop(node.clock(self.now)))

    def sleep(self, node: Node) -> None:
        """The process is not scheduled any more."""
        self._note(f"sleep {node.number}")
        node.awake = False

    def wake(self, node: Node) -> None:
        """It is scheduled again: it reads what waited, then looks at its timers."""
        if node.awake:
            return
        self._note(f"wake {node.number}")
        node.awake = True
        waiting, node.waiting = node.waiting, []
        for receive in waiting:
            receive()
        self._give(node, lambda router: router.timeout(node.clock(self.now)))

    def cut_carrier(self, node: Node, cut: bool) -> None:
        """The interface loses its carrier, or gets it back."""
        self._note(f"{'cut' if cut else 'heal'} {node.number}")
        source = None if cut else node.address
        self._give(
            node,
            lambda router: router.set_interface(source, "no carrier", node.clock(self.now)),
        )

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, step = heapq.heappop(self._queue)
            step()
            self.check()
        self.now = end
        self.check()

    def at(self, when: float, step: Callable[[], None]) -> None:
        """Do `step` then."""
        heapq.heappush(self._queue, (when, next(self._order), step))

    # -- what can be seen

    def masters(self) -> list[int]:
        return [node.number for node in self.nodes if node.state is State.MASTER]

    def holders(self) -> list[int]:
        """Whose kernel carries the address now."""
        return [node.number for node in self.nodes if node.lease_ends > self.now]

    # -- how it works

    def _give(self, node: Node, what: Callable[[Router], None]) -> None:
        def give() -> None:
            if node.router is not None:
                what(node.router)
                self._act(node)

        if node.awake:
            give()
        else:
            node.waiting.append(give)

    def _act(self, node: Node) -> None:
        assert node.router is not None
        for effect in node.router.take_effects():
            self._perform(node, effect)
        if node.router.state is State.STOPPED:
            node.router = None
        self._arm(node)

    def _arm(self, node: Node) -> None:
        router = node.router
        due = router.next_timeout() if router else None
        if due is None:
            return

        def fire() -> None:
            now = node.clock(self.now)
            if node.router is router and router and node.awake and router.next_timeout() == due:
                router.timeout(max(now, due))
                self._act(node)

        self.at(max(self.now, (due - node.epoch) / node.drift), fire)

    def _perform(self, node: Node, effect: Effect) -> None:
        match effect:
            case SendAdvert(priority):
                self.adverts += 1
                self._spoken(node, priority)
                advert = Advert(priority, node.settings.interval_cs, (VIP.ip,))
                for other in self.nodes:
                    if other is not node:
                        self._transmit(node, other.number, self._arrival(node, other, advert))
            case HoldAddresses(lifetime_s):
                node.lease_ends = self.now + lifetime_s
            case RemoveAddresses():
                node.lease_ends = 0.0
                node.spoke_at = None
            case Announce(repeat):
                for _ in range(repeat):
                    self._transmit(node, CLIENT, lambda: self._hear_arp(node.number))
            case Event(name="vrrp.transition"):
                self.masterships += effect.data["to"] == "MASTER"
                self._note(f"{node.number} {effect.message} ({effect.cause})")

    def _arrival(self, sender: Node, to: Node, advert: Advert) -> Callable[[], None]:
        dialect = sender.settings.dialect()
        message = encode(advert, dialect, sender.address, GROUP)
        if self.random.random() < self.wire.corruption:
            at = self.random.randrange(len(message))
            flipped = message[at] ^ self.random.randrange(1, 256)
            message = message[:at] + bytes([flipped]) + message[at + 1 :]
        datagram = Datagram(sender.address, GROUP, TTL, message)

        def arrive() -> None:
            told = decode(datagram, to.settings.dialect())
            if isinstance(told, Advert):
                hear = lambda router: router.receive(told, sender.address, to.clock(self.now))  # noqa: E731
            else:
                hear = lambda router: self._reject(router, told, sender, to)  # noqa: E731
            self._give(to, hear)

        return arrive

    def _reject(self, router: Router, reason: Rejection, sender: Node, to: Node) -> None:
        """Invariant: a rejected packet moves no timer and changes no state."""
        before = router.state, router.next_timeout(), router.master
        router.reject(reason, sender.address, to.clock(self.now))
        after = router.state, router.next_timeout(), router.master
        assert before == after, f"{reason} turned {before} into {after}"
        self.rejected += 1

    def _spoken(self, node: Node, priority: int) -> None:
        """Invariant: a master that was silent for master down does not speak as master."""
        assert node.router is not None
        now = node.clock(self.now)
        lost = node.settings.down_adverts * node.settings.advert_interval_s
        if node.spoke_at is not None and priority and node.router.state is State.MASTER:
            silent = now - node.spoke_at
            unit = node.settings.advert_interval_s if node.settings.version == 3 else 1.0
            bound = lost + unit  # the longest skew
            assert silent < bound, f"{node.number} speaks as master after {silent:.2f} s"
        node.spoke_at = now if node.router.state is State.MASTER and priority else None

    def _hear_arp(self, number: int) -> None:
        self.client_arp = number

    def _transmit(self, sender: Node, to: int, arrive: Callable[[], None]) -> None:
        wire = self.wire
        if (sender.number, to) in wire.cuts or self.random.random() < wire.loss:
            return
        copies = 2 if self.random.random() < wire.duplication else 1
        for _ in range(copies):
            self.at(self.now + self.random.uniform(*wire.delay), arrive)

    def _note(self, what: str) -> None:
        self.history.append(f"{self.now:10.3f} {what}")
