"""Make before break: whatever the reason, who leaves on purpose holds the address until its
successor has spoken. Looked at from outside."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path

import pytest

from lan import Capture, Lan, Role, lan, wait_until
from trimaran.vrrp.settings import RouterSettings, Track, VrrpSettings, WatchSettings

A, B, VIP = "192.0.2.1", "192.0.2.2", "192.0.2.100"
ROUTER = RouterSettings(
    "front", 10, "ens33", 200, (ip_interface(f"{VIP}/32"),), version=3, advert_interval_s=0.2
)


class Pair:
    """Machine a is master, b (priority 150) its backup; a file in `directory` is tracked by a."""

    def __init__(self, made: Lan, directory: Path, weight: int) -> None:
        self.lan, self.file = made, directory / "load"
        made.machine("a", A)
        made.machine("b", B)
        made.machine("observer", "192.0.2.3")
        self.wire: Capture = made.capture("observer")
        watch = WatchSettings("load", "file", (str(self.file),), interval_s=0.05)
        tracked = replace(ROUTER, tracks=(Track("watch", "load", weight),))
        self.file.write_text("0")
        self.a = self._start("a", tracked, (watch,))
        wait_until("a holds it", lambda: made.holds("a", VIP))
        self.b = self._start("b", replace(ROUTER, priority=150), ())
        self.b.wait_for(kind="ready")
        wait_until("b heard a", lambda: self.b.status()["routers"][0]["master"])

    def _start(self, name: str, router: RouterSettings, watches: tuple[WatchSettings, ...]) -> Role:
        settings = VrrpSettings(name, (router,), watches=watches)
        return Role(self.lan, name, "trimaran.node.vrrp_role", settings)

    def close(self) -> None:
        self.a.close()
        self.b.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[int], Pair]]:
    with lan() as made:
        pairs: list[Pair] = []

        def make(weight: int) -> Pair:
            pairs.append(Pair(made, tmp_path, weight))
            return pairs[0]

        yield make
        for pair in pairs:
            pair.close()


def _stop(pair: Pair) -> None:
    pair.a.stop()


def _tier(pair: Pair) -> None:
    pair.a.channel.send({"kind": "tier", "tier": "director", "well": False, "cause": "no hook"})


def _track(pair: Pair) -> None:
    pair.file.write_text("1")


def _held_until_heard(pair: Pair, old: str, successor: str, since: float) -> None:
    """The old one lets go only after the successor's advert was on the wire."""
    wait_until(f"{old} lets go", lambda: not pair.lan.holds(old, VIP))
    gone_at = time.time()
    heard = wait_until(
        "the successor's advert",
        lambda: [each.at for each in pair.wire.adverts(successor) if each.at > since],
    )
    assert heard[0] < gone_at


@pytest.mark.parametrize(
    ("leave", "weight"),
    [(_stop, 0), (_tier, 0), (_track, 0), (_track, -100)],
    ids=["stop", "data plane", "fault", "lower priority"],
)
def test_who_leaves_holds_it_until_the_successor_has_spoken(
    make: Callable[[int], Pair], leave: Callable[[Pair], None], weight: int
) -> None:
    pair = make(weight)
    left_at = time.time()
    leave(pair)
    _held_until_heard(pair, "a", B, left_at)
    wait_until("b holds it", lambda: pair.lan.holds("b", VIP))
    if leave is not _track:
        return
    event = pair.a.wait_for(kind="event", message="front: MASTER → " + (
        "FAULT" if weight == 0 else "BACKUP"))  # fmt: skip
    assert "load" in event["cause"] or "priority 150, ours is 100" in event["cause"]
    healed_at = time.time()
    pair.file.write_text("0")  # a preempts
    _held_until_heard(pair, "b", A, healed_at)
    wait_until("a holds it again", lambda: pair.lan.holds("a", VIP))


def test_a_fault_without_a_successor_lets_go_in_the_end(make: Callable[[int], Pair]) -> None:
    pair = make(0)
    pair.b.kill()
    pair.file.write_text("1")
    pair.a.wait_for(kind="event", message="front: MASTER → FAULT")
    assert pair.a.status()["routers"][0]["state"] == "FAULT"
    wait_until("the address is gone", lambda: not pair.lan.holds("a", VIP))
    assert not pair.a.status()["routers"][0]["lingering"]
