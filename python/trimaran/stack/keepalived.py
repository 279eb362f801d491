"""keepalived.conf: text in, a `Stack` of one node out, with a note on every option.

keepalived's defaults hold where the file is silent. The node is named by its router_id (or the old
lvs_id) unless the caller names it; other machines are known by address.
"""

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr

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
)
from trimaran.stack.keepalived_directives import (
    AUTHENTICATION,
    GLOBAL,
    INSTANCE,
    KEEPALIVED,
    REAL,
    ROOT,
    SERVICE,
)
from trimaran.stack.keepalived_options import OptionReader, Options
from trimaran.stack.keepalived_text import expand
from trimaran.stack.keepalived_values import (
    LONGEST_S,
    address_options,
    advert_interval,
    auth_type,
    initial_state,
    interface_name,
    multicast_group,
    spoken_version,
    three_adverts,
)
from trimaran.stack.model import (
    GratuitousArp,
    Node,
    PassAuthentication,
    RealServer,
    Stack,
    VirtualRouter,
    VirtualService,
)
from trimaran.stack.references import Path, find
from trimaran.stack.report import Note
from trimaran.stack.values import (
    address,
    choice,
    integer,
    interface_address,
    ip,
    seconds,
    word,
)

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Listen = tuple[IPv4Address | IPv6Address, int]

_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_SCHEDULERS = {"rr": "rr", "wrr": "wrr"}
_KIND_HELP = "today the director forwards by DR only: write `lb_kind DR`"
_ALGO_HELP = "today there are rr and wrr: write `lb_algo wrr`"


def read_keepalived(
    text: str, file: str, files: Files | None = None, node: str | None = None
) -> tuple[Stack, list[Note]]:
    """The stack of one node that a keepalived.conf describes, and the notes on its options. Raises
    StackError with every problem found."""
    files = files or NoFiles()
    source, notes = expand(text, file, files)
    try:
        statements = parse(source, GRAMMAR)
    except StackError as error:
        raise StackError(error.problems, notes) from None
    return _File(Walk(KEEPALIVED, notes), statements, files, node).read()


def _name(listen: Listen) -> str:
    host, port = listen
    return f"[{host}]:{port}" if host.version == 6 else f"{host}:{port}"


