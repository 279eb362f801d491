"""What keepalived's instances and groups track: interfaces, scripts, files and processes."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from trimaran.stack.blocks import Statement
from trimaran.stack.directives import RefusedError, Walk
from trimaran.stack.files import Files
from trimaran.stack.finding import Path
from trimaran.stack.keepalived_authentication import AuthenticationReader
from trimaran.stack.keepalived_directives import BFD, PROCESS, SCRIPT, TRACK_FILE
from trimaran.stack.keepalived_options import Options
from trimaran.stack.keepalived_values import LONGEST_S, boolean, interface_name, track_options
from trimaran.stack.model import BfdNeighbour, TrackedInterface, TrackedWatch, Tracking, Watch
from trimaran.stack.values import any_address, choice, integer, milliseconds, seconds

T = TypeVar("T")
_MATCHES = {"partial": "partial", "initial": "initial"}
_TRACKED = {"track_script": "vrrp_script", "track_process": "vrrp_track_process",
            "track_file": "track_file", "track_bfd": "bfd_instance"}  # fmt: skip


class TrackingReader(AuthenticationReader):
    """`places` are where the parts of the model stand in the file."""

    def __init__(self, walk: Walk, top: list[Statement], files: Files) -> None:
        super().__init__(walk)
        self.top, self.files = top, files
        self.places: dict[Path, Statement] = {}
        self.globals: Options = {}

    def _named(self, name: str) -> list[Statement]:
        return [statement for statement in self.top if statement.name == name]

    def _again(self, path: Path, statement: Statement) -> None:
        if path in self.places:
            line = self.places[path].place.line
            self.walk.refuse(statement, f"'{path[1]}' is there already, in line {line}")
        self.places[path] = statement

    def _default_interface(self) -> str:
        return self._value(self.globals, "default_interface", interface_name, "eth0")

    def _shared(self, options: Options, name: str, convert: Callable[[str], T], default: T) -> T:
        """An option that has a `vrrp_` form in global_defs."""
        shared = self._value(self.globals, f"vrrp_{name}", convert, default)
        return self._value(options, name, convert, shared)

    def _flag(self, options: Options, *names: str) -> bool:
        """An option that may stand alone or with on/off, here or (the further names) globally."""
        for name, place in [(names[0], options), *((name, self.globals) for name in names)]:
            statement = place.get(name)
            if statement is not None:
                if not statement.arguments:
                    return True
                return self._value(place, name, boolean, True)
        return False

    # tracking

    def _tracking(self, options: Options, interface: str) -> Tracking:
        interfaces: dict[str, TrackedInterface] = {}
        for entry, weight, reverse in self._tracked(options.get("track_interface")):
            if entry.name == interface and not weight and not reverse:
                continue  # dont_track_primary alone decides on that
            interfaces[entry.name] = TrackedInterface(weight=weight or 0, reverse=reverse)
        watches: dict[str, TrackedWatch] = {}
        for option, kind in _TRACKED.items():
            for entry, weight, reverse in self._tracked(options.get(option)):
                own = self._weight_of(kind, entry.name)
                if own is None:
                    self.walk.refuse(entry, f"there is no {kind} of that name")
                    continue
                chosen = own if weight is None else weight
                watches[entry.name] = TrackedWatch(weight=chosen, reverse=reverse)
        own_too = "dont_track_primary" not in options
        return Tracking(
            own_interface=own_too, own_services=False, interfaces=interfaces, watches=watches
        )

    def _tracked(self, statement: Statement | None) -> Iterable[tuple[Statement, int | None, bool]]:
        for entry in statement.block or () if statement else ():
            self.walk.note(entry, "honoured")
            try:
                yield entry, *track_options(entry)
            except RefusedError as error:
                self.walk.refuse(entry, error.message, error.help)

    def _weight_of(self, kind: str, name: str) -> int | None:
        """The weight that a script, process or file gives itself; None: there is none."""
        for statement in self.top:
            if statement.name.removeprefix("vrrp_") == kind.removeprefix("vrrp_"):
                if statement.arguments[:1] != (name,):
                    continue
                for inner in statement.block or ():
                    if inner.name == "weight" and inner.arguments:
                        return int(inner.arguments[0]) if _is_number(inner.arguments[0]) else 0
                return 1 if kind == "track_file" else 0
        return None

    def _watches(self) -> dict[str, Watch]:
        readers = {
            "vrrp_script": self._script,
            "vrrp_track_process": self._process,
            "vrrp_track_file": self._file,
            "track_file": self._file,
            "bfd_instance": self._bfd,
        }
        found: dict[str, Watch] = {}
        for statement in self.top:
            reader = readers.get(statement.name)
            if reader is not None and statement.arguments:
                self._again(("watches", statement.arguments[0]), statement)
                watch = reader(statement)
                if watch is not None:
                    found[statement.arguments[0]] = watch
        return found

    def _script(self, statement: Statement) -> Watch | None:
        options = self._options(statement.block or (), SCRIPT)
        if not self._required(options, "script", statement):
            return None
        interval = self._value(options, "interval", seconds(0.05, LONGEST_S), 1.0)
        user = options.get("user") or self.globals.get("script_user")
        self._value(options, "weight", integer(-253, 253), 0)
        return self._build(
            Watch,
            statement,
            script=_command(options["script"]),
            interval=interval,
            timeout=self._value(options, "timeout", seconds(0.01, LONGEST_S), interval),
            rise=self._value(options, "rise", integer(1, 1000), 1),
            fall=self._value(options, "fall", integer(1, 1000), 1),
            init_fail="init_fail" in options,
            user=user.arguments[0] if user else None,
        )

    def _process(self, statement: Statement) -> Watch | None:
        options = self._options(statement.block or (), PROCESS)
        if not self._required(options, "process", statement):
            return None
        self._value(options, "weight", integer(-253, 253), 0)
        command = _command(options["process"])
        match = self._value(options, "param_match", choice(_MATCHES), None)
        if match is None:
            match = "exact" if command[1:] else "partial"
        elif not command[1:]:
            match = "exact"  # it must have no arguments
        both = self._value(options, "delay", seconds(0, 3600), 0.0)
        most = self._value(options, "quorum_max", integer(0, 65535), None)
        return self._build(
            Watch,
            statement,
            process=command,
            match=match,
            quorum=self._value(options, "quorum", integer(0, 65535), 0 if most == 0 else 1),
            quorum_max=most,
            up_delay=self._value(options, "fork_delay", seconds(0, 3600), both),
            down_delay=self._value(options, "terminate_delay", seconds(0, 3600), both),
        )

    def _file(self, statement: Statement) -> Watch | None:
        options = self._options(statement.block or (), TRACK_FILE)
        if not self._required(options, "file", statement):
            return None
        self._value(options, "weight", integer(-253, 253), 1)
        return self._build(Watch, statement, file=options["file"].arguments[0])

    def _bfd(self, statement: Statement) -> Watch | None:
        options = self._options(statement.block or (), BFD)
        if not self._required(options, "neighbor_ip", statement):
            return None
        self._value(options, "weight", integer(-253, 253), 0)
        source = self._value(options, "source_ip", any_address, None)
        limits = milliseconds(1, 10_000)
        hops = "hoplimit" if "hoplimit" in options else "ttl"
        bfd = self._build(
            BfdNeighbour,
            statement,
            neighbour=options["neighbor_ip"].arguments[0],
            source=source,
            min_rx=self._value(options, "min_rx", limits, 0.01),
            min_tx=self._value(options, "min_tx", limits, 0.01),
            idle_tx=self._value(options, "idle_tx", milliseconds(1000, 10_000), 1.0),
            multiplier=self._value(options, "multiplier", integer(1, 255), 5),
            passive="passive" in options,
            ttl=self._value(options, hops, integer(1, 255), 255),
            max_hops=self._value(options, "max_hops", integer(0, 254), 0),
        )
        return None if bfd is None else self._build(Watch, statement, bfd=bfd)


def _command(statement: Statement) -> tuple[str, ...]:
    return tuple(" ".join(statement.arguments).split())


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdigit()
