"""keepalived.conf: text in, a `Stack` of one node out, with a note on every option.

keepalived's defaults hold where the file is silent. The node is named by its router_id (or the old
lvs_id) unless the caller names it; other machines are known by address.
"""

import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from trimaran.stack.balancing import SCHEDULERS, Persistence, parse_granularity
from trimaran.stack.blocks import KEEPALIVED as GRAMMAR
from trimaran.stack.blocks import Statement, parse
from trimaran.stack.directives import RefusedError, Walk, refuse
from trimaran.stack.errors import Problem, StackError
from trimaran.stack.files import Files, NoFiles
from trimaran.stack.keepalived_checks import (
    TIMING,
    CheckReader,
    common_checks,
    single,
    without_scripts,
)
from trimaran.stack.keepalived_directives import (
    GLOBAL,
    KEEPALIVED,
    REAL,
    ROOT,
    SERVICE,
)
from trimaran.stack.keepalived_groups import group_listens
from trimaran.stack.keepalived_instance import InstanceReader
from trimaran.stack.keepalived_method import HELP as _KIND_HELP
from trimaran.stack.keepalived_method import method
from trimaran.stack.keepalived_options import Options
from trimaran.stack.keepalived_text import expand
from trimaran.stack.keepalived_traps import traps
from trimaran.stack.model import Forward, RealServer, Stack, Static, Tunnel, VirtualService
from trimaran.stack.nearest import suggestion
from trimaran.stack.references import find
from trimaran.stack.report import Note
from trimaran.stack.values import any_address, choice, integer, word

Listen = tuple[IPv4Address | IPv6Address, int]

_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_SCHEDULERS = {name: name for name in SCHEDULERS}
_ALGO_HELP = f"one of {', '.join(SCHEDULERS)}"


def read_keepalived(
    text: str, file: str, files: Files | None = None, node: str | None = None
) -> tuple[Stack, list[Note]]:
    """The stack of one node that a keepalived.conf describes, and the notes on its options. Raises
    StackError with every problem found."""
    files = files or NoFiles()
    source, notes = expand(text, file, files, node)
    try:
        statements = parse(source, GRAMMAR)
    except StackError as error:
        raise StackError(error.problems, notes) from None
    return _File(Walk(KEEPALIVED, notes), statements, files, node).read()


def _name(listen: Listen) -> str:
    host, port = listen
    return f"[{host}]:{port}" if host.version == 6 else f"{host}:{port}"


def _granularity(text: str) -> int | None:
    if text.isdigit():
        return integer(1, 128)(text)
    try:
        return int(parse_granularity(text))
    except ValueError as error:
        refuse(str(error))