class _File(OptionReader):
    def __init__(
        self, walk: Walk, statements: tuple[Statement, ...], files: Files, node: str | None
    ) -> None:
        super().__init__(walk)
        self.node = node
        self.top = walk.honoured(statements, ROOT)
        self.places: dict[Path, Statement] = {}
        self.globals: Options = {}
        self.checks = CheckReader(walk, statements, files)

    def read(self) -> tuple[Stack, list[Note]]:
        blocks = [each for defs in self._named("global_defs") for each in defs.block or ()]
        self.globals = self._options(blocks, GLOBAL)
        self._global_values()
        name = self._node_name()
        instances = [self._instance(each, name) for each in self._named("vrrp_instance")]
        routers = {key: router for key, router, _node in filter(None, instances)}
        nodes = [node for _key, _router, node in filter(None, instances)]
        services = dict(filter(None, map(self._service, self._named("virtual_server"))))
        self._one_interface(nodes)
        node = next(iter(nodes), Node(interface=self._default_interface()))
        self.walk.finish()
        stack = Stack(nodes={name: node}, virtual_routers=routers, virtual_services=services)
        self._check_references(stack)
        self.walk.finish()
        return stack, self.walk.notes()

    # reading options

    def _named(self, name: str) -> list[Statement]:
        return [statement for statement in self.top if statement.name == name]

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

    def _default_interface(self) -> str:
        return self._value(self.globals, "default_interface", interface_name, "eth0")

    def _global_values(self) -> None:
        """What can only be as it is."""
        self._value(self.globals, "vrrp_version", spoken_version, 2)
        self._value(self.globals, "vrrp_mcast_group4", multicast_group, "")
        self._value(self.globals, "vrrp_down_timer_adverts", three_adverts, 3)

    # vrrp_instance

    def _instance(self, statement: Statement, node: str) -> tuple[str, VirtualRouter, Node] | None:
        name = statement.arguments[0]
        before = len(self.walk.problems)
        options = self._options(statement.block or (), INSTANCE)
        self._again(("virtual_routers", name), statement)
        interface = self._value(options, "interface", interface_name, self._default_interface())
        if "default_interface" not in self.globals:
            self._required(options, "interface", statement)
        self._required(options, "virtual_router_id", statement)
        addresses = self._addresses(statement, options, interface)
        self._value(options, "version", spoken_version, 2)
        self._value(options, "mcast_dst_ip", multicast_group, "")
        self._value(options, "down_timer_adverts", three_adverts, 3)
        self._tracked(options, interface)
        state = self._value(options, "state", initial_state, "backup")
        priority = self._priority(options, state)
        preempt = "preempt" not in options or options["preempt"].name == "preempt"
        if not preempt and state == "master":
            message = "with `state MASTER` keepalived ignores this; here it holds: use state BACKUP"
            self.walk.explain(options["preempt"], message)
        router = self._build(
            VirtualRouter,
            statement,
            router_id=self._value(options, "virtual_router_id", integer(1, 255), 1),
            addresses=addresses or (IPv4Interface("0.0.0.0"),),
            advert_interval=self._value(options, "advert_int", advert_interval, 1.0),
            authentication=self._authentication(options),
            preempt=preempt,
            preempt_delay=self._value(options, "preempt_delay", seconds(0, 1000), 0.0),
            gratuitous_arp=self._gratuitous_arp(options),
            members={node: priority},
        )
        source = self._value(options, "mcast_src_ip", address, None)
        if router is None or len(self.walk.problems) > before:
            return None
        return name, router, Node(interface=interface, address=source)

    def _again(self, path: Path, statement: Statement) -> None:
        if path in self.places:
            line = self.places[path].place.line
            self.walk.refuse(statement, f"'{path[1]}' is there already, in line {line}")
        self.places[path] = statement

    def _priority(self, options: Options, state: str) -> int:
        if "priority" not in options and state == "master":
            return 255
        return self._value(options, "priority", integer(1, 255), 100)

    def _addresses(
        self, statement: Statement, options: Options, interface: str
    ) -> tuple[IPv4Interface, ...]:
        if not self._required(options, "virtual_ipaddress", statement):
            return ()
        found: list[IPv4Interface] = []
        for entry in options["virtual_ipaddress"].block or ():
            self.walk.note(entry, "honoured")
            try:
                found.append(interface_address(entry.name))
                idle = address_options(entry, interface)
            except RefusedError as error:
                self.walk.refuse(entry, error.message, error.help)
                continue
            if idle:
                self.walk.note(entry, "no effect", f"{', '.join(idle)}; the address is honoured")
        if not found and not self.walk.problems:
            self.walk.refuse(options["virtual_ipaddress"], "holds no address")
        return tuple(found)

    def _tracked(self, options: Options, interface: str) -> None:
        statement = options.get("track_interface")
        for entry in statement.block or () if statement else ():
            self.walk.note(entry, "honoured")
            if entry.name != interface or entry.arguments:
                help_ = f"only the instance's own interface {interface} is tracked, without weight"
                self.walk.refuse(entry, "cannot be tracked yet", help_)

    def _authentication(self, options: Options) -> PassAuthentication | None:
        statement = options.get("authentication")
        if statement is None:
            return None
        inner = self._options(statement.block or (), AUTHENTICATION)
        self._value(inner, "auth_type", auth_type, "pass")
        if not self._required(inner, "auth_type", statement):
            return None
        if not self._required(inner, "auth_pass", statement):
            return None
        password = inner["auth_pass"].arguments[0]
        if not password:
            self.walk.refuse(inner["auth_pass"], "is empty")
        if len(password.encode(errors="surrogateescape")) > 8:
            message = (
                "longer than 8 bytes: only the first 8 are used, as VRRPv2 has no room for more"
            )
            self.walk.warn(inner["auth_pass"].place, "auth_pass", message)
        return PassAuthentication(type="pass", password=SecretStr(password))

    def _gratuitous_arp(self, options: Options) -> GratuitousArp:
        def garp(name: str, convert: Callable[[str], T], default: T) -> T:
            shared = self._value(self.globals, f"vrrp_{name}", convert, default)
            return self._value(options, name, convert, shared)

        return GratuitousArp(
            repeat=garp("garp_master_repeat", integer(1, 100), 5),
            delay=garp("garp_master_delay", seconds(0, LONGEST_S), 5.0),
            refresh=garp("garp_master_refresh", seconds(0, LONGEST_S), 0.0),
            refresh_repeat=garp("garp_master_refresh_repeat", integer(1, 100), 1),
        )

    def _one_interface(self, nodes: list[Node]) -> None:
        """A node of the model has one interface (and one source address)."""
        for statement, node in zip(self._named("vrrp_instance"), nodes, strict=False):
            if node != nodes[0]:
                message = "is on another interface, or has another source address, than the first"
                self.walk.refuse(statement, message, "a node has one interface for now")

    # virtual_server

    def _service(self, statement: Statement) -> tuple[str, VirtualService] | None:
        before = len(self.walk.problems)
        options = self._options(statement.block or (), SERVICE)
        listen = self._listen(statement)
        if listen is None:
            return None
        protocol = self._value(options, "protocol", choice({"tcp": "tcp", "udp": "udp"}), "tcp")
        name = _name(listen) if protocol == "tcp" else f"{_name(listen)}/udp"
        self._again(("virtual_services", name), statement)
        for option, help_ in (("lb_kind", _KIND_HELP), ("lb_algo", _ALGO_HELP)):
            if option not in options:
                default = "NAT" if option == "lb_kind" else "wlc"
                message = f"has no '{option}', so keepalived's default {default} is meant"
                self.walk.refuse(statement, message, help_)
        self._fixed_values(options)
        servers: dict[str, RealServer] = {}
        for inner in statement.block or ():
            if inner.name == "real_server" and inner.block is not None:
                self._real_server(inner, options, listen, name, servers)
        checks, servers = common_checks(servers, listen[1])
        check, checks = single(checks)
        service = self._build(
            VirtualService,
            statement,
            listen=_name(listen),
            protocol=protocol,
            scheduler=self._value(options, "lb_algo", choice(_SCHEDULERS, _ALGO_HELP), "rr"),
            real_servers=servers,
            check=check,
            checks=checks,
            **self._pool(options, listen[1]),
        )
        if service is None or len(self.walk.problems) > before:
            return None
        return name, service

    def _fixed_values(self, options: Options) -> None:
        """What can only be as it is."""
        self._value(options, "lb_kind", choice({"dr": "dr"}, _KIND_HELP), "dr")
        self._value(options, "ip_family", choice({"inet": "inet", "inet6": "inet6"}), "inet")
        for name, convert in TIMING.items():
            self._value(options, name, convert, 0.0)

    def _pool(self, options: Options, port: int) -> dict[str, Any]:
        """The rules for the real servers together."""
        sorry = options.get("sorry_server")
        self._value(options, "sorry_server_lvs_method", choice({"dr": "dr"}, _KIND_HELP), "dr")
        return {
            "inhibit_on_failure": self.checks.flag(options, "inhibit_on_failure"),
            "quorum": self._value(options, "quorum", integer(0, 10**9), 1),
            "hysteresis": self._value(options, "hysteresis", integer(0, 10**9), 0),
            "quorum_up": self.checks.script(options, "quorum_up"),
            "quorum_down": self.checks.script(options, "quorum_down"),
            "sorry_server": ":".join(sorry.arguments) if sorry else None,
            "sorry_server_inhibit": self.checks.flag(options, "sorry_server_inhibit"),
            "omega": self.checks.flag(options, "omega"),
        }

    def _listen(self, statement: Statement) -> Listen | None:
        first, *rest = statement.arguments
        try:
            if first in ("group", "fwmark"):
                refuse(f"by {first} is not supported yet", "write `virtual_server ADDRESS PORT`")
            return ip(first), integer(0, 65535)(rest[0]) if rest else 0
        except RefusedError as error:
            self.walk.refuse(statement, error.message, error.help)
            return None

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
            host = ip(statement.arguments[0])
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
        self._value(options, "lb_kind", choice({"dr": "dr"}, _KIND_HELP), "dr")
        servers[key] = RealServer(
            weight=self._value(options, "weight", integer(0, 65535), 1),
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
