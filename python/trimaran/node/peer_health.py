"""What a proxy knows of its peers: their checks, and what operators want of them. The probes run in
a thread of their own; the engine is told of a flip before anybody else."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from trimaran.health.runner import Runner
from trimaran.health.settings import CheckSettings
from trimaran.health.words import cause_of, last_of, rows_of
from trimaran.node.director_changes import MODES, Asked
from trimaran.proxy.settings import PeerChecks, ProxySettings
from trimaran.stack.nearest import nearest
from trimaran.system import clock

Place = tuple[str, str]  # upstream, peer as it is written
SetPeer = Callable[[str, str, str], None]  # upstream, peer, 'up' | 'down' | 'drain'
Event = Callable[[str, str, str, str, dict[str, Any]], None]
WORDS = {
    "drain": "drains: it gets no new client",
    "disable": "is disabled: it gets no request",
    "enable": "is enabled again",
    "reset": "is as the configuration has it again",
}


class PeerChangeError(ValueError):
    """What was asked for cannot be; says why."""


@dataclass(frozen=True)
class PeerChange:
    """What operators want of a peer."""

    upstream: str
    peer: str
    mode: str
    cause: str


class PeerHealth:
    """`set_peer` tells the engine, `event` the world."""

    def __init__(
        self,
        settings: ProxySettings,
        changes: tuple[PeerChange, ...],
        set_peer: SetPeer,
        event: Event,
    ) -> None:
        self._set_peer, self._event = set_peer, event
        self._changes = {(each.upstream, each.peer): each for each in changes}
        self._lock = threading.Lock()  # two threads decide: probes, and what operators ask for
        self._told: dict[Place, str] = {}
        self._runner = Runner((), self._flipped)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="probes", daemon=True)
        self._lay_out(settings)

    def start(self) -> None:
        """Tell the engine what is known, and probe from now on."""
        with self._lock:
            for place in self._peers:
                self._settle(place)
        self._thread.start()

    def stop(self) -> None:
        """Probe no more."""
        if self._loop is not None and self._task is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(5.0)

    def configure(self, settings: ProxySettings) -> None:
        """Other peers or checks from now on; what is known of those that stay, stays."""
        with self._lock:
            self._lay_out(settings)
            for place in self._peers:
                self._settle(place)

    def _lay_out(self, settings: ProxySettings) -> None:
        self._name, self._names = settings.name, settings.names
        self._peers: dict[Place, PeerChecks] = {
            (upstream["name"], peer["address"]): settings.checks.get(peer["address"], {})
            for upstream in settings.http["upstreams"]
            for peer in upstream["peers"]
        }
        checks = [check for each in self._peers.values() for check in each.values()]
        if self._loop is None:
            self._runner.watch(checks)
        else:
            self._loop.call_soon_threadsafe(self._runner.watch, checks)

    def _run(self) -> None:
        async def probe() -> None:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            await self._runner.run()

        try:
            asyncio.run(probe())
        except asyncio.CancelledError:
            return

    def _flipped(self, check: CheckSettings) -> None:
        with self._lock:
            for place, checks in self._peers.items():
                if check in checks.values() and self._settle(place):
                    self._tell(place, check, checks)

    def _tell(self, place: Place, check: CheckSettings, checks: PeerChecks) -> None:
        well = self._is_well(place)
        name = "proxy.peer_up" if well else "proxy.peer_down"
        cause = cause_of(check, self._runner.watched[check], checks)
        message = f"{place[0]}: {self._word(place)} {'is back' if well else 'is out'}"
        data = {"upstream": place[0], "peer": place[1]}
        self._event(name, self._name, message, cause, data)

    def _is_well(self, place: Place) -> bool:
        watched = self._runner.watched
        return all(
            watched[check].verdict.up for check in self._peers[place].values() if check in watched
        )

    def _settle(self, place: Place) -> bool:
        """Tell the engine what the peer is to be now; False when it is so already."""
        change = self._changes.get(place)
        mode = change.mode if change else "enabled"
        wanted = "up" if self._is_well(place) and mode != "disabled" else "down"
        if wanted == "up" and mode == "drained":
            wanted = "drain"
        if self._told.get(place, "up") == wanted:
            return False
        self._set_peer(*place, wanted)
        self._told[place] = wanted
        return True

    # what operators ask for

    @property
    def changes(self) -> tuple[PeerChange, ...]:
        """Everything that was changed at run time."""
        return tuple(self._changes.values())

    def obey(self, asked: Asked) -> list[dict[str, Any]]:
        """Change what is asked for; how each peer is now. Raises PeerChangeError, and then nothing
        has changed."""
        with self._lock:
            if asked.verb == "reset":
                found = [place for place in self._peers if place in self._changes]
            else:
                found = self._found(asked)
            mode = MODES.get(asked.verb, "enabled")
            return [self._change(place, mode, asked) for place in found]

    def _found(self, asked: Asked) -> list[Place]:
        if asked.verb == "weight":
            raise PeerChangeError("peers keep the weight that the configuration gives them")
        found = [
            place
            for place in self._peers
            if asked.service in (None, place[0]) and asked.name in self._called(place)
        ]
        if not found:
            names = sorted({self._word(place) for place in self._peers})
            match = nearest(asked.name, names)
            hint = f" (did you mean '{match}'?)" if match else ""
            there_are = ", ".join(names) or "none"
            raise PeerChangeError(f"no peer '{asked.name}' here{hint}; there are {there_are}")
        return found

    def _change(self, place: Place, mode: str, asked: Asked) -> dict[str, Any]:
        before = self._changes.pop(place, None)
        if mode != "enabled":
            self._changes[place] = PeerChange(*place, mode, asked.cause)
        self._settle(place)
        address, _, port = place[1].rpartition(":")
        row = {
            "service": place[0],
            "name": self._word(place),
            "address": address,
            "port": int(port) if port.isdecimal() else 0,
            "mode": mode,
        }
        if (before.mode if before else "enabled") != mode:
            message = f"{place[0]}: {self._word(place)} {WORDS[asked.verb]}"
            self._event(f"proxy.peer_{mode}", self._name, message, asked.cause, row)
        return row

    def _word(self, place: Place) -> str:
        return self._names.get(place[1], place[1])

    def _called(self, place: Place) -> tuple[str, ...]:
        return (self._word(place), place[1], place[1].rpartition(":")[0])

    # what is shown

    def complete(self, status: dict[str, Any]) -> dict[str, Any]:
        """The engine's status with what is known here."""
        now = clock.now()
        for upstream in status["upstreams"]:
            for peer in upstream["peers"]:
                place = (upstream["name"], peer["address"])
                with self._lock:
                    watched = self._runner.watched
                    checks = {n: c for n, c in self._peers.get(place, {}).items() if c in watched}
                    rows, change = rows_of(checks, watched, now), self._changes.get(place)
                peer["name"] = self._word(place)
                peer["checks"], peer["last_check"] = rows, last_of(rows)
                peer["mode"] = change.mode if change else "enabled"
                peer["changed"] = {"cause": change.cause} if change else None
        return status
