"""What operators change of a running director: the overlay it has, and the words for it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from trimaran.director import ipvs_overlay
from trimaran.director.ipvs_wire import Command, decode
from trimaran.director.overlay import (
    Overlay,
    OverlayError,
    ServerChange,
    changed,
    named,
    names_of_service,
    server_place,
)
from trimaran.director.plan import RealKey, key_of
from trimaran.director.settings import Mode, RealServerSettings, ServiceSettings
from trimaran.health.pool import MAX_WEIGHT
from trimaran.stack.nearest import nearest

Verb = Literal["drain", "weight", "enable", "disable", "reset", "ipvs"]
MODES: dict[str, Mode] = {"drain": "drained", "enable": "enabled", "disable": "disabled"}
EVENTS = {
    "drain": ("director.real_server_drained", "drains: its flows go on, no new one comes"),
    "disable": ("director.real_server_disabled", "is disabled: it is out of the table"),
    "enable": ("director.real_server_enabled", "is enabled again"),
    "weight": ("director.real_server_weight", "has the weight {weight}"),
    "reset": ("director.real_server_reset", "is as the configuration has it again"),
}


@dataclass(frozen=True)
class Asked:
    """One change of the real servers called `name`, of one service or of all. `weight` -1: the
    configured one. `reset` takes every change back, whatever its name; `ipvs` does what `request`
    says in IPVS's own words (director/ipvs_wire.py), in hexadecimal digits."""

    verb: Verb
    cause: str
    name: str = ""
    service: str | None = None
    weight: int | None = None
    request: str = ""


Event = Callable[[str, str, str, str, dict[str, Any]], None]


class DirectorChanges:
    """`configured` under `overlay`. `event` is told of every change."""

    def __init__(
        self, configured: tuple[ServiceSettings, ...], overlay: Overlay, event: Event
    ) -> None:
        self._event = event
        self.overlay = overlay
        self.configure(configured)

    def configure(self, configured: tuple[ServiceSettings, ...]) -> None:
        """Another configuration lies under the overlay."""
        self._configured = configured
        self._lay()

    def _lay(self) -> None:
        self.services = self.overlay.over(self._configured)
        self._own = {
            key_of(service, real): real
            for service in self._configured
            for real in service.real_servers
        }

    def put(self, overlay: Overlay) -> None:
        """Another overlay lies over the configuration."""
        self.overlay = overlay
        self._lay()

    def obey(self, asked: Asked) -> list[dict[str, Any]]:
        """Change what is asked for; how each real server is now. Raises OverlayError, and then
        nothing has changed."""
        if asked.verb == "reset":
            return self._reset(asked)
        if asked.verb == "ipvs":
            return self._ipvs(asked)
        if asked.verb == "weight" and not -1 <= (asked.weight or 0) <= MAX_WEIGHT:
            raise OverlayError(f"a weight is from 0 to {MAX_WEIGHT}, not {asked.weight}")
        found = named(self.services, asked.name, asked.service)
        if not found:
            raise OverlayError(self._unknown(asked))
        mode, weight = MODES.get(asked.verb), asked.weight if asked.verb == "weight" else None
        places = [server_place(service, real) for service, real in found]
        self.put(
            self.overlay.with_servers(
                changed(self.overlay, place, asked.cause, mode, weight) for place in places
            )
        )
        return self._tell(asked, found)

    def zeroed(self, asked: Asked) -> list[RealKey] | None:
        """The real servers whose counters are to begin at 0 again; None when something else is
        asked. Raises OverlayError."""
        if asked.verb != "ipvs":
            return None
        message = decode(bytes.fromhex(asked.request))
        if message.command is not Command.ZERO:
            return None
        services = ipvs_overlay.named(message, self.services)
        self._event("director.ipvsadm", "ipvsadm", ipvs_overlay.told(message), asked.cause, {})
        return [key_of(service, real) for service in services for real in service.real_servers]

    def _ipvs(self, asked: Asked) -> list[dict[str, Any]]:
        message = decode(bytes.fromhex(asked.request))
        self.put(ipvs_overlay.changed(message, self.overlay, self._configured, asked.cause))
        self._event("director.ipvsadm", "ipvsadm", ipvs_overlay.told(message), asked.cause, {})
        return []

    def _reset(self, asked: Asked) -> list[dict[str, Any]]:
        before = self.services
        self.put(Overlay())
        ours = dict(_rows(self.services))
        found = [
            (service, real)
            for service in before
            for real in service.real_servers
            if ours.get(key_of(service, real), (service, None))[1] != real
        ]
        return self._tell(asked, found)

    def _tell(
        self, asked: Asked, before: Iterable[tuple[ServiceSettings, RealServerSettings]]
    ) -> list[dict[str, Any]]:
        now, rows = dict(_rows(self.services)), []
        for service, was in before:
            real = now.get(key_of(service, was), (service, None))[1]
            said = real or was
            row = {
                "service": service.name,
                "name": was.name,
                "address": str(was.address),
                "port": was.port,
                "mode": said.mode if real else "removed",
                "weight": said.weight,
            }
            rows.append(row)
            if real != was:
                event, words = EVENTS[asked.verb]
                end = f"{was.name} ({was.address}:{was.port})"
                message = f"{service.name}: {end} {words.format(weight=said.weight)}"
                self._event(event, was.name, message, asked.cause, row)
        return rows

    def _unknown(self, asked: Asked) -> str:
        services = list(dict.fromkeys(service.name for service in self.services))
        if asked.service is not None:
            there = [each for each in self.services if asked.service in names_of_service(each)]
            if not there:
                return _sorry(f"no virtual service '{asked.service}'", asked.service, services)
        names = list(dict.fromkeys(r.name for s in self.services for r in s.real_servers))
        return _sorry(f"no real server '{asked.name}'", asked.name, names)

    # what is shown

    def row(self, key: RealKey, change: ServerChange | None) -> dict[str, Any]:
        """A real server's part of `status`: its mode, and what was changed, None when nothing."""
        if change is None:
            return {"mode": "enabled", "changed": None}
        own = self._own.get(key)
        return {
            "mode": change.mode,
            "changed": {
                "cause": change.cause,
                "weight": change.weight,
                "added": change.added is not None,
                "configured_weight": own.weight if own else None,
            },
        }


def _rows(
    services: Iterable[ServiceSettings],
) -> Iterable[tuple[RealKey, tuple[ServiceSettings, RealServerSettings]]]:
    for service in services:
        for real in service.real_servers:
            yield key_of(service, real), (service, real)


def _sorry(what: str, word: str, there_are: list[str]) -> str:
    shown = ", ".join(there_are[:20]) + ", …" * (len(there_are) > 20)
    match = nearest(word, there_are)
    hint = f" (did you mean '{match}'?)" if match else ""
    return f"{what} here{hint}; there are {shown or 'none'}"
