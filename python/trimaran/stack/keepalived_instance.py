"""A vrrp_instance of keepalived.conf."""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface
from typing import Any, TypeVar

from pydantic import IPvAnyAddress

from trimaran.stack.blocks import Statement
from trimaran.stack.directives import RefusedError, refuse
from trimaran.stack.keepalived_belongings import BelongingsReader
from trimaran.stack.keepalived_directives import (
    INSTANCE,
)
from trimaran.stack.keepalived_options import Options
from trimaran.stack.keepalived_values import (
    LONGEST_S,
    advert_interval,
    initial_state,
    interface_name,
    multicast_group,
    spoken_version,
)
from trimaran.stack.model import (
    GratuitousArp,
    Node,
    Unicast,
    UnicastPeer,
    VirtualRouter,
)
from trimaran.stack.values import any_address, integer, seconds

T = TypeVar("T")
Instance = tuple[str, VirtualRouter, Node]
_TRACKED = {"track_script": "vrrp_script", "track_process": "vrrp_track_process",
            "track_file": "track_file"}  # fmt: skip


class InstanceReader(BelongingsReader):
    """Reads the VRRP part; the values of global_defs count where an instance is silent."""

    def _instance(self, statement: Statement, node: str) -> Instance | None:
        name = statement.arguments[0]
        before = len(self.walk.problems)
        options = self._options(statement.block or (), INSTANCE)
        self._again(("virtual_routers", name), statement)
        interface = self._value(options, "interface", interface_name, self._default_interface())
        if "default_interface" not in self.globals:
            self._required(options, "interface", statement)
        self._required(options, "virtual_router_id", statement)
        carried = self._split(statement, options, interface)
        ipv6 = carried["addresses"][0].version == 6
        router_id = self._value(options, "virtual_router_id", integer(1, 255), 1)
        state = self._value(options, "state", initial_state, "backup")
        preempt = "preempt" not in options or options["preempt"].name == "preempt"
        if not preempt and state == "master":
            message = "with `state MASTER` keepalived ignores this; here it holds: use state BACKUP"
            self.walk.explain(options["preempt"], message)
        version = self._version(options, ipv6)
        router = self._build(
            VirtualRouter,
            statement,
            router_id=router_id,
            version=version,
            **carried,
            **self._belongings(options, router_id, ipv6),
            advert_interval=self._advert_interval(options, version, ipv6),
            down_adverts=self._shared(options, "down_timer_adverts", integer(1, 100), 3),
            start_delay=self._value(self.globals, "vrrp_startup_delay", seconds(0, LONGEST_S), 0.0),
            authentication=self._authenticates(options, ipv6),
            preempt=preempt,
            preempt_delay=self._value(options, "preempt_delay", seconds(0, 1000), 0.0),
            answer_weaker=not self._flag(options, "lower_prio_no_advert"),
            unicast=self._unicast(options),
            checksum=self._checksum(options),
            gratuitous_arp=self._gratuitous_arp(options),
            track=self._tracking(options, interface),
            notify=self._notify(options),
            members={node: self._priority(options, state)},
        )
        source = self._source(options)
        if router is None or len(self.walk.problems) > before:
            return None
        if source is not None and source.version == 6:
            router = router.model_copy(update={"sources": {node: source}})
        own = source if isinstance(source, IPv4Address) else None
        return name, router, Node(interface=interface, address=own)

    def _one_node(self, name: str, instances: list[Instance]) -> tuple[Node, list[Instance]]:
        """The node that the instances are on; what differs from it stays with the instance."""
        nodes = [node for _, _, node in instances]
        if not nodes:
            return Node(interface=self._default_interface()), []
        first = nodes[0].interface
        own = nodes[0].address if len({each.address for each in nodes}) == 1 else None
        found = []
        for key, router, node in instances:
            update: dict[str, Any] = {}
            if node.interface != first:
                update["interfaces"] = {name: node.interface}
            if node.address is not None and own is None:
                update["sources"] = {name: node.address}
            found.append((key, router.model_copy(update=update), node))
        return Node(interface=first, address=own), found

    # addresses and the wire

    def _split(self, statement: Statement, options: Options, interface: str) -> dict[str, Any]:
        """What is advertised, of one family, what is carried besides, and where else."""
        nothing = {"addresses": (IPv4Interface("0.0.0.0"),)}
        if not self._required(options, "virtual_ipaddress", statement):
            return nothing
        listed, devices = self._addresses(options["virtual_ipaddress"], interface)
        if not listed:
            if not self.walk.problems:
                self.walk.refuse(options["virtual_ipaddress"], "holds no address")
            return nothing
        excluded = options.get("virtual_ipaddress_excluded")
        besides, others = self._addresses(excluded, interface) if excluded else ([], {})
        same = [each for each in listed if each.version == listed[0].version]
        rest = [each for each in listed if each not in same] + besides
        return {
            "addresses": tuple(same),
            "unadvertised": tuple(rest),
            "devices": devices | others,
        }

    def _version(self, options: Options, ipv6: bool) -> int | None:
        """None: the family's own. keepalived speaks version 3 on IPv6 whatever is written."""
        for name in ("vrrp_mcast_group4", "vrrp_mcast_group6"):
            self._value(self.globals, name, multicast_group, "")
        self._value(options, "mcast_dst_ip", multicast_group, "")
        shared = self._value(self.globals, "vrrp_version", spoken_version, None)
        version = self._value(options, "version", spoken_version, shared)
        if version == 2 and ipv6:
            if "version" in options:
                self.walk.explain(options["version"], "IPv6 is spoken by version 3 alone")
            return None
        return version if version == 3 else None

    def _advert_interval(self, options: Options, version: int | None, ipv6: bool) -> float:
        convert = advert_interval(3 if version == 3 or ipv6 else 2)
        return self._value(options, "advert_int", convert, 1.0)

    def _source(self, options: Options) -> IPvAnyAddress | None:
        multicast = self._value(options, "mcast_src_ip", any_address, None)
        return self._value(options, "unicast_src_ip", any_address, multicast)

    def _checksum(self, options: Options) -> str:
        if self._flag(options, "v3_checksum_as_v2"):
            return "message"
        old = options.get("old_unicast_checksum")
        return "group" if old is not None and not old.arguments else "pseudo_header"

    def _unicast(self, options: Options) -> Unicast | None:
        statement = options.get("unicast_peer")
        if statement is None:
            return None
        peers: dict[Any, UnicastPeer] = {}
        if not statement.block:
            self.walk.refuse(statement, "names no peer")
        for entry in statement.block or ():
            self.walk.note(entry, "honoured")
            try:
                peers[any_address(entry.name)] = _peer(entry.arguments)
            except RefusedError as error:
                self.walk.refuse(entry, error.message, error.help)
        return Unicast(
            peers=peers,
            ttl=self._value(options, "unicast_ttl", integer(1, 255), 255),
            check_source=self._flag(options, "check_unicast_src", "vrrp_check_unicast_src"),
        )

    def _priority(self, options: Options, state: str) -> int:
        if "priority" not in options and state == "master":
            return 255
        return self._value(options, "priority", integer(1, 255), 100)

    def _gratuitous_arp(self, options: Options) -> GratuitousArp:
        def garp(name: str, convert: Callable[[str], T], default: T) -> T:
            return self._shared(options, name, convert, default)

        few = self._flag(self.globals, "vrrp_min_garp")  # one after each change, and no more
        refresh = garp("garp_master_refresh", seconds(0, LONGEST_S), 0.0)
        extra = self._extra_interfaces(options)
        return GratuitousArp(
            repeat=garp("garp_master_repeat", integer(1, 100), 1 if few else 5),
            delay=garp("garp_master_delay", seconds(0, LONGEST_S), 0.0 if few else 5.0),
            refresh=min(each for each in (refresh, extra) if each) if refresh or extra else 0.0,
            refresh_repeat=garp("garp_master_refresh_repeat", integer(1, 100), 1),
            weaker_repeat=garp("garp_lower_prio_repeat", integer(0, 100), None),
            weaker_delay=garp("garp_lower_prio_delay", seconds(0, LONGEST_S), None),
            interval=max(
                garp("garp_interval", seconds(0, 1), 0.0), garp("gna_interval", seconds(0, 1), 0.0)
            ),
        )

    def _extra_interfaces(self, options: Options) -> float:
        """`garp_extra_if [all] SECONDS`: every address is announced wherever it is carried, so it
        is one more refresh."""
        statement = options.get("garp_extra_if") or self.globals.get("vrrp_garp_extra_if")
        if statement is None:
            return 0.0
        number = [each for each in statement.arguments if each != "all"][:1]
        try:
            return seconds(0, LONGEST_S)(number[0]) if number else 0.0
        except RefusedError as error:
            self.walk.refuse(statement, error.message, error.help)
            return 0.0


def _peer(words: tuple[str, ...]) -> UnicastPeer:
    limits = dict(zip(words[::2], words[1::2], strict=False))
    if len(words) % 2 or not limits.keys() <= {"min_ttl", "max_ttl"}:
        refuse("takes an address, and min_ttl and max_ttl with a number each")
    return UnicastPeer(**{name: integer(0, 255)(text) for name, text in limits.items()})
