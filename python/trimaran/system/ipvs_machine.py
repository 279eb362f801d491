"""One node's director as the kernel's IPVS: the same questions and orders as `director_machine`'s.
Blocking; all calls from one thread, in whose network namespace it lives."""

import errno
from collections.abc import Mapping, Set
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from trimaran.director.explain import Outcome
from trimaran.director.ipvs import Connection, DestinationRow, ServiceRow
from trimaran.director.ipvs_connections import connections
from trimaran.director.ipvs_plan import (
    Made,
    desired,
    difference,
    from_json,
    service_key,
    to_json,
)
from trimaran.director.ipvsadm_text import end, name
from trimaran.director.packet import Question
from trimaran.director.plan import RealKey, key_of
from trimaran.director.reasons import EXPLAINED
from trimaran.director.settings import DirectorSettings, IPAddress, ServiceSettings
from trimaran.system import state_file
from trimaran.system.datapath import Traffic
from trimaran.system.director_condition import Condition, Figures
from trimaran.system.errors import CannotRunError
from trimaran.system.generic_netlink import NoFamilyError, Wire
from trimaran.system.ipvs import Ipvs, IpvsError
from trimaran.system.netlink import Netlink

CONNECTIONS = Path("/proc/net/ip_vs_conn")
NO_IPVS = "the kernel has no IPVS, which 'datapath: ipvs' asks for"
MEND = "load it (modprobe ip_vs; Debian's kernel has it), or write datapath: auto"
VERBS = {"NEW": "add", "SET": "change", "DEL": "remove"}
REASONS = dict.fromkeys(EXPLAINED, 0)  # the kernel counts none of them


def is_possible() -> bool:
    """The kernel has IPVS; asking makes it load its module."""
    try:
        Ipvs().close()
    except NoFamilyError:
        return False
    return True


class IpvsMachine:
    """Makes the kernel's IPVS be as the settings and the checks want it, again and again. Whoever
    else writes to it keeps what is theirs (director/ipvs_plan.py)."""

    hook = "ipvs"
    hook_cause = "as the configuration says"

    def __init__(self, settings: DirectorSettings, wire: Wire | None = None) -> None:
        self._settings = settings
        self._services = settings.services
        self._record = Path(settings.state_file)
        self._netlink = Netlink()
        try:
            self._ipvs = Ipvs(wire)
        except NoFamilyError as error:
            self._netlink.close()
            raise CannotRunError(NO_IPVS, MEND) from error
        self._made = self._read()
        self._first = True
        self._wish: tuple[tuple[ServiceSettings, ...], Set[RealKey]] = ((), frozenset())

    def _read(self) -> Made:
        with suppress(FileNotFoundError):
            return from_json(self._record.read_bytes())
        return Made()

    @property
    def adopted(self) -> bool:
        """An earlier process left its services."""
        return bool(self._made.services)

    def unlisted(self) -> set[RealKey]:
        """The real servers that an earlier process had found down."""
        found = self._found()
        return {
            key_of(service, real)
            for service in self._services
            if service_key(service) in self._made.services and service_key(service) in found
            for real in service.real_servers
            if not _destination(found, service, real.address, real.port)
        }

    def converge(self, services: tuple[ServiceSettings, ...], down: Set[RealKey]) -> Condition:
        """`follow`, then `look`."""
        self.follow(services, down)
        return self.look()

    def follow(self, services: tuple[ServiceSettings, ...], down: Set[RealKey]) -> None:
        """What is wanted from now on: `services` are the settings' with the weights of now; those
        in `down` are out of the table. The next look makes it so."""
        self._wish = services, down

    def explain(self, question: Question) -> tuple[Outcome, RealKey | None]:
        """Raises OSError: the kernel's IPVS cannot be asked."""
        raise OSError(errno.ENOTSUP, "the kernel's IPVS tells nobody what it would do")

    def look(self) -> Condition:
        """Look, decide, act. Idempotent."""
        services, down = self._wish
        self._services = services
        wanted = desired(services, down)
        changes = difference(self._ipvs.state().services, wanted, self._made)
        if changes.messages or changes.made != self._made:
            self._write(self._made | changes.made)  # before: a crash leaves nothing of ours unknown
            try:
                for message in changes.messages:
                    self._ipvs.do(message)
            except IpvsError as error:
                return Condition(False, refusal(error), "")
            self._write(changes.made)
        first, self._first = self._first, False
        reason = "started" if changes.messages else "started: what was there was adopted"
        return Condition(True, "", reason if first else "")

    def carried(self) -> Set[IPAddress]:
        """The addresses that this node has now."""
        return self._netlink.own_addresses()

    def resolved(self) -> bool:
        """The kernel finds the real servers' MACs itself."""
        return True

    def figures(self) -> Figures:
        """As the kernel counts."""
        found = self._found()
        flows: dict[RealKey, tuple[int, int]] = {}
        traffic: dict[RealKey, Traffic] = {}
        for service in self._services:
            for real in service.real_servers:
                row = _destination(found, service, real.address, real.port)
                if row is None:
                    continue
                counters = row.counters
                flows[key_of(service, real)] = (row.load.active, row.load.inactive)
                traffic[key_of(service, real)] = Traffic(
                    counters.in_packets, counters.in_bytes, counters.connections
                )
        live = sum(active + inactive for active, inactive in flows.values())
        return Figures(flows, traffic, REASONS, live, frozenset())

    def listed(self) -> set[RealKey]:
        """The real servers that are in the table."""
        found = self._found()
        return {
            key_of(service, real)
            for service in self._services
            for real in service.real_servers
            if _destination(found, service, real.address, real.port)
        }

    def connections(self, most: int) -> list[Connection]:
        """The kernel's own table."""
        with CONNECTIONS.open() as file:
            return list(islice(connections(file), most))

    def start_sync(self) -> None:
        """The kernel has its own way of it."""

    def sync_status(self) -> dict[str, Any] | None:
        """None: there are no peers of ours."""
        return None

    def close(self) -> None:
        """Forward no more, and leave nothing of ours behind."""
        changes = difference(self._ipvs.state().services, {}, self._made)
        for message in changes.messages:
            with suppress(IpvsError):  # somebody was faster
                self._ipvs.do(message)
        state_file.remove(self._record)
        self.leave()

    def leave(self) -> None:
        """Let go of the sockets; the kernel goes on with what it has."""
        self._ipvs.close()
        self._netlink.close()

    def _found(self) -> Mapping[Any, ServiceRow]:
        return {row.service.key: row for row in self._ipvs.state().services}

    def _write(self, made: Made) -> None:
        if made != self._made:
            state_file.write_atomic(self._record, to_json(made))
            self._made = made


def refusal(error: IpvsError) -> str:
    """In words, with what was asked."""
    message = error.message
    words = [VERBS[message.command.name[:3]]]
    if message.destination is not None:
        words += [end(message.destination.address, message.destination.port), "of"]
    if message.service is not None:
        words += [*name(message.service).split(), message.service.scheduler]
    return f"IPVS refused to {' '.join(words).strip()}: {error.strerror}"


def _destination(
    found: Mapping[Any, ServiceRow], service: ServiceSettings, address: IPAddress, port: int
) -> DestinationRow | None:
    row = found.get(service_key(service))
    for each in row.destinations if row else ():
        if (each.destination.address, each.destination.port) == (address, port):
            return each
    return None
