"""The director's process: `python -m trimaran.node.director_role`.

Probes and netlink news come in, the kernel's tables follow. Forwarding itself is the kernel's: a
crash of this process interrupts no flow, and the next one adopts what is pinned.
"""

import asyncio
import select
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from typing import Any, TypeVar

from trimaran.director.explain import service_of, words
from trimaran.director.overlay import Overlay, server_place
from trimaran.director.packet import Question
from trimaran.director.plan import RealKey, key_of
from trimaran.director.reasons import EXPLAINED, NOTICES
from trimaran.director.settings import DirectorSettings, RealServerSettings, ServiceSettings
from trimaran.node.channel import Channel, ChannelClosedError, Message
from trimaran.node.director_changes import Asked, DirectorChanges
from trimaran.node.director_health import DirectorHealth, with_sorry
from trimaran.node.plain import from_plain, to_plain
from trimaran.system import clock, neighbours
from trimaran.system.datapath import NOTHING, Traffic
from trimaran.system.director_condition import Condition, Figures, Machine
from trimaran.system.director_machine import DirectorMachine
from trimaran.system.errors import CannotRunError
from trimaran.system.ipvs_machine import IpvsMachine

PERIOD_S = 1.0  # of looking whether everything is in its place, news or none
MOST_CONNECTIONS = 10_000  # that are told one by one
CATCH_UP_LOOK_S = 0.01
RESOLVE_S = 1.0  # how long the start waits for the real servers' MACs

FORWARDS = {"dr": "Route", "tunnel": "Tunnel", "nat": "Masq"}  # as ipvsadm has them

T = TypeVar("T")