class _File(InstanceReader):
    def __init__(
        self, walk: Walk, statements: tuple[Statement, ...], files: Files, node: str | None
    ) -> None:
        super().__init__(walk, walk.honoured(statements, ROOT), files)
        self.node = node
        self.checks = CheckReader(walk, statements, files)

    def read(self) -> tuple[Stack, list[Note]]:
        for trap in traps(self.top):
            self.walk.warn(trap.statement.place, trap.statement.name, trap.message)
        blocks = [each for defs in self._named("global_defs") for each in defs.block or ()]
        self.globals = self._options(blocks, GLOBAL)
        if "script_user" in self.globals:
            self.checks.user = ":".join(self.globals["script_user"].arguments)
        name = self._node_name()
        read = [self._instance(each, name) for each in self._named("vrrp_instance")]
        node, instances = self._one_node(name, [each for each in read if each is not None])
        routers = {key: router for key, router, _node in instances}
        groups = dict(filter(None, map(self._sync_group, self._named("vrrp_sync_group"))))
        others = {
            "notify": self._notification(),
            "static": {name: static} if (static := self._static()) != Static() else {},
            "link_delays": self._link_delays(),
            "garp_groups": self._garp_groups(),
        }
        watches = self._watches()
        services = dict(
            found for each in self._named("virtual_server") for found in self._services(each)
        )
        self.walk.finish()
        stack = Stack(
            nodes={name: node},
            virtual_routers=routers,
            sync_groups=groups,
            watches=watches,
            **others,
            virtual_services=services,
        )
        self._check_references(stack)
        self.walk.finish()
        return stack, self.walk.notes()

    # global_defs

    def _node_name(self) -> str:
        router_id = self._value(self.globals, "router_id", word, "")
        if self.node is not None:
            return self.node
        if _NODE_NAME.fullmatch(router_id):
            return router_id
        if router_id:
            statement = self.globals["router_id"]
            self.walk.explain(statement, "not possible as a name of a node: it is called 'node'")
        return "node"

    # virtual_server

    def _services(self, statement: Statement) -> Iterator[tuple[str, VirtualService]]:
        """One, or one for each address of a group. They share their checks; the scripts are run for
        the first alone, as for the one service that they are to keepalived."""
        for place, listen in enumerate(self._listens(statement)):
            found = self._service(statement, listen)
            if found is None:
                return
            name, service = found
            yield name, (without_scripts(service) if place else service)

    def _service(self, statement: Statement, listen: Listen) -> tuple[str, VirtualService] | None:
        before = len(self.walk.problems)
        options = self._options(statement.block or (), SERVICE)
        protocol = self._value(options, "protocol", choice({"tcp": "tcp", "udp": "udp"}), "tcp")
        name = _name(listen) if protocol == "tcp" else f"{_name(listen)}/udp"
        self._again(("virtual_services", name), statement)
        if "lb_kind" not in options:
            message = "has no 'lb_kind', so keepalived's default NAT is meant"
            self.walk.refuse(statement, message, _KIND_HELP)
        self._fixed_values(options)
        servers: dict[str, RealServer] = {}
        for inner in statement.block or ():
            if inner.name == "real_server" and inner.block is not None:
                self._real_server(inner, options, listen, name, servers)
        checks, servers = common_checks(servers, listen[1])
        check, checks = single(checks)
        forward, tunnel = self._method(options) or ("dr", None)
        service = self._build(
            VirtualService,
            statement,
            forward=forward,
            tunnel=tunnel,
            listen=_name(listen),
            protocol=protocol,
            **self._balancing(options, protocol),
            real_servers=servers,
            check=check,
            checks=checks,
            **self._pool(options, listen[1]),
        )
        if service is None or len(self.walk.problems) > before:
            return None
        return name, service

    def _balancing(self, options: Options, protocol: str) -> dict[str, Any]:
        """The scheduler, wlc where nothing is said, and what goes with it. Flags of another one
        and ops without UDP are without effect, as they are to IPVS."""
        scheduler = self._value(options, "lb_algo", choice(_SCHEDULERS, _ALGO_HELP), "wlc")
        flags = []
        for what, number in (("fallback", 1), ("port", 2)):
            for name in (f"sh-{what}", f"mh-{what}", f"flag-{number}"):
                if name not in options:
                    continue
                if scheduler in ("sh", "mh") and name in (f"{scheduler}-{what}", f"flag-{number}"):
                    flags.append(f"{scheduler}-{what}")
                else:
                    message = f"without effect: {scheduler} has no such flag"
                    self.walk.warn(options[name].place, name, message)
        once = "ops" in options
        if once and protocol != "udp":
            self.walk.warn(options["ops"].place, "ops", "without effect: it is for UDP")
        return {
            "scheduler": scheduler,
            "scheduler_flags": tuple(dict.fromkeys(flags)),
            "one_packet": once and protocol == "udp",
            "persistence": self._persistence(options),
        }

    def _persistence(self, options: Options) -> Persistence | None:
        """360 s where no number is given; a granularity alone makes a service persistent too."""
        timeout = options.get("persistence_timeout")
        granularity = self._value(options, "persistence_granularity", _granularity, None)
        if timeout is None and granularity is None:
            return None
        seconds = 360
        if timeout is not None and timeout.arguments:
            seconds = self._value(options, "persistence_timeout", integer(1, 31 * 86400), 360)
        return Persistence(timeout=seconds, granularity=granularity)

    def _fixed_values(self, options: Options) -> None:
        """What can only be as it is."""
        self._value(options, "ip_family", choice({"inet": "inet", "inet6": "inet6"}), "inet")
        for name, convert in TIMING.items():
            self._value(options, name, convert, 0.0)

    def _pool(self, options: Options, port: int) -> dict[str, Any]:
        """The rules for the real servers together."""
        sorry = options.get("sorry_server")
        own, sorrys = (self._method(options, n) for n in ("lb_kind", "sorry_server_lvs_method"))
        if sorrys is not None and sorrys != own:
            help_ = "give the sorry server the service's own method"
            self.walk.refuse(options["sorry_server_lvs_method"], "differs from lvs_method", help_)
        return {
            "inhibit_on_failure": self.checks.flag(options, "inhibit_on_failure"),
            "quorum": self._value(options, "quorum", integer(0, 10**9), 1),
            "hysteresis": self._value(options, "hysteresis", integer(0, 10**9), 0),
            "quorum_up": self.checks.script(options, "quorum_up"),
            "quorum_down": self.checks.script(options, "quorum_down"),
            "sorry_server": ":".join(sorry.arguments) if sorry else None,
            "sorry_server_inhibit": self.checks.flag(options, "sorry_server_inhibit"),
            "omega": self.checks.flag(options, "omega"),
            "ha_suspend": self.checks.flag(options, "ha_suspend"),
        }

    def _method(
        self, options: Options, name: str = "lb_kind"
    ) -> tuple[Forward, Tunnel | None] | None:
        """None where it is not said."""
        if name not in options:
            return None
        try:
            return method(options[name].arguments)
        except RefusedError as error:
            self.walk.refuse(options[name], error.message, error.help)
            return None

    def _listens(self, statement: Statement) -> Sequence[Listen]:
        first, *rest = statement.arguments
        try:
            if first == "fwmark":
                refuse("by fwmark is not supported yet", "write `virtual_server ADDRESS PORT`")
            if first == "group":
                return self._group(rest[0] if rest else "")
            return [(any_address(first), integer(0, 65535)(rest[0]) if rest else 0)]
        except RefusedError as error:
            self.walk.refuse(statement, error.message, error.help)
            return []

    def _group(self, name: str) -> Sequence[Listen]:
        groups = {each.arguments[0]: each for each in self._named("virtual_server_group")}
        if name not in groups:
            refuse(f"there is no virtual_server_group '{name}'", suggestion(name, groups))
        found = group_listens(groups[name], self.walk)
        if not found and not self.walk.problems:
            refuse(f"the group '{name}' holds no address")
        return found

    def _real_server(
        self,
        statement: Statement,
        service: Options,
        listen: Listen,
        name: str,
        servers: dict[str, RealServer],
    ) -> None:
        options = self._options(statement.block or (), REAL)
        try:
            host = any_address(statement.arguments[0])
            port = integer(0, 65535)(statement.arguments[1]) if statement.arguments[1:] else None
            if port not in (None, listen[1]):
                help_ = "direct routing (DR) cannot change the port"
                refuse(f"port {port} differs from the service's port {listen[1]}", help_)
            key = str(host) if port is None else _name((host, port))
            if key in servers:
                refuse("is there already")
        except (RefusedError, IndexError) as error:
            message = error.message if isinstance(error, RefusedError) else "needs an address"
            help_ = error.help if isinstance(error, RefusedError) else ""
            self.walk.refuse(statement, message, help_)
            return
        self.places["virtual_services", name, "real_servers", key] = statement
        forward, tunnel = self._method(options) or (None, None)
        servers[key] = RealServer(
            forward=forward,
            tunnel=tunnel,
            weight=self._value(options, "weight", integer(0, 65535), 1),
            upper_threshold=self._value(options, "uthreshold", integer(0, 2**31 - 1), 0),
            lower_threshold=self._value(options, "lthreshold", integer(0, 2**31 - 1), 0),
            checks=self.checks.checks(statement, {**service, **options}),
            inhibit_on_failure=self.checks.flag(options, "inhibit_on_failure")
            if "inhibit_on_failure" in options
            else None,
            notify_up=self.checks.script(options, "notify_up"),
            notify_down=self.checks.script(options, "notify_down"),
        )

    def _check_references(self, stack: Stack) -> None:
        for finding in find(stack):
            path = finding.path
            while path and path not in self.places:
                path = path[:-1]
            statement = self.places.get(path)
            if statement is None:
                continue
            if finding.fatal:
                problem = Problem(statement.place, finding.message, finding.help)
                self.walk.problems.append(problem)
            elif "8 bytes" not in finding.message:  # said already, where the password stands
                self.walk.warn(statement.place, statement.name, finding.message)
