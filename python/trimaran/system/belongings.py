"""Routes and routing rules that come and go with virtual addresses, through pyroute2.

They carry a protocol number of their own (that of keepalived), by which they are found again."""

import errno
import socket
from contextlib import suppress

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from trimaran.system.netlink import NetworkError
from trimaran.vrrp.settings import Belongings, RouteSettings, RuleSettings

PROTOCOL = 18  # RTPROT_KEEPALIVED
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_ACTIONS = {"lookup": "to_tbl", "blackhole": "blackhole", "unreachable": "unreachable",
            "prohibit": "prohibit"}  # fmt: skip
_ABSENT = {errno.ESRCH, errno.ENOENT, errno.ENODEV, errno.EADDRNOTAVAIL}
_ONLINK = 4


class BelongingsKeeper:
    """One rtnetlink socket in the namespace of the calling thread."""

    def __init__(self) -> None:
        self._route = IPRoute()

    def put(self, belongings: Belongings) -> None:
        """Add everything; idempotent. Raises NetworkError for the first that is refused, after the
        others have been tried."""
        refused: list[NetworkError] = []
        for route in belongings.routes:
            self._try("replace", route, refused)
        for rule in belongings.rules:
            self._try("add", rule, refused)
        if refused:
            raise refused[0]

    def take(self, belongings: Belongings) -> None:
        """Remove everything that is there. Raises NetworkError as above."""
        refused: list[NetworkError] = []
        for rule in belongings.rules:
            self._try("del", rule, refused)
        for route in belongings.routes:
            self._try("del", route, refused)
        if refused:
            raise refused[0]

    def close(self) -> None:
        """Close the socket."""
        self._route.close()

    def _try(
        self, verb: str, what: RouteSettings | RuleSettings, refused: list[NetworkError]
    ) -> None:
        try:
            if isinstance(what, RuleSettings):
                self._route.rule(verb, **_rule(what))
            else:
                self._route.route(verb, **self._request(what))
        except NetlinkError as error:
            if error.code == errno.EEXIST or (verb == "del" and error.code in _ABSENT):
                return
            kind = "rule" if isinstance(what, RuleSettings) else "route"
            said = f"cannot {verb} {kind} {what.text}: {error}"
            refused.append(NetworkError(error.code, said))
        except NetworkError as error:
            if verb != "del":
                refused.append(error)

    def _request(self, route: RouteSettings) -> dict[str, object]:
        wanted: dict[str, object] = {
            "family": _FAMILY[route.family],
            "dst": "default" if route.destination is None else str(route.destination.network),
            "table": route.table,
            "proto": PROTOCOL,
            "type": route.kind,
            "priority": route.metric,
            "gateway": None if route.gateway is None else str(route.gateway),
            "prefsrc": None if route.source is None else str(route.source),
            "scope": route.scope,
        }
        if route.device is not None:
            index = self._route.link_lookup(ifname=route.device)
            if not index:
                said = f"cannot add route {route.text}: there is no interface {route.device}"
                raise NetworkError(errno.ENODEV, said)
            wanted["oif"] = index[0]
        if route.mtu is not None:
            wanted["metrics"] = {"mtu": route.mtu}
        if route.onlink:
            wanted["flags"] = _ONLINK
        return {key: value for key, value in wanted.items() if value is not None}

    def forget_leftovers(self, belongings: Belongings) -> None:
        """Remove what a killed process of ours left."""
        with suppress(NetworkError):
            self.take(belongings)


def _rule(rule: RuleSettings) -> dict[str, object]:
    wanted: dict[str, object] = {
        "family": _FAMILY[rule.family],
        "action": _ACTIONS[rule.action],
        "table": rule.table if rule.action == "lookup" else None,
        "priority": rule.preference,
        "fwmark": rule.mark,
        "iifname": rule.incoming,
        "oifname": rule.outgoing,
        "protocol": PROTOCOL,
    }
    if rule.source is not None:
        wanted |= {"src": str(rule.source.ip), "src_len": rule.source.network.prefixlen}
    if rule.destination is not None:
        wanted |= {"dst": str(rule.destination.ip), "dst_len": rule.destination.network.prefixlen}
    return {key: value for key, value in wanted.items() if value is not None}
