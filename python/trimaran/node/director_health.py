"""What the director knows of its real servers: their checks, the quorums, the weights of now, and
who is told of changes. Decides by health.pool; acts only through events and scripts."""

from collections.abc import Callable, Set
from dataclasses import dataclass, field, replace
from typing import Any

from trimaran.director.plan import RealKey, key_of, listen_of
from trimaran.director.settings import IPAddress, RealServerSettings, ServiceSettings
from trimaran.health.pool import Member, Standing, slow_start, stand, weight_of
from trimaran.health.runner import Runner, Watched
from trimaran.health.settings import CheckSettings, ScriptSettings
from trimaran.health.words import cause_of, last_of, rows_of
from trimaran.node.script_queue import ScriptQueue
from trimaran.system import clock

FAREWELL_S = 5.0  # for the scripts of `omega`

Event = Callable[[str, str, str, str, dict[str, Any]], None]
Quorum = Callable[[str, bool, str], None]


@dataclass(eq=False)
class _Server:
    """`checks` are those of the settings, as they are watched."""

    key: RealKey
    service: "_Service"
    settings: RealServerSettings
    checks: list[Watched] = field(default_factory=list)
    well: bool = True
    since: float = float("-inf")  # when it came back

    @property
    def is_disabled(self) -> bool:
        """An operator took it out of the table."""
        return self.settings.mode == "disabled"


@dataclass(eq=False)
class _Service:
    """`full` has the sorry server among its real servers, `keys` are theirs. What was made of it
    last (`standing`, `wanted`, `out`) holds until something changed (`stale`)."""

    settings: ServiceSettings
    full: ServiceSettings = field(init=False)
    keys: list[RealKey] = field(init=False)
    servers: list[_Server] = field(default_factory=list)
    standing: Standing | None = None
    stale: bool = True
    suspended: bool = False
    wanted: ServiceSettings | None = None
    out: set[RealKey] = field(default_factory=set)


def with_sorry(service: ServiceSettings) -> ServiceSettings:
    """The service with its sorry server as the last of its real servers."""
    if service.sorry_server is None:
        return service
    return replace(service, real_servers=(*service.real_servers, service.sorry_server))


