"""What the probes found is in the tables before anything slower is done."""

import asyncio
import threading
from collections.abc import Set
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from trimaran.director.overlay import Overlay
from trimaran.director.plan import RealKey, key_of
from trimaran.director.settings import DirectorSettings, RealServerSettings, ServiceSettings
from trimaran.health.settings import CheckSettings, FileProbe, Target
from trimaran.node.channel import Channel
from trimaran.node.director_role import DirectorRole
from trimaran.system.director_condition import Condition

LONG_S = 30.0


class StuckMachine:
    """Tables that can be written, and a machine that takes for ever to be looked at."""

    def __init__(self) -> None:
        self.down: Set[RealKey] = frozenset()
        self.looks = 0
        self.released = threading.Event()

    def follow(self, services: tuple[ServiceSettings, ...], down: Set[RealKey]) -> None:
        self.down = down

    def look(self) -> Condition:
        self.looks += 1
        self.released.wait(LONG_S)
        return Condition(True, "", "")

    def sync_status(self) -> dict[str, Any] | None:
        return None


def test_a_flip_is_in_the_tables_while_the_machine_is_still_looked_at(tmp_path: Path) -> None:
    well = tmp_path / "well"
    well.write_text("0")
    check = CheckSettings(
        Target(IPv4Address("127.0.0.1"), 80), 0.02, 5.0, 0, 0.02, 1, FileProbe(str(well))
    )
    real = RealServerSettings("a", IPv4Address("192.0.2.11"), 80, 1, {"file": check})
    service = ServiceSettings("web", IPv4Address("192.0.2.100"), 80, "tcp", "rr", (real,))
    settings = DirectorSettings("director", "ens33", "/nowhere", (service,))

    async def until(condition: Any, what: str) -> None:
        async with asyncio.timeout(LONG_S):
            while not condition():  # noqa: ASYNC110 - a thread sets no asyncio event
                await asyncio.sleep(0.005)
        assert condition(), what

    async def main() -> None:
        ours, theirs = Channel.pair()
        machine = StuckMachine()
        channel = Channel(theirs)
        role = DirectorRole(channel, settings, Overlay())
        role._machine = machine  # type: ignore[assignment]
        role._health.begin(set())
        works = role._health.probe(), role._follow(), role._keep()
        tasks = [asyncio.create_task(work) for work in works]
        try:
            await until(lambda: machine.looks == 1, "it is looked at")
            for text, down in (("9", {key_of(service, real)}), ("0", set[RealKey]())):
                well.with_suffix(".new").write_text(text)
                well.with_suffix(".new").rename(well)
                await until(lambda down=down: machine.down == down, "the tables followed")
                assert machine.looks == 1 and not machine.released.is_set()
        finally:
            machine.released.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            ours.close()
            channel.close()

    asyncio.run(main())
