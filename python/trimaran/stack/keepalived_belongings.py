"""What a keepalived instance carries besides plain addresses, and what is static: other interfaces,
virtual MACs, routes, rules, delays and the pace of announcements."""

from collections.abc import Callable
from typing import Any

from pydantic import IPvAnyInterface

from trimaran.stack.blocks import Statement
from trimaran.stack.directives import RefusedError
from trimaran.stack.keepalived_directives import GARP_GROUP
from trimaran.stack.keepalived_notify import NotifyReader
from trimaran.stack.keepalived_options import Options
from trimaran.stack.keepalived_values import address_options, interface_name
from trimaran.stack.model import GarpGroup, LinkDelays, Static, Vmac
from trimaran.stack.routes import parse_route, parse_rule
from trimaran.stack.values import any_interface, seconds

LARGEST_PREFIX = 8  # characters of a prefix of names of virtual MACs


class BelongingsReader(NotifyReader):
    """Reads all that."""

    def _belongings(self, options: Options, router_id: int, ipv6: bool) -> dict[str, Any]:
        accept = "no_accept" not in options
        return {
            "accept": accept,
            "vmac": self._vmac(options, router_id, ipv6),
            "routes": self._lines(options.get("virtual_routes"), parse_route),
            "rules": self._lines(options.get("virtual_rules"), parse_rule),
            "promote_secondaries": "promote_secondaries" in options,
        }

    def _vmac(self, options: Options, router_id: int, ipv6: bool) -> Vmac | None:
        statement = options.get("use_vmac")
        if statement is None:
            if "vmac_xmit_base" in options:
                self.walk.explain(options["vmac_xmit_base"], "nothing without use_vmac")
            return None
        prefix = self._value(self.globals, "vmac_prefix", interface_name, "vrrp")
        name = f"{prefix}{'6' if ipv6 and prefix == 'vrrp' else ''}.{router_id}"
        mac = None
        for text in statement.arguments:
            if text.count(":") == 4:
                text = f"{text}:{router_id:02x}"
            if ":" in text:
                mac = ":".join(part.zfill(2) for part in text.split(":"))
            elif text in ("netlink_notify_msg", "group"):
                self.walk.explain(statement, f"{text} has no effect")
            else:
                name = text
        base = "vmac_xmit_base" in options
        return self._build(Vmac, statement, name=name[:15], mac=mac, transmit_base=base)

    def _lines(
        self, block: Statement | None, parse: Callable[[list[str]], object]
    ) -> tuple[str, ...]:
        found = []
        for entry in (block.block or ()) if block else ():
            self.walk.note(entry, "honoured")
            words = [entry.name, *entry.arguments]
            try:
                parse(words)
            except ValueError as error:
                self.walk.refuse(entry, str(error))
            else:
                found.append(" ".join(words))
        return tuple(found)

    def _addresses(
        self, block: Statement, interface: str
    ) -> tuple[list[IPvAnyInterface], dict[IPvAnyInterface, str]]:
        """The addresses of a block, and the interfaces that carry them instead of `interface`."""
        found: list[IPvAnyInterface] = []
        devices: dict[IPvAnyInterface, str] = {}
        for entry in block.block or ():
            self.walk.note(entry, "honoured")
            try:
                address = any_interface(entry.name)
                device, idle = address_options(entry)
            except RefusedError as error:
                self.walk.refuse(entry, error.message, error.help)
                continue
            found.append(address)
            if device is not None and device != interface:
                devices[address] = device
            if idle:
                self.walk.note(entry, "no effect", f"{', '.join(idle)}; the address is honoured")
        return found, devices

    def _static(self) -> Static:
        addresses: dict[str, list[IPvAnyInterface]] = {}
        default = self._default_interface()
        for block in self._named("static_ipaddress"):
            listed, devices = self._addresses(block, default)
            for each in listed:
                addresses.setdefault(devices.get(each, default), []).append(each)
        routes = [line for block in self._named("static_routes")
                  for line in self._lines(block, parse_route)]  # fmt: skip
        rules = [line for block in self._named("static_rules")
                 for line in self._lines(block, parse_rule)]  # fmt: skip
        grouped = {name: tuple(listed) for name, listed in addresses.items()}
        return Static(addresses=grouped, routes=tuple(routes), rules=tuple(rules))

    def _link_delays(self) -> dict[str, LinkDelays]:
        """`interface down [up]`."""
        found = {}
        for block in self._named("interface_up_down_delays"):
            for entry in block.block or ():
                self.walk.note(entry, "honoured")
                try:
                    down, up = (*map(seconds(0, 255), entry.arguments[:2]), 0.0, 0.0)[:2]
                    if len(entry.arguments) == 1:
                        up = down
                except RefusedError as error:
                    self.walk.refuse(entry, error.message, error.help)
                    continue
                found[entry.name] = LinkDelays(down=down, up=up)
        return found

    def _garp_groups(self) -> dict[str, GarpGroup]:
        found: dict[str, GarpGroup] = {}
        for number, block in enumerate(self._named("garp_group"), 1):
            options = self._options(block.block or (), GARP_GROUP)
            interval = max(
                self._value(options, name, seconds(0, 1), 0.0)
                for name in ("garp_interval", "gna_interval")
            )
            names = list(options["interface"].arguments) if "interface" in options else []
            several = options.get("interfaces")
            for entry in (several.block or ()) if several else ():
                self.walk.note(entry, "honoured")
                names += [entry.name, *entry.arguments]
            if not interval or not names:
                self.walk.explain(block, "names no interval, or no interface: nothing is paced")
                continue
            group = self._build(GarpGroup, block, interval=interval, interfaces=tuple(names))
            found |= {f"group{number}": group} if group else {}
        return found
