"""How fast the backup of a pair has the address after power loss, and how even a master's adverts
are: ours and Debian's keepalived, turn about, on this machine.

    python bench/vrrp/failover.py [--runs 20] [--interval 0.01] [--watch 20] [--busy 0]

Each failover: the master's cable is dead at once and its processes are killed; counted is the
time from then to the backup's first gratuitous ARP, as an observer on the LAN sees it. `--busy`
processes that do nothing but count run beside. Needs root and keepalived.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from ipaddress import ip_interface
from itertools import pairwise
from pathlib import Path
from typing import Protocol

sys.path[:0] = [str(Path(__file__).parents[2] / "tests" / part) for part in ("", "interop")]

import keepalived  # noqa: E402

from lan import Capture, Lan, Role, ip, lan, wait_until  # noqa: E402
from trimaran.vrrp.settings import RouterSettings, VrrpSettings  # noqa: E402

MACHINES = {"a": ("192.0.2.1", 200), "b": ("192.0.2.2", 100)}
VIP = "192.0.2.100"
# keepalived's default of 10 ms real time without a blocking call kills its vrrp process.
REAL_TIME = "vrrp_rt_priority 50\n vrrp_rlimit_rttime 1000000"


_CLASSIC = keepalived.CONFIGURATION


class Member(Protocol):
    """One that stands for the address."""

    def kill(self) -> None: ...


Start = Callable[[str], Member]


def ours(made: Lan, interval_s: float) -> Start:
    """A vrrp role, as the supervisor starts it."""
    router = RouterSettings(
        "front", 51, "ens33", 1, (ip_interface(f"{VIP}/32"),), version=3,
        advert_interval_s=interval_s,
    )  # fmt: skip

    def start(name: str) -> Member:
        settings = VrrpSettings(name, (replace(router, priority=MACHINES[name][1]),))
        role = Role(made, name, "trimaran.node.vrrp_role", settings)
        role.wait_for(kind="ready", within_s=60)
        return role

    return start


def theirs(made: Lan, interval_s: float, directory: Path) -> Start:
    """keepalived's vrrp process, at the same real-time priority."""

    keepalived.CONFIGURATION = _CLASSIC.replace("router_id", f"{REAL_TIME}\n router_id", 1)

    def start(name: str) -> Member:
        for left in directory.glob(f"{name}*.pid"):  # it would believe a zombie's
            left.unlink()
        options = f"version 3\n advert_int {interval_s}\n"
        return keepalived.Keepalived(
            made, name, directory, priority=MACHINES[name][1], address=VIP, options=options
        )

    return start


class Pair:
    """Both machines, and what an observer sees of them."""

    def __init__(self, made: Lan, start: Start) -> None:
        self.lan, self.start = made, start
        self.wire: Capture = made.capture("observer")
        self.members = {name: start(name) for name in MACHINES}
        self.settle()

    def settle(self) -> None:
        """a is master alone, and has been for a while."""
        wait_until("a leads", lambda: self._leads("a") and not self._leads("b"), 30)
        time.sleep(0.5)

    def _leads(self, name: str) -> bool:
        since = time.time() - 0.3
        return any(each.at > since for each in self.wire.adverts(MACHINES[name][0]))

    def failover_ms(self) -> float:
        """One power loss of a; everything is as before in the end."""
        mac = self.lan.mac("b")
        cut_at = time.time()
        self.lan.cut("a", silent=True)
        self.members["a"].kill()

        def taken() -> float | None:
            arps = [each.at for each in self.wire.arps(mac, VIP) if each.at > cut_at]
            return arps[0] if arps else None

        at = float(wait_until("b announces", taken, 30))
        with suppress(RuntimeError):  # a machine without power carries nothing
            ip("-n", self.lan.namespace("a"), "address", "del", f"{VIP}/32", "dev", "ens33")
        self.lan.heal("a")
        self.wire.frames.clear()
        self.members["a"] = self.start("a")
        self.settle()
        return (at - cut_at) * 1000

    def jitter_ms(self, watch_s: float) -> tuple[list[float], int]:
        """The times between a's adverts, and how often b took over though a lived."""
        self.wire.frames.clear()
        time.sleep(watch_s)
        sent = [each.at for each in self.wire.adverts(MACHINES["a"][0])]
        gaps = [(after - before) * 1000 for before, after in pairwise(sent)]
        usurped = [each.at for each in self.wire.adverts(MACHINES["b"][0])]
        false = sum(after - before > 0.1 for before, after in pairwise([0.0, *usurped]))
        return gaps, false


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that do nothing but count."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for each in processes:
            each.kill()
            each.wait()


def measure(name: str, runs: int, interval_s: float, watch_s: float) -> None:
    """One row of the table."""
    with lan() as made, tempfile.TemporaryDirectory() as directory:
        for machine, (address, _) in MACHINES.items():
            made.machine(machine, address)
        made.machine("observer", "192.0.2.3")
        start = (
            ours(made, interval_s)
            if name == "trimaran"
            else theirs(made, interval_s, Path(directory))
        )
        pair = Pair(made, start)
        gaps, false = pair.jitter_ms(watch_s)
        took = sorted(pair.failover_ms() for _ in range(runs))
        for member in pair.members.values():
            member.kill()
    marks = statistics.quantiles(gaps, n=1000)
    print(
        f"{name:10}  {took[0]:7.1f} {statistics.median(took):7.1f} {took[-1]:7.1f}"
        f"   {statistics.median(gaps):7.2f} {marks[989]:7.2f} {marks[998]:7.2f} {max(gaps):7.1f}"
        f"   {false:5}",
        flush=True,
    )


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--interval", type=float, default=0.01)
    parser.add_argument("--watch", type=float, default=20.0)
    parser.add_argument("--busy", type=int, default=0)
    wanted = parser.parse_args()
    print(f"adverts every {wanted.interval * 1000:g} ms, {wanted.busy} busy processes; in ms")
    print(f"{'':10}  {'failover':>23}   {'between adverts':>31}   false")
    print(f"{'':10}  {'least':>7} {'median':>7} {'most':>7}   {'median':>7} {'p99':>7} {'p99.9':>7}"
          f" {'most':>7}   takes")  # fmt: skip
    with busy(wanted.busy):
        for name in ("trimaran", "keepalived"):
            measure(name, wanted.runs, wanted.interval, wanted.watch)


if __name__ == "__main__":
    main()