class DirectorHealth:
    """`event` tells the world, `news` the director that its tables may have to change, `quorum` the
    other tiers whether a virtual service has its quorum, and why not."""

    def __init__(
        self,
        services: tuple[ServiceSettings, ...],
        event: Event,
        news: Callable[[], None],
        quorum: Quorum = lambda service, met, cause: None,
    ) -> None:
        self._event = event
        self._quorum = quorum
        self._quorums: dict[str, tuple[bool, str]] = {}  # as the other tiers were told
        self._news = news
        self._services: list[_Service] = []
        self._servers: dict[RealKey, _Server] = {}
        self._users: dict[CheckSettings, list[_Server]] = {}
        self._places: dict[RealKey, tuple[_Service, int]] = {}
        self._scripts = ScriptQueue(self._script_failed)
        self._runner = Runner((), self._changed, failed=self._failed)
        self._lay_out(services)

    def _lay_out(self, services: tuple[ServiceSettings, ...]) -> None:
        """Who is there, and who uses which check; those that were there already are the same."""
        there = {listen_of(service.settings): service for service in self._services}
        known, self._servers, self._users = self._servers, {}, {}
        self._services = []
        for settings in services:
            service = there.get(listen_of(settings)) or _Service(settings)
            self._services.append(service)
            service.settings, service.full = settings, with_sorry(settings)
            service.keys = [key_of(settings, real) for real in service.full.real_servers]
            service.servers, service.wanted, service.stale = [], None, True
            for key, real in zip(service.keys, settings.real_servers, strict=False):
                server = known.get(key) or _Server(key, service, real)
                server.settings = real
                service.servers.append(server)
                self._servers[key] = server
                for check in real.checks.values():
                    self._users.setdefault(check, []).append(server)
        self._places = {
            key: (service, index)
            for service in self._services
            for index, key in enumerate(service.keys)
        }

    def begin(self, unlisted: Set[RealKey], *, again: bool = False) -> None:
        """Take over what an earlier process had found: a check was failing where nobody who shares
        it was in the table, for no other reason. `again`: it left its tables, and has told of its
        quorums."""
        down = {
            check
            for check, users in self._users.items()
            if all(server.key in unlisted and not server.is_disabled for server in users)
        }
        self._watch(down, told=again)

    def adopt(self, services: tuple[ServiceSettings, ...]) -> None:
        """Other services from now on, or others of their real servers. What is known of those that
        stay, stays."""
        self._lay_out(services)
        self._watch()
        self._news()

    def _watch(self, down: Set[CheckSettings] = frozenset(), *, told: bool = False) -> None:
        self._runner.watch(self._users, down)
        for server in self._servers.values():
            checks = server.settings.checks.values()
            server.checks = [self._runner.watched[check] for check in checks]
            server.well = _is_well(server)
        for service in self._services:
            if service.standing is not None:
                continue
            standing = _stand(service, quorum_before=False)
            service.standing = standing
            if told:
                continue
            if standing.quorum:
                self._scripts.tell(service, service.settings.pool.quorum_up)
            else:
                self._tell_quorum(service, standing)
        self._tell_tiers()

    @property
    def may_suspend(self) -> bool:
        """Some service wants its checks suspended while its address is elsewhere."""
        return any(service.settings.pool.ha_suspend for service in self._services)

    def suspend(self, carried: Set[IPAddress]) -> None:
        """Suspend the checks of `ha_suspend` services whose address this node does not have, and
        of nobody else; resume the others."""
        for service in self._services:
            wanted = service.settings
            suspended = wanted.pool.ha_suspend and wanted.address not in carried
            if suspended != service.suspended:
                service.suspended = suspended
                self._tell_suspended(wanted, suspended)
        for check, users in self._users.items():
            suspended = all(server.service.suspended for server in users)
            self._runner.watched[check].suspended = suspended

    async def probe(self) -> None:
        """Until cancelled, also when there is nothing to watch."""
        await self._runner.run()

    async def farewell(self) -> None:
        """The director stops: with `omega` the down scripts are run, for a bounded time."""
        for service in self._services:
            if not service.settings.pool.omega:
                continue
            for server in service.servers:
                if server.well:
                    self._scripts.tell(server, server.settings.notify_down)
            if service.standing is not None and service.standing.quorum:
                self._scripts.tell(service, service.settings.pool.quorum_down)
        await self._scripts.finish(FAREWELL_S)

    def wanted(self) -> tuple[tuple[ServiceSettings, ...], set[RealKey]]:
        """The services with the weights of now, sorry servers among their real servers, and who is
        out of the tables."""
        for service in self._services:
            if service.stale:
                self._decide(service)
        wanted = tuple(service.wanted or service.full for service in self._services)
        return wanted, set().union(*(service.out for service in self._services))

    def _decide(self, service: _Service) -> None:
        before = service.standing
        assert before is not None, "begin() comes first"
        standing = _stand(service, before.quorum)
        service.standing = standing
        if standing.quorum != before.quorum:
            self._tell_quorum(service, standing)
            self._tell_tiers()
        places = (*standing.places, standing.sorry)  # of full.real_servers; the last may be spare
        reals = []
        service.out = set()
        for key, real, place in zip(service.keys, service.full.real_servers, places, strict=False):
            weighs_so = real.weight == place.weight
            reals.append(real if weighs_so else replace(real, weight=place.weight))
            if not place.listed:
                service.out.add(key)
        service.wanted = replace(service.full, real_servers=tuple(reals))
        # While somebody starts slowly, the weights change by themselves.
        slow, now = service.settings.pool.slow_start_s, clock.now()
        service.stale = any(now - server.since < slow for server in service.servers)

    # what is told

    def _changed(self, check: CheckSettings) -> None:
        for server in self._users[check]:
            server.service.stale = True
            well = _is_well(server)
            if well != server.well:
                server.well = well
                server.since = clock.now()
                self._tell_server(server, check)
        self._news()

    def _tell_server(self, server: _Server, check: CheckSettings) -> None:
        service, real = server.service.settings, server.settings
        cause = cause_of(check, self._runner.watched[check], real.checks)
        if server.well:
            name, word = "director.real_server_up", "added to the table"
        else:
            name, word = "director.real_server_down", "removed from the table"
        if real.inhibit:
            word = "has its weight again" if server.well else "stays in the table with weight 0"
        message = f"{service.name}: {real.name} ({real.address}:{real.port}) {word}"
        data = {"service": service.name, "real_server": real.name, "address": str(real.address)}
        self._event(name, real.name, message, cause, data)
        self._scripts.tell(server, real.notify_up if server.well else real.notify_down)

    def _tell_quorum(self, told: _Service, standing: Standing) -> None:
        service = told.settings
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
        cause = f"{_weighing(standing)} {bound}"
        data = {"service": service.name, "weight": standing.weight, "quorum": rules.quorum}
        self._event(name, service.name, message, cause, data)
        self._scripts.tell(told, rules.quorum_up if standing.quorum else rules.quorum_down)

    def _tell_tiers(self) -> None:
        """A virtual service of several addresses has its quorum where it has it on each."""
        quorums: dict[str, tuple[bool, str]] = {}
        for service in self._services:
            name, standing = service.settings.name, service.standing
            if standing is not None and quorums.get(name, (True, ""))[0]:
                quorums[name] = (standing.quorum, _weighing(standing))
        for name, (met, cause) in quorums.items():
            if self._quorums.get(name, (None, ""))[0] is not met:
                self._quorum(name, met, cause)
        for name in self._quorums.keys() - quorums.keys():
            self._quorum(name, True, "it is served no longer")
        self._quorums = quorums

    def _tell_suspended(self, service: ServiceSettings, suspended: bool) -> None:
        name = "director.checks_suspended" if suspended else "director.checks_resumed"
        message = f"{service.name}: checks {'suspended' if suspended else 'resumed'}"
        cause = f"this node {'does not carry' if suspended else 'carries'} {service.address}"
        self._event(name, service.name, message, cause, {"service": service.name})

    def _failed(self, check: CheckSettings, error: str) -> None:
        if not check.log_all_failures or not self._runner.watched[check].verdict.up:
            return
        for server in self._users[check]:
            real = server.settings
            name = server.service.settings.name
            message = f"{name}: {real.name} ({real.address}:{real.port}) failed once"
            data = {"service": name, "real_server": real.name}
            self._event("director.check_failed", real.name, message, error, data)

    def _script_failed(self, script: ScriptSettings, why: str) -> None:
        message = f"the script '{script.command}' failed"
        self._event("director.script_failed", script.command, message, why, {})

    # what is shown

    def weight(self, key: RealKey) -> int:
        """The weight of now of a real or sorry server."""
        service, index = self._places[key]
        return (service.wanted or service.full).real_servers[index].weight

    def is_sorry(self, key: RealKey) -> bool:
        """It is no real server, but stands in for them."""
        return key not in self._servers

    def health(self, key: RealKey) -> dict[str, Any]:
        """A real server's part of `status` (docs/decisions/0002)."""
        server = self._servers.get(key)
        if server is None:
            return {"well": True, "last_check": None, "checks": []}
        rows = rows_of(server.settings.checks, self._runner.watched, clock.now())
        return {"well": server.well, "last_check": last_of(rows), "checks": rows}

    def quorum(self, index: int) -> dict[str, Any]:
        """A service's part of `status`."""
        service = self._services[index]
        rules, standing = service.settings.pool, service.standing
        assert standing is not None
        return {
            "met": standing.quorum,
            "weight": standing.weight,
            "wanted": rules.quorum,
            "hysteresis": rules.hysteresis,
        }


def _weighing(standing: Standing) -> str:
    return f"the weight {standing.weight} of the well real servers"


def _is_well(server: _Server) -> bool:
    return all(watched.verdict.up for watched in server.checks)


def _stand(service: _Service, quorum_before: bool) -> Standing:
    now = clock.now()
    rules, sorry = service.settings.pool, service.settings.sorry_server
    members = []
    for server in service.servers:
        outcomes = [watched.outcome for watched in server.checks]
        weight = weight_of(server.settings.weight, outcomes)
        weight = slow_start(weight, now - server.since, rules.slow_start_s)
        if server.is_disabled:
            members.append(Member(well=False, weight=0))
            continue
        weight = 0 if server.settings.mode == "drained" else weight
        members.append(Member(server.well, weight, server.settings.inhibit))
    return stand(rules, members, quorum_before, sorry.weight if sorry else None)
