"""One node's director as the kernel has it: interface, neighbours, tables, program. Blocking; all
calls from one thread, in whose network namespace it lives, but for `follow`."""

from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from threading import Lock
from typing import Any

from trimaran.director.explain import Outcome
from trimaran.director.ipvs import Connection
from trimaran.director.packet import Question
from trimaran.director.plan import RealKey, desired, difference, indices, origins
from trimaran.director.settings import DirectorSettings, IPAddress, ServiceSettings
from trimaran.director.tables import Hop, Origin, Tables, Way
from trimaran.system import clock
from trimaran.system.attachment import Attachment
from trimaran.system.datapath import Count, DatapathError, Director, Hook
from trimaran.system.director_condition import Condition, Figures
from trimaran.system.errors import CannotRunError
from trimaran.system.neighbours import Neighbours
from trimaran.system.netlink import Link, Netlink
from trimaran.system.routes import Routes

SWEEP_SHARE = 20  # of the time, counting flows takes at most one part in so many
SWEEP_PERIOD_S = 5.0


class DirectorMachine:
    """Makes the kernel be as the settings and the checks want it, again and again."""

    def __init__(self, settings: DirectorSettings) -> None:
        self._settings = settings
        self._addresses: list[IPAddress] = []
        self._routed: list[IPAddress] = []
        self._ways: Mapping[IPAddress, Way] = {}
        self._translated: Set[IPAddress] = frozenset()
        self._origins: list[Origin] | None = None
        self._places_held: set[tuple[int, Hook]] = set()
        self._own: Set[IPAddress] = frozenset()
        self.hook: Hook = "tc"
        self.hook_cause = ""
        self._netlink = Netlink()
        if self._netlink.link(settings.interface) is None:
            self._netlink.close()
            raise CannotRunError(
                f"there is no interface {settings.interface} on this machine",
                f"name the right one at nodes.{settings.node}.interface",
            )
        self._attachment = Attachment()
        self._routes = Routes(self._netlink)
        self._neighbours: Neighbours | None = None
        self._link: Link | None = None
        self._seen: dict[IPAddress, Hop] = {}
        self._wish: tuple[tuple[ServiceSettings, ...], Set[RealKey]] = ((), frozenset())
        self._putting = Lock()  # decides and writes the tables
        self._sweep_due = 0.0
        directory = Path(settings.pin_directory)
        there = directory.is_dir() and any(directory.iterdir())
        has6 = any(service.address.version == 6 for service in settings.services)
        self._director = Director(
            directory,
            settings.max_flows,
            settings.max_flows6 if has6 else 1,
            settings.max_clients if any(s.persistence_s for s in settings.services) else 1,
        )
        self._tables = self._director.tables()
        # The indices that flows named, and the tables that were in place when they were counted.
        self._busy: tuple[Tables | None, Set[int]] = (None, frozenset())
        if self._director.adopted:
            self._reason = "started: the pinned tables and flows were adopted"
        elif there:
            self._reason = "started afresh: the pinned tables were of another layout or size"
        else:
            self._reason = "started"

    @property
    def adopted(self) -> bool:
        """An earlier process left its tables."""
        return self._director.adopted

    def unlisted(self) -> set[RealKey]:
        """The real servers that an earlier process had found down."""
        return {
            key
            for key, index in indices(self._tables).items()
            if not self._tables.reals[index].listed
        }

    def follow(self, services: tuple[ServiceSettings, ...], down: Set[RealKey]) -> None:
        """Have this in the tables: `services` are the settings' with the weights of now; those in
        `down` are out. Waits for no look at the machine: what the probes found is there at once.
        Another thread may look meanwhile."""
        self._wish = services, down
        if self._link is not None:
            self._put()

    def look(self) -> Condition:
        """Look at the machine, decide, act: tables first, then the program. Idempotent."""
        reals = [real for service in self._wish[0] for real in service.real_servers]
        self._reach({real.address for real in reals if real.forward == "dr"})
        self._routed = _sorted({real.address for real in reals if real.forward != "dr"})
        self._translated = {real.address for real in reals if real.forward == "nat"}
        self._seen = self._look()
        self._put()
        if clock.now() >= self._sweep_due:
            self._count()
        if self._link is None:
            return Condition(False, f"interface {self._settings.interface} is gone", "")
        attached = self._attach(self._link)
        if not self._link.up:
            return Condition(False, f"interface {self._link.name} is down", attached)
        return Condition(True, "", attached)

    def _reach(self, addresses: set[IPAddress]) -> None:
        """Their MACs are kept from now on, and no others."""
        gone = set(self._addresses) - addresses
        if gone and self._neighbours is not None:
            self._neighbours.forget(gone)
        if gone or len(addresses) != len(self._addresses):
            self._addresses = _sorted(addresses)

    def _wanted(self) -> Tables:
        (services, down), (counted, busy) = self._wish, self._busy
        synced = self._settings.flow_sync is not None
        return desired(
            services,
            self._tables,
            down,
            self._seen,
            busy if counted is self._tables else None,
            self._own,
            synced,
            self._ways,
        )

    def carried(self) -> Set[IPAddress]:
        """The addresses that this node has now."""
        return self._netlink.own_addresses()

    def resolved(self) -> bool:
        """Every real server's MAC is known."""
        routed = [address for address in self._routed if address not in self._own]
        there = len(self._hops()) == len(self._others())
        return self._link is not None and there and len(self._routes.ways()) == len(routed)

    def figures(self) -> Figures:
        """Counted now."""
        count = self._count()
        tables = self._tables
        known = indices(tables)
        return Figures(
            {key: count.by_real.get(index, (0, 0)) for key, index in known.items()},
            {key: self._director.traffic(index) for key, index in known.items()},
            self._director.reasons(),
            count.live,
            {key for key, index in known.items() if tables.reals[index].local},
        )

    def connections(self, most: int) -> list[Connection]:
        """The flows one by one."""
        return self._director.connections(most)

    def explain(self, question: Question) -> tuple[Outcome, RealKey | None]:
        """What would become of a packet, and to whom it would go."""
        # The frame is for this machine: tc's device is then lo, whose address is zeros.
        mac = self._link.mac if self.hook == "xdp" and self._link else bytes(6)
        outcome = self._director.explain(question, mac, self.hook)
        known = {index: key for key, index in indices(self._tables).items()}
        return outcome, known.get(-1 if outcome.real is None else outcome.real)

    def start_sync(self) -> None:
        """Exchange flows with the peers, if there are any. The tables must be in place."""
        if self._settings.flow_sync is not None:
            self._director.start_sync(self._settings.flow_sync)

    def sync_status(self) -> dict[str, Any] | None:
        """How that goes (see trimaran._native); None where there are no peers."""
        return self._director.sync_status()

    def listed(self) -> set[RealKey]:
        """The real servers that are in the table."""
        tables = self._tables
        return {key for key, index in indices(tables).items() if tables.reals[index].listed}

    def close(self) -> None:
        """Forward no more, and leave nothing behind."""
        self._director.stop_sync()
        for interface, hook in self._places_held:
            self._attachment.detach(interface, hook)
        if self._neighbours is not None:
            self._neighbours.forget(self._addresses)
            self._neighbours.close()
        self._routes.close()
        self._director.unpin()
        self._attachment.close()
        self._netlink.close()

    def _look(self) -> dict[IPAddress, Hop]:
        """The hops of now; asks for those that are not known."""
        link = self._netlink.link(self._settings.interface)
        if link is None or self._link is None or link.index != self._link.index:
            if self._neighbours is not None:
                self._neighbours.close()
            self._neighbours = Neighbours(link.index) if link else None
            if link:
                self.hook, self.hook_cause = self._hook_for(link)
        if link and (self._link is None or link.mac != self._link.mac):
            self._director.set_station(link.mac)
        self._link = link
        self._own = self._netlink.own_addresses()
        hops = self._hops()
        if self._neighbours is not None:
            self._neighbours.want(each for each in self._others() if each not in hops)
        self._routes.look([each for each in self._routed if each not in self._own])
        self._ways = self._routes.ways()
        return hops

    def _others(self) -> list[IPAddress]:
        return [address for address in self._addresses if address not in self._own]

    def _hops(self) -> dict[IPAddress, Hop]:
        if self._neighbours is None or self._link is None:
            return {}
        known = self._neighbours.resolved()
        return {
            address: Hop(known[address], self._link.mac, self._link.index, self._link.mtu)
            for address in self._others()
            if address in known
        }

    def _put(self) -> None:
        with self._putting:
            wanted = self._wanted()
            behind = origins(wanted)
            if behind != self._origins:
                self._director.set_origins(behind)
                self._origins = behind
            steps = difference(self._tables, wanted)
            if steps:
                self._director.apply(steps)
                self._tables = wanted

    def _count(self) -> Count:
        started, counted = clock.now(), self._tables
        count = self._director.count_flows()
        ended = clock.now()
        self._busy = counted, set(count.by_real)
        self._sweep_due = ended + max(SWEEP_PERIOD_S, (ended - started) * SWEEP_SHARE)
        return count

    def _attach(self, link: Link) -> str:
        """Why the program was attached just now; empty when it was in its place."""
        try:
            return self._attach_all(link)
        except DatapathError as error:
            if self.hook == "tc":
                raise
            self.hook, self.hook_cause = "tc", f"{link.name} cannot have XDP: {error.strerror}"
            self._attach_all(link)
            return self.hook_cause

    def _attach_all(self, link: Link) -> str:
        main, wanted, reason = (link.index, self.hook), self._places(link), ""
        for place in sorted(wanted, key=lambda each: each != main):
            interface, hook = place
            descriptor, program_id = self._director.program(hook)
            if self._attachment.attached(interface, hook) == program_id:
                continue
            self._attachment.attach(interface, descriptor, program_id, hook)
            if place == main:
                reason, self._reason = self._reason, "somebody had taken the program away"
        if reason or self._places_held != wanted:
            here: set[tuple[int, Hook]] = {(link.index, "tc"), (link.index, "xdp")}
            # (an earlier process may have had the other one)
            for interface, hook in (self._places_held | here) - wanted:
                self._attachment.detach(interface, hook)
        self._places_held = wanted
        return reason

    def _places(self, link: Link) -> set[tuple[int, Hook]]:
        """Where programs must be. Answers of NAT come in where their real servers are; tc has them
        wherever XDP cannot find a MAC."""
        places: set[tuple[int, Hook]] = {(link.index, self.hook)}
        if self._translated:
            ways = self._ways
            there = {ways[each].hop.interface for each in self._translated if each in ways}
            places |= {(index, "tc") for index in there | {link.index}}
        return places

    def _hook_for(self, link: Link) -> tuple[Hook, str]:
        """XDP where there is a driver to have it, unless the configuration says which; and why."""
        if self._settings.hook == "tc" or self._settings.hook == "xdp":
            return self._settings.hook, "as the configuration says"
        if self._attachment.has_driver(link.index):
            return "xdp", f"the driver of {link.name} has it"
        return "tc", f"{link.name} has no driver of its own"


def _sorted(addresses: Iterable[IPAddress]) -> list[IPAddress]:
    return sorted(addresses, key=lambda address: (address.version, address.packed))
