"""What the director knows of its real servers: their checks, the quorums, the weights of now, and
who is told of changes. Decides by health.pool; acts only through events and scripts."""

import asyncio
from collections.abc import Callable, Set
from dataclasses import dataclass, replace
from typing import Any

from trimaran.director.plan import RealKey, key_of
from trimaran.director.settings import RealServerSettings, ServiceSettings
from trimaran.health.pool import Member, Standing, slow_start, stand, weight_of
from trimaran.health.runner import Runner
from trimaran.health.settings import CheckSettings, ScriptSettings, kind_of
from trimaran.node.script_queue import ScriptQueue
from trimaran.system import clock

FAREWELL_S = 5.0  # for the scripts of `omega`

Event = Callable[[str, str, str, str, dict[str, Any]], None]


@dataclass
class _Server:
    service: ServiceSettings
    settings: RealServerSettings
    well: bool = True
    since: float = float("-inf")  # when it came back


def with_sorry(service: ServiceSettings) -> ServiceSettings:
    """The service with its sorry server as the last of its real servers."""
    if service.sorry_server is None:
        return service
    return replace(service, real_servers=(*service.real_servers, service.sorry_server))


class DirectorHealth:
    """`event` tells the world, `news` the director that its tables may have to change."""

    def __init__(
        self, services: tuple[ServiceSettings, ...], event: Event, news: Callable[[], None]
    ) -> None:
        self._services = services
        self._event = event
        self._news = news
        self._servers = {
            key_of(service, real): _Server(service, real)
            for service in services
            for real in service.real_servers
        }
        self._users: dict[CheckSettings, list[_Server]] = {}
        for server in self._servers.values():
            for check in server.settings.checks.values():
                self._users.setdefault(check, []).append(server)
        self._runner = Runner((), self._changed)
        self._scripts = ScriptQueue(self._script_failed)
        self._standings: dict[int, Standing] = {}
        self._weights: dict[RealKey, int] = {}

    def begin(self, unlisted: Set[RealKey]) -> None:
        """Take over what an earlier process had found: a check was failing where nobody who shares
        it was in the table."""
        out = {id(server) for key, server in self._servers.items() if key in unlisted}
        down = {
            check
            for check, users in self._users.items()
            if all(id(server) in out for server in users)
        }
        self._runner = Runner(self._users, self._changed, down, self._failed)
        for server in self._servers.values():
            server.well = self._is_well(server)
        for index, service in enumerate(self._services):
            standing = self._stand(service, before=False)
            self._standings[index] = standing
            if standing.quorum:
                self._scripts.tell(index, service.pool.quorum_up)
            else:
                self._tell_quorum(index, service, standing)

    async def probe(self) -> None:
        """Until cancelled, also when there is nothing to watch."""
        await self._runner.run()
        await asyncio.Event().wait()

    async def farewell(self) -> None:
        """The director stops: with `omega` the down scripts are run, for a bounded time."""
        for index, service in enumerate(self._services):
            if not service.pool.omega:
                continue
            for server in self._servers.values():
                if server.service is service and server.well:
                    self._scripts.tell(id(server), server.settings.notify_down)
            if index in self._standings and self._standings[index].quorum:
                self._scripts.tell(index, service.pool.quorum_down)
        await self._scripts.finish(FAREWELL_S)

    def wanted(self) -> tuple[tuple[ServiceSettings, ...], set[RealKey]]:
        """The services with the weights of now, sorry servers among their real servers, and who is
        out of the tables."""
        services: list[ServiceSettings] = []
        out: set[RealKey] = set()
        for index, service in enumerate(self._services):
            standing = self._look(index, service)
            places = [*standing.places, *([standing.sorry] if service.sorry_server else [])]
            full = with_sorry(service)
            reals = []
            for real, place in zip(full.real_servers, places, strict=True):
                weighs_so = real.weight == place.weight
                reals.append(real if weighs_so else replace(real, weight=place.weight))
                self._weights[key_of(full, real)] = place.weight
                if not place.listed:
                    out.add(key_of(full, real))
            services.append(replace(full, real_servers=tuple(reals)))
        return tuple(services), out

    def _look(self, index: int, service: ServiceSettings) -> Standing:
        before = self._standings[index]
        standing = self._stand(service, before.quorum)
        self._standings[index] = standing
        if standing.quorum != before.quorum:
            self._tell_quorum(index, service, standing)
        return standing

    def _stand(self, service: ServiceSettings, before: bool) -> Standing:
        now = clock.now()
        members = [
            Member(server.well, self._weight(server, now), server.settings.inhibit)
            for server in (self._servers[key_of(service, real)] for real in service.real_servers)
        ]
        sorry = service.sorry_server
        return stand(service.pool, members, before, sorry.weight if sorry else None)

    def _weight(self, server: _Server, now: float) -> int:
        outcomes = (self._runner.watched[c].outcome for c in server.settings.checks.values())
        weight = weight_of(server.settings.weight, outcomes)
        return slow_start(weight, now - server.since, server.service.pool.slow_start_s)

    def _is_well(self, server: _Server) -> bool:
        return all(self._runner.watched[c].verdict.up for c in server.settings.checks.values())

    # what is told

    def _changed(self, check: CheckSettings) -> None:
        for server in self._users[check]:
            well = self._is_well(server)
            if well != server.well:
                server.well = well
                server.since = clock.now()
                self._tell_server(server, check)
        self._news()

    def _tell_server(self, server: _Server, check: CheckSettings) -> None:
        service, real = server.service, server.settings
        verdict = self._runner.watched[check].verdict
        named = ""
        if len(real.checks) > 1:
            named = next(name for name, each in real.checks.items() if each == check) + ": "
        if server.well:
            name, word = "director.real_server_up", "added to the table"
            count = 1 if check.alpha and verdict.error == "" else check.rise
            cause = f"{named}{count} good probe{'s' * (count > 1)} in a row"
        else:
            name, word = "director.real_server_down", "removed from the table"
            times = 1 + check.retries
            cause = f"{named}{times} failed probe{'s' * (times > 1)} in a row: {verdict.error}"
        if real.inhibit:
            word = "has its weight again" if server.well else "stays in the table with weight 0"
        message = f"{service.name}: {real.name} ({real.address}:{real.port}) {word}"
        data = {"service": service.name, "real_server": real.name, "address": str(real.address)}
        self._event(name, real.name, message, cause, data)
        self._scripts.tell(id(server), real.notify_up if server.well else real.notify_down)

    def _tell_quorum(self, index: int, service: ServiceSettings, standing: Standing) -> None:
        rules, sorry = service.pool, service.sorry_server
        if standing.quorum:
            name, word, sign = "director.quorum_gained", "gained", "+"
            bound = f"reaches {rules.quorum}{f' + {rules.hysteresis}' * bool(rules.hysteresis)}"
            instead = f"; {sorry.name} is not needed any more" if sorry else ""
        else:
            name, word, sign = "director.quorum_lost", "lost", "-"
            limit = f"{rules.quorum}{f' {sign} {rules.hysteresis}' * bool(rules.hysteresis)}"
            bound = f"is below {limit}" if rules.quorum else "is nothing"
            instead = f"; {sorry.name} ({sorry.address}:{sorry.port}) stands in" if sorry else ""
        message = f"{service.name}: quorum {word}{instead}"
        cause = f"the weight {standing.weight} of the well real servers {bound}"
        data = {"service": service.name, "weight": standing.weight, "quorum": rules.quorum}
        self._event(name, service.name, message, cause, data)
        self._scripts.tell(index, rules.quorum_up if standing.quorum else rules.quorum_down)

    def _failed(self, check: CheckSettings, error: str) -> None:
        if not check.log_all_failures or not self._runner.watched[check].verdict.up:
            return
        for server in self._users[check]:
            real = server.settings
            message = f"{server.service.name}: {real.name} ({real.address}:{real.port}) failed once"
            data = {"service": server.service.name, "real_server": real.name}
            self._event("director.check_failed", real.name, message, error, data)

    def _script_failed(self, script: ScriptSettings, why: str) -> None:
        message = f"the script '{script.command}' failed"
        self._event("director.script_failed", script.command, message, why, {})

    # what is shown

    def weight(self, key: RealKey) -> int:
        """The weight of now of a real or sorry server."""
        return self._weights[key]

    def is_sorry(self, key: RealKey) -> bool:
        """It is no real server, but stands in for them."""
        return key not in self._servers

    def health(self, key: RealKey) -> dict[str, Any]:
        """A real server's part of `status` (docs/decisions/0002)."""
        server = self._servers.get(key)
        if server is None:
            return {"well": True, "last_check": None, "checks": []}
        rows = [self._row(name, check) for name, check in server.settings.checks.items()]
        probed = [row for row in rows if row["ago_s"] is not None]
        last = min(probed, key=lambda row: (row["ok"], row["ago_s"]), default=None)
        shown = last and {key: last[key] for key in ("ok", "ago_s", "latency_ms", "error")}
        return {"well": server.well, "last_check": shown, "checks": rows}

    def _row(self, name: str, check: CheckSettings) -> dict[str, Any]:
        watched = self._runner.watched[check]
        last = watched.last
        return {
            "name": name,
            "kind": kind_of(check),
            "up": watched.verdict.up,
            "ok": last is not None and not last.error,
            "ago_s": last and round(clock.now() - last.at, 3),
            "latency_ms": last and round(last.latency_s * 1000, 3),
            "error": last.error if last else "",
            "last_error": watched.verdict.error,
        }

    def quorum(self, index: int) -> dict[str, Any]:
        """A service's part of `status`."""
        rules, standing = self._services[index].pool, self._standings[index]
        return {
            "met": standing.quorum,
            "weight": standing.weight,
            "wanted": rules.quorum,
            "hysteresis": rules.hysteresis,
        }
