"""Sync groups: two virtual routers that are master together or not at all."""

from ipaddress import IPv4Address, IPv4Interface

from trimaran.vrrp.effects import RemoveAddresses, SendAdvert
from trimaran.vrrp.group import Group
from trimaran.vrrp.packet import Advert
from trimaran.vrrp.router import Router
from trimaran.vrrp.settings import RouterSettings
from trimaran.vrrp.table import State

OURS, HIGH = IPv4Address("192.0.2.5"), IPv4Address("192.0.2.9")
DOWN = 3 + 156 / 256


class Pair:
    """An outside and an inside router in one group, driven as a role drives them."""

    def __init__(self) -> None:
        self.out, self.into = (
            Router(
                RouterSettings(name, number, "e", 100, (IPv4Interface(f"192.0.2.{100 + number}"),))
            )
            for number, name in ((1, "out"), (2, "into"))
        )
        self.group = Group("both", [self.out, self.into])
        for router in self.group.members:
            router.set_interface(OURS, "", 0)
            router.start(0)
        self.group.settle(0)

    def run(self, until: float) -> None:
        while True:
            timers = [each.next_timeout() for each in self.group.members]
            due = min((at for at in timers if at is not None), default=None)
            if due is None or due > until:
                return
            for router, at in zip(self.group.members, timers, strict=True):
                if at == due:
                    router.timeout(due)
                    self.group.settle(due)

    def hear(self, router: Router, priority: int, now: float) -> None:
        router.receive(Advert(priority, 100, ()), HIGH, now)
        self.group.settle(now)

    @property
    def states(self) -> tuple[State, State]:
        return self.out.state, self.into.state


def test_they_take_over_together() -> None:
    pair = Pair()
    pair.run(DOWN - 0.01)
    assert pair.states == (State.BACKUP, State.BACKUP)
    pair.run(DOWN + 0.01)
    assert pair.states == (State.MASTER, State.MASTER)


def test_one_waits_while_the_other_hears_a_master() -> None:
    pair = Pair()
    for second in range(1, 8):
        pair.run(second)
        pair.hear(pair.into, 150, second)
        assert pair.states == (State.BACKUP, State.BACKUP)
    pair.run(7 + DOWN + 1.01)
    assert pair.states == (State.MASTER, State.MASTER)


def test_one_that_must_yield_takes_the_other_along() -> None:
    pair = Pair()
    pair.run(5)
    for router in pair.group.members:
        router.take_effects()
    pair.hear(pair.out, 150, 5.1)
    assert pair.states == (State.BACKUP, State.BACKUP)
    assert SendAdvert(0) in pair.into.take_effects()
    assert pair.into.lingering, "whoever takes over there has not been heard yet"
    pair.hear(pair.into, 150, 5.2)
    assert RemoveAddresses() in pair.into.take_effects()


def test_a_fault_of_one_is_a_fault_of_both_and_passes_with_it() -> None:
    pair = Pair()
    pair.run(5)
    for router in pair.group.members:
        router.take_effects()
    pair.out.set_interface(None, "no carrier", 5.1)
    pair.group.settle(5.1)
    assert pair.states == (State.FAULT, State.FAULT)
    assert SendAdvert(0) in pair.into.take_effects()
    assert pair.into.last_transition
    assert pair.into.last_transition[2] == "out of group both: no carrier"
    pair.out.set_interface(OURS, "", 6)
    pair.group.settle(6)
    assert pair.states == (State.BACKUP, State.BACKUP)
    pair.run(6 + DOWN + 0.01)
    assert pair.states == (State.MASTER, State.MASTER)


def test_a_member_that_stops_does_not_hold_the_other() -> None:
    pair = Pair()
    pair.run(5)
    for router in pair.group.members:
        router.stop(5.1)
        pair.group.settle(5.1)
    assert pair.states == (State.RESIGNING, State.RESIGNING)