class DirectorRole:
    """Lives in one event loop; what touches the kernel runs in other threads, so that a probe is
    never late because of it: in one, in order, all that takes its time; in another the tables, so
    that what the probes found is there at once."""

    def __init__(self, channel: Channel, settings: DirectorSettings, overlay: Overlay) -> None:
        self._channel = channel
        self._settings = settings
        self._changes = DirectorChanges(settings.services, overlay, self._event)
        self._thread, self._quick = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._machine: Machine
        self._news, self._flips = asyncio.Event(), asyncio.Event()
        self._stopping = asyncio.Event()
        self._condition = Condition(True, "", "")
        services = self._changes.services
        self._health = DirectorHealth(services, self._event, self._flips.set, self._quorum)
        sync = settings.flow_sync
        self._zero: dict[RealKey, Traffic] = {}  # what was counted when somebody said -Z
        self._peers = {name: False for name, _address in sync.peers} if sync else {}

    async def run(self) -> None:
        """Until told to stop. Raises CannotRunError or OSError when it cannot start."""
        self._machine = await self._in_thread(lambda: _machine(self._settings))
        down = await self._in_thread(self._machine.unlisted)
        self._health.begin(down, again=self._machine.adopted)
        try:
            await self._start()
            await self._serve()
            await self._health.farewell()
        finally:
            await self._in_thread(self._machine.close)
            self._thread.shutdown()
            self._quick.shutdown()

    async def _start(self) -> None:
        """Ready when the program is attached and the tables are in, with the MACs of all who
        answer."""
        await self._converge()
        with neighbours.changes() as watch, suppress(TimeoutError):
            async with asyncio.timeout(RESOLVE_S):
                while not await self._in_thread(self._machine.resolved):
                    await asyncio.get_running_loop().sock_recv(watch, 1 << 16)
        await self._converge()
        await self._catch_up()
        self._channel.send({"kind": "ready"})

    async def _catch_up(self) -> None:
        """Have the peers' flows before anybody makes this director the master; a peer that does
        not tell them in time is not waited for."""
        sync = self._settings.flow_sync
        if sync is None:
            return
        await self._in_thread(self._machine.start_sync)
        deadline = clock.now() + sync.hold_s
        while clock.now() < deadline:
            self._look_at_peers()
            if all(self._peers.values()):
                return
            await asyncio.sleep(CATCH_UP_LOOK_S)

    def _look_at_peers(self) -> None:
        """Tell who of the peers came or went since the last look."""
        status, sync = self._machine.sync_status(), self._settings.flow_sync
        if status is None or sync is None:
            return
        for (name, address), row in zip(sync.peers, status["peers"], strict=True):
            met = row["up"] and row["caught_up"]
            if met and not self._peers.get(name):
                cause = f"its whole table is here ({row['heard']} flows told so far)"
                message = f"flow sync with {name} ({address}) is up"
                self._event("director.flow_sync_up", name, message, cause, {"peer": name})
            elif not row["up"] and self._peers.get(name):
                message = f"flow sync with {name} ({address}) is down"
                self._event(
                    "director.flow_sync_down", name, message, "it is silent", {"peer": name}
                )
            self._peers[name] = met or (row["up"] and self._peers.get(name, False))

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stopping.set)
        loop.add_reader(self._channel.fileno(), self._hear)
        with neighbours.changes() as watch:
            loop.add_reader(watch, self._look_again, watch)
            tasks = [
                asyncio.create_task(work)
                for work in (
                    self._health.probe(),
                    self._follow(),
                    self._keep(),
                    self._stopping.wait(),
                )
            ]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            loop.remove_reader(watch)
        loop.remove_reader(self._channel.fileno())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    def _look_again(self, watch: socket.socket) -> None:
        neighbours.drain(watch)
        self._news.set()

    async def _keep(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), PERIOD_S)
            self._news.clear()
            await self._converge()
            self._look_at_peers()

    async def _follow(self) -> None:
        """What health found goes into the tables; whatever is slower comes after."""
        while True:
            await self._flips.wait()
            self._flips.clear()
            with suppress(OSError):  # looking finds the same, and says so
                await self._put()
            self._news.set()

    async def _put(self) -> None:
        services, out = self._health.wanted()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._quick, self._machine.follow, services, out)

    async def _converge(self) -> None:
        try:
            await self._put()
            condition = await self._in_thread(self._machine.look)
            if self._health.may_suspend:
                self._health.suspend(await self._in_thread(self._machine.carried))
        except OSError as error:
            condition = Condition(False, str(error), "")
        self._tell(condition)

    def _tell(self, condition: Condition) -> None:
        interface = self._settings.interface
        if condition.attached:
            message = f"the director is attached to {interface} ({self._machine.hook})"
            self._event("director.attached", interface, message, condition.attached, {})
        if condition.well != self._condition.well:
            self._say("well", well=condition.well, cause=condition.cause)
        self._condition = condition

    def _hear(self) -> None:
        try:
            messages = self._channel.receive()
        except ChannelClosedError:  # the supervisor is gone: the same as stop
            self._stopping.set()
            return
        for message in messages:
            if message["kind"] == "stop":
                self._stopping.set()
            elif message["kind"] == "request":
                # Kept by the loop for long enough: it only waits for the one thread.
                task = asyncio.ensure_future(self._answer(message))
                task.add_done_callback(lambda done: done.exception())

    async def _answer(self, message: Message) -> None:
        if message["name"] == "change":
            await self._change(message)
            return
        if message["name"] == "connections":
            await self._tell_connections(message)
            return
        if message["name"] == "explain":
            await self._explain(message)
            return
        if message["name"] != "status":
            error = f"the director knows no request '{message['name']}'"
            self._say("reply", id=message["id"], error=error)
            return
        try:
            figures, listed = await self._in_thread(
                lambda: (self._machine.figures(), self._machine.listed())
            )
        except OSError as error:
            self._say("reply", id=message["id"], error=str(error))
            return
        self._say("reply", id=message["id"], value=self._status(figures, listed))

    async def _tell_connections(self, message: Message) -> None:
        try:
            found = await self._in_thread(lambda: self._machine.connections(MOST_CONNECTIONS))
        except OSError as error:
            self._say("reply", id=message["id"], error=str(error))
            return
        self._say("reply", id=message["id"], value=to_plain(found))

    async def _explain(self, message: Message) -> None:
        """What would become of a packet, in words."""
        try:
            question = from_plain(Question, message["arguments"])
            outcome, key = await self._in_thread(lambda: self._machine.explain(question))
            figures, listed = await self._in_thread(
                lambda: (self._machine.figures(), self._machine.listed())
            )
        except (OSError, ValueError) as error:
            self._say("reply", id=message["id"], error=str(error))
            return
        status = self._status(figures, listed)
        service = service_of(question, status["services"])
        reals = service["real_servers"] if service else []
        place = (str(key[1]), key[2]) if key else None
        real = next((row for row in reals if (row["address"], row["port"]) == place), None)
        interface, hook = self._settings.interface, status["hook"]
        lines = words(question, outcome, service, real, interface, hook)
        value = {"verdict": outcome.verdict, "reasons": outcome.reasons, "lines": lines}
        self._say("reply", id=message["id"], value=value)

    async def _change(self, message: Message) -> None:
        """What operators ask for: answered with all that was ever changed, for whoever starts us
        the next time."""
        try:
            asked = from_plain(Asked, message["arguments"])
            zeroed = self._changes.zeroed(asked)
            if zeroed is None:
                rows = self._changes.obey(asked)
            else:
                figures = await self._in_thread(self._machine.figures)
                self._zero.update({key: figures.traffic.get(key, NOTHING) for key in zeroed})
                rows = []
        except (OSError, ValueError) as error:
            self._say("reply", id=message["id"], error=str(error))
            return
        self._health.adopt(self._changes.services)
        value = {"overlay": to_plain(self._changes.overlay), "changed": rows}
        self._say("reply", id=message["id"], value=value)

    def _status(self, figures: Figures, listed: set[RealKey]) -> dict[str, Any]:
        drops = {name: n for name, n in figures.reasons.items() if name not in NOTICES}
        return {
            "hook": self._machine.hook,
            "hook_cause": self._machine.hook_cause,
            "interface": self._settings.interface,
            "well": self._condition.well,
            "services": [
                {
                    "name": service.name,
                    "protocol": service.protocol,
                    "address": str(service.address),
                    "port": service.port,
                    "scheduler": service.scheduler,
                    "scheduler_flags": service.scheduler_flags,
                    "one_packet": service.one_packet,
                    "persistence_s": service.persistence_s,
                    "granularity": service.granularity,
                    "real_servers": [
                        self._row(service, real, figures, listed) for real in service.real_servers
                    ],
                    "quorum": self._health.quorum(index),
                }
                for index, service in enumerate(map(with_sorry, self._changes.services))
            ],
            "drops": drops,
            "explained": {name: EXPLAINED[name] for name, n in figures.reasons.items() if n},
            "flows": {"live": figures.live} | {name: figures.reasons[name] for name in NOTICES},
            "flow_sync": self._sync_status(),
        }

    def _sync_status(self) -> dict[str, Any] | None:
        """With the peers' names; None where there are none."""
        status, sync = self._machine.sync_status(), self._settings.flow_sync
        if status is None or sync is None:
            return None
        names = [{"name": name, "address": str(address)} for name, address in sync.peers]
        peers = [who | row for who, row in zip(names, status["peers"], strict=True)]
        return {**status, "peers": peers}

    def _row(
        self,
        service: ServiceSettings,
        real: RealServerSettings,
        figures: Figures,
        listed: set[RealKey],
    ) -> dict[str, Any]:
        key = key_of(service, real)
        said = self._changes.overlay.server(server_place(service, real))
        active, inactive = figures.flows.get(key, (0, 0))
        traffic = figures.traffic.get(key, NOTHING).since(self._zero.get(key, NOTHING))
        return {
            "name": real.name,
            "address": str(real.address),
            "port": real.port,
            "forward": "Local" if key in figures.local else FORWARDS[real.forward],
            "tunnel": asdict(real.tunnel) if real.forward == "tunnel" else None,
            "weight": self._health.weight(key),
            "active": active,
            "inactive": inactive,
            "connections": traffic.connections,
            "packets": traffic.packets,
            "bytes": traffic.bytes,
            "listed": key in listed,
            "sorry": self._health.is_sorry(key),
            **self._changes.row(key, said),
            **self._health.health(key),
        }

    def _event(
        self, name: str, subject: str, message: str, cause: str, data: dict[str, Any]
    ) -> None:
        self._say("event", name=name, subject=subject, message=message, cause=cause, data=data)

    def _quorum(self, service: str, met: bool, cause: str) -> None:
        self._say("quorum", service=service, met=met, cause=cause)

    def _say(self, kind: str, **rest: Any) -> None:
        with suppress(ChannelClosedError):
            self._channel.send({"kind": kind, **rest})

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _machine(settings: DirectorSettings) -> Machine:
    return IpvsMachine(settings) if settings.hook == "ipvs" else DirectorMachine(settings)


def configuration(channel: Channel) -> tuple[DirectorSettings, Overlay]:
    """Wait for the first message."""
    while True:
        select.select([channel.fileno()], [], [])
        for message in channel.receive():
            if message["kind"] != "configure":
                raise CannotRunError(f"'configure' must come first, not '{message['kind']}'")
            changed = message.get("overlay")
            overlay = from_plain(Overlay, changed) if changed else Overlay()
            return from_plain(DirectorSettings, message["settings"]), overlay


def main() -> int:
    """The exit status: 0 after a stop, 2 when it cannot start."""
    channel = Channel.inherited()
    try:
        role = DirectorRole(channel, *configuration(channel))
    except ChannelClosedError:
        return 0
    try:
        asyncio.run(role.run())
    except ChannelClosedError:
        return 0
    except (CannotRunError, OSError, ValueError) as error:
        print(f"the director cannot run: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
