"""The kernel's IPVS: its seventeen commands, by generic netlink."""

from dataclasses import replace
from types import TracebackType

from trimaran.director.ipvs import (
    Counters,
    Daemon,
    DestinationRow,
    Info,
    Load,
    Service,
    ServiceKey,
    ServiceRow,
    State,
    Timeouts,
)
from trimaran.director.ipvs_errors import meaning
from trimaran.director.ipvs_wire import FAMILY, Command, Message, decode, encode
from trimaran.system.generic_netlink import GenericNetlink, Wire


class IpvsError(OSError):
    """The kernel refused a change; `strerror` is ipvsadm's word for it."""

    def __init__(self, message: Message, error: OSError) -> None:
        number = error.errno or 0
        super().__init__(number, meaning(message.command, number) or error.strerror)
        self.message = message


class Ipvs:
    """IPVS of one network namespace: the calling thread's, or that of `wire`. Blocking; errors are
    OSErrors with the kernel's number."""

    def __init__(self, wire: Wire | None = None) -> None:
        """Raises NoFamilyError where the kernel has no IPVS."""
        self._netlink = GenericNetlink(FAMILY, wire)

    def close(self) -> None:
        """Close the socket; what was set stays."""
        self._netlink.close()

    def __enter__(self) -> "Ipvs":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def do(self, message: Message) -> None:
        """Carry a change out. Raises IpvsError."""
        try:
            self._netlink.ask(encode(message))
        except OSError as error:
            raise IpvsError(message, error) from error

    def info(self) -> Info:
        """Its version, and its size."""
        (answer,) = self._ask(Message(Command.GET_INFO))
        assert answer.info is not None
        return answer.info

    def services(self) -> list[ServiceRow]:
        """All, in the kernel's order."""
        rows = self._ask(Message(Command.GET_SERVICE), dump=True)
        return [ServiceRow(r.service, r.counters or Counters()) for r in rows if r.service]

    def service(self, key: ServiceKey) -> ServiceRow:
        """One. Raises OSError (ESRCH)."""
        (answer,) = self._ask(Message(Command.GET_SERVICE, Service(key)))
        assert answer.service is not None
        return ServiceRow(answer.service, answer.counters or Counters())

    def destinations(self, key: ServiceKey) -> list[DestinationRow]:
        """A service's, in the kernel's order; none if there is no such service."""
        rows = self._ask(Message(Command.GET_DEST, key=key), dump=True)
        return [
            DestinationRow(r.destination, r.load or Load(), r.counters or Counters())
            for r in rows
            if r.destination
        ]

    def timeouts(self) -> Timeouts:
        """Of connections."""
        (answer,) = self._ask(Message(Command.GET_CONFIG))
        assert answer.timeouts is not None
        return answer.timeouts

    def daemons(self) -> list[Daemon]:
        """The synchronisation daemons that run."""
        rows = self._ask(Message(Command.GET_DAEMON), dump=True)
        return [row.daemon for row in rows if row.daemon]

    def state(self) -> State:
        """All that is listed, without the connections."""
        rows = tuple(
            replace(row, destinations=tuple(self.destinations(row.service.key)))
            for row in self.services()
        )
        return State(self.info(), rows)

    def _ask(self, message: Message, *, dump: bool = False) -> list[Message]:
        return [decode(answer) for answer in self._netlink.ask(encode(message), dump=dump)]
