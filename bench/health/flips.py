"""How long a flip takes from being known to being in the eBPF tables, beside many real servers.

    sudo python bench/health/flips.py [--servers 2000] [--flips 60]

A director's process of its own in a network namespace, that probes as many servers by TCP every 3 s
and looks at its machine as ever. A flip is a number in a file; known is when the director tells of
it, in the tables is when the last map was written. Prints the median, the 99th percentile and the
longest.
"""

import argparse
import asyncio
import multiprocessing
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterable
from ipaddress import IPv4Address
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from checks import serve

from trimaran.director.overlay import Overlay
from trimaran.director.plan import SetReal, Step
from trimaran.director.settings import DirectorSettings, RealServerSettings, ServiceSettings
from trimaran.health.settings import CheckSettings, FileProbe, Target, TcpProbe
from trimaran.node.channel import Channel
from trimaran.node.director_role import DirectorRole
from trimaran.system import bpffs, clock, namespaces
from trimaran.system.datapath import Director

PROBED, REAL = IPv4Address("127.1.0.1"), IPv4Address("198.18.0.1")  # RFC 2544's, for benches
FEW_S = 0.5


def a_network(servers: int) -> None:
    """An ens33 whose neighbours are known, in the namespace that this process is in."""
    for words in ("link set lo up", "link add ens33 type veth peer name servers",
                  "link set ens33 up", "link set servers up",
                  "address add 198.19.255.254/15 dev ens33"):  # fmt: skip
        subprocess.run(["ip", *words.split()], check=True)
    # Permanent neighbours: what is measured is the director, not ARP.
    batch = "".join(
        f"neighbour add {REAL + n} lladdr 02:00:00:00:{n >> 8:02x}:{n & 255:02x} dev ens33\n"
        for n in range(servers)
    )
    subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)


class Watch:
    """When each flip was known, and when it was in the tables."""

    def __init__(self) -> None:
        self.known: dict[str, float] = {}
        self.took: list[float] = []

    def event(self, name: str, subject: str, *_rest: Any) -> None:
        if name.startswith("director.real_server_"):
            self.known[subject] = clock.now()

    def applied(self, steps: list[Step]) -> None:
        now = clock.now()
        for step in steps:
            if isinstance(step, SetReal) and (known := self.known.pop(str(step.real.address), 0)):
                self.took.append(now - known)


class WatchedDirector(Director):
    """Tells when steps were carried out."""

    watch: Watch

    def apply(self, steps: Iterable[Step]) -> None:
        """As ever."""
        steps = list(steps)
        super().apply(steps)
        self.watch.applied(steps)


async def measure(settings: DirectorSettings, files: list[Path], watch: Watch) -> None:
    """Run the role's own loops and flip one server after another."""
    ours, theirs = Channel.pair()
    role = DirectorRole(Channel(theirs), settings, Overlay())
    role._health._event = watch.event
    running = asyncio.create_task(role.run())
    loop = asyncio.get_running_loop()
    loop.add_reader(ours.fileno(), ours.receive)
    await asyncio.sleep(4)  # a whole round of probes
    for file in files:
        fresh = file.with_suffix(".new")
        fresh.write_text("9")
        fresh.rename(file)
        before = len(watch.took)
        while len(watch.took) == before:  # noqa: ASYNC110 - a thread fills it
            await asyncio.sleep(0.02)
    role._stopping.set()
    await running
    loop.remove_reader(ours.fileno())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--servers", type=int, default=2000)
    parser.add_argument("--flips", type=int, default=60)
    given = parser.parse_args()
    namespace = f"trimaran-bench-{os.getpid()}"
    namespaces.create(namespace)
    namespaces.enter(namespace)
    try:
        run(given.servers, given.flips)
    finally:
        namespaces.delete(namespace)


def run(count: int, flips: int) -> None:
    """The whole bench, in a namespace of its own."""
    a_network(count)
    pins = bpffs.MOUNT_POINT / f"trimaran-bench-{os.getpid()}" / "director"
    watch = WatchedDirector.watch = Watch()
    import trimaran.system.director_machine as machine

    machine.Director = WatchedDirector  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as place, socket.create_server(("0.0.0.0", 0)) as listener:
        port = listener.getsockname()[1]
        server = multiprocessing.Process(target=serve, args=(listener,), daemon=True)
        server.start()
        files = [Path(place) / str(n) for n in range(flips)]
        for file in files:
            file.write_text("0")
        reals = []
        for n in range(count):
            tcp = CheckSettings(Target(PROBED + n, port), 3.0, 3.0, 1, 1.0, 1, TcpProbe())
            checks = {"tcp": tcp}
            if n < flips:
                probe = FileProbe(str(files[n]))
                checks["file"] = CheckSettings(Target(REAL + n, 80), FEW_S, 3.0, 0, 1.0, 1, probe)
            address = REAL + n
            reals.append(RealServerSettings(str(address), address, 80, 1, checks))
        service = ServiceSettings("web", IPv4Address("198.19.0.1"), 80, "tcp", "wrr", tuple(reals))
        settings = DirectorSettings("bench", "ens33", str(pins), (service,))
        asyncio.run(measure(settings, files, watch))
        server.terminate()
    took = sorted(each * 1000 for each in watch.took)
    print(f"servers {count}, flips {len(took)}")
    p99 = quantiles(took, n=100)[98]
    times = f"median {median(took):.1f} ms, p99 {p99:.1f} ms, longest {took[-1]:.1f} ms"
    print(f"known → in the tables: {times}")


if __name__ == "__main__":
    main()
