"""Scripts, files, processes and other interfaces that a virtual router tracks, end to end: the
vrrp process alone, and what the kernel and the wire show of it."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import pytest

from lan import Lan, Role, ip, lan, wait_until
from trimaran.vrrp.settings import LinkDelay, RouterSettings, Track, VrrpSettings, WatchSettings

A, VIP = "192.0.2.1", "192.0.2.100"
ROUTER = RouterSettings(
    "front", 10, "ens33", 200, (IPv4Interface(f"{VIP}/32"),), version=3, advert_interval_s=0.1
)


class Rig:
    def __init__(self, made: Lan) -> None:
        self.lan = made
        made.machine("a", A)
        made.machine("observer", "192.0.2.3")
        self.wire = made.capture("observer")
        self.role: Role | None = None

    def ip(self, *words: str) -> str:
        return ip("-n", self.lan.namespace("a"), *words)

    def start(self, *tracks: Track, **others: Any) -> Role:
        router = replace(ROUTER, tracks=tracks)
        self.role = Role(self.lan, "a", "trimaran.node.vrrp_role",
                         VrrpSettings("a", (router,), **others))  # fmt: skip
        return self.role

    def wait_holds(self) -> None:
        wait_until("it holds the address", lambda: self.lan.holds("a", VIP), 30)

    def wait_free(self) -> None:
        wait_until("it holds it no more", lambda: not self.lan.holds("a", VIP), 30)

    def wait_priority(self, priority: int) -> None:
        def last() -> bool:
            adverts = self.wire.adverts(A)
            return bool(adverts) and adverts[-1].data[36] == priority

        wait_until(f"adverts of priority {priority}", last, 30)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with lan() as made:
        rig = Rig(made)
        yield rig
        if rig.role is not None:
            rig.role.close()


def test_a_script_with_rise_and_fall(rig: Rig, tmp_path: Path) -> None:
    good, count = tmp_path / "good", tmp_path / "count"
    good.touch()
    script = f"echo x >>{count}; test -e {good}"
    watch = WatchSettings("up", "script", ("/bin/sh", "-c", script), 0.1, 5.0, rise=2, fall=3)
    role = rig.start(Track("watch", "up"), watches=(watch,))
    rig.wait_holds()
    runs = len(count.read_text().splitlines())
    good.unlink()
    rig.wait_free()
    assert len(count.read_text().splitlines()) >= runs + 3, "three failures are needed"
    event = role.wait_for(kind="event", message="front: MASTER → FAULT")
    assert event["cause"] == "up: it exited with 1"
    assert rig.wire.adverts(A, 0)
    good.touch()
    rig.wait_holds()


def test_a_script_that_hangs_is_ended_and_counts_as_failing(rig: Rig) -> None:
    watch = WatchSettings("up", "script", ("/bin/sleep", "1000"), 0.2, 0.3)
    role = rig.start(Track("watch", "up", -50), watches=(watch,))
    rig.wait_priority(150)
    event = role.wait_for(kind="event", name="vrrp.priority")
    assert event["cause"] == "up: it took longer than 0.3 s"


def test_a_script_that_must_be_well_first(rig: Rig, tmp_path: Path) -> None:
    good = tmp_path / "good"
    watch = WatchSettings(
        "up", "script", ("/bin/test", "-e", str(good)), 0.1, 5.0, rise=2, init_fail=True
    )
    role = rig.start(Track("watch", "up"), watches=(watch,))
    role.wait_for(kind="event", message="front: STOPPED → FAULT")
    good.touch()
    rig.wait_holds()


def test_a_files_number_is_weighed(rig: Rig, tmp_path: Path) -> None:
    file = tmp_path / "load"
    watch = WatchSettings("load", "file", (str(file),), 0.1)
    rig.start(Track("watch", "load", -2), watches=(watch,))
    rig.wait_priority(200)
    file.write_text("30\n")
    rig.wait_priority(140)
    file.write_text("nonsense\n")
    file.write_text("-10\n")
    rig.wait_priority(220)
    file.unlink()
    rig.wait_priority(200)


def test_a_process_and_its_end(rig: Rig) -> None:
    program = "import time; time.sleep(1000)"
    command = (sys.executable, "-c", program, "trimaran-tracked")
    watch = WatchSettings("p", "process", command, 0.2, match="exact", quorum=2)
    role = rig.start(Track("watch", "p"), watches=(watch,))
    first = rig.lan.run("a", *command)
    second = rig.lan.run("a", *command)
    rig.lan.run("a", *command, "another argument: another process")
    rig.wait_holds()
    first.kill()
    first.wait()
    rig.wait_free()
    event = role.wait_for(kind="event", message="front: MASTER → FAULT")
    assert event["cause"] == "p: 1 of 2 run"
    rig.lan.run("a", *command)
    rig.wait_holds()
    second.kill()
    second.wait()
    rig.wait_free()


def test_a_foreign_interface_with_and_without_delay(rig: Rig) -> None:
    for name in ("eth8", "eth9"):
        rig.ip("link", "add", name, "type", "veth", "peer", "name", f"{name}p")
        for end in (name, f"{name}p"):
            rig.ip("link", "set", end, "up")
    role = rig.start(
        Track("interface", "eth8"), Track("interface", "eth9", -20),
        delays=(LinkDelay("eth8", down_s=1000.0),),
    )  # fmt: skip
    rig.wait_holds()
    rig.ip("link", "set", "eth9p", "down")
    rig.wait_priority(180)
    rig.ip("link", "set", "eth8p", "down")  # not for long enough
    rig.ip("link", "set", "eth9p", "up")
    rig.wait_priority(200)
    assert rig.lan.holds("a", VIP)
    assert role.events("vrrp.transition")[-1]["data"]["to"] == "MASTER"
    rig.ip("link", "del", "eth9")
    rig.wait_priority(180)
