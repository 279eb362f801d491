"""Links, addresses, routes and neighbours, through pyroute2: typed calls, and only tested ones."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, ip_address, ip_interface
from types import TracebackType

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from trimaran.vrrp.address import Address, Interface

_FOREVER = 0xFFFFFFFF
_SCOPES = {"global": 0, "link": 253, "host": 254}
IFF_UP = 0x1
IFF_LOWER_UP = 0x10000  # the driver's carrier
_MAIN_TABLE = 254
_UNICAST = 1
_TENTATIVE, _DAD_FAILED = 0x40, 0x08


class NetworkError(OSError):
    """The kernel refused; the message says what was asked."""


@dataclass(frozen=True)
class Link:
    """A network interface as the kernel shows it. `mac` is 6 bytes."""

    index: int
    name: str
    mac: bytes
    mtu: int
    up: bool
    carrier: bool


@dataclass(frozen=True)
class Route:
    """How packets to an address leave: `next_hop` is the gateway, or the address itself; `mtu` None
    where the route has none of its own."""

    interface: int
    next_hop: Address
    source: Address
    mtu: int | None


@dataclass(frozen=True)
class Holding:
    """An address on an interface of this namespace; `permanent`: without a lifetime."""

    interface: str
    address: Interface
    permanent: bool


class Netlink:
    """One netlink socket in the namespace of the calling thread."""

    def __init__(self) -> None:
        self._route = IPRoute()

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._route.close()

    def link(self, name: str) -> Link | None:
        """The interface of that name, or None."""
        index = self._route.link_lookup(ifname=name)
        if not index:
            return None
        return self.link_at(index[0])

    def link_at(self, index: int) -> Link | None:
        """The interface of that index, or None."""
        try:
            message = self._route.get_links(index)[0]
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                return None
            raise
        return _link(message)

    def route(self, address: Address) -> Route | None:
        """The kernel's choice for packets to that address; None where there is no way out."""
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        try:
            rows = self._route.route("get", family=family, dst=str(address))
        except NetlinkError:  # ENETUNREACH, EHOSTUNREACH, or what a rule says
            return None
        return _route(rows[0], address) if rows else None

    def addresses(self, name: str) -> list[IPv4Interface]:
        """The IPv4 addresses of an interface, primary first; [] when there is no such interface."""
        link = self.link(name)
        if link is None:
            return []
        rows = self._route.get_addr(family=socket.AF_INET, index=link.index)
        return [_interface(row) for row in rows]

    def own_addresses(self) -> frozenset[IPv4Address | IPv6Address]:
        """Every address that this namespace carries."""
        found = (
            row.get_attr("IFA_LOCAL") or row.get_attr("IFA_ADDRESS")
            for row in self._route.get_addr()
        )
        return frozenset(ip_address(address) for address in found if address)

    def every_address(self, name: str) -> list[Interface]:
        """The usable addresses of an interface, IPv4 and then IPv6: without those of which
        duplicate address detection is not done, or failed."""
        link = self.link(name)
        if link is None:
            return []
        found: list[Interface] = list(self.addresses(name))
        rows = self._route.get_addr(family=socket.AF_INET6, index=link.index)
        unusable = _TENTATIVE | _DAD_FAILED
        return found + [
            ip_interface(f"{row.get_attr('IFA_ADDRESS')}/{row['prefixlen']}")
            for row in rows
            if not (row.get_attr("IFA_FLAGS") or row["flags"]) & unusable
        ]

    def holders(self, address: IPv4Address) -> list[str]:
        """The names of this namespace's interfaces that carry `address`."""
        rows = self._route.get_addr(family=socket.AF_INET)
        return [self._name(row["index"]) for row in rows if _interface(row).ip == address]

    def holdings(self, address: Address) -> list[Holding]:
        """Who in this namespace carries `address`, and whether for good."""
        return [each for each in self.every_holding() if each.address.ip == address]

    def every_holding(self) -> list[Holding]:
        """Who in this namespace carries what: to be asked once, not once for each address."""
        names = {row["index"]: str(row.get_attr("IFLA_IFNAME")) for row in self._route.get_links()}
        return [
            Holding(names[row["index"]], _either(row), _permanent(row))
            for row in self._route.get_addr()
            if row["index"] in names  # else it came between the two dumps
        ]

    def set_address(
        self,
        name: str,
        address: IPv4Interface,
        *,
        lifetime_s: int | None = None,
        scope: str = "global",
        label: str | None = None,
    ) -> None:
        """Add the address, or renew it: idempotent. With `lifetime_s` the kernel itself removes it
        unless it is renewed in time (a dead daemon's address must not stay behind). `label` is the
        name that old tools show ('lo:0')."""
        link = self._required(name)
        valid = _FOREVER if lifetime_s is None else lifetime_s
        more = {} if label is None else {"label": label}
        with _explained(f"add {address} to {name}"):
            self._route.addr(
                "replace",
                index=link.index,
                address=str(address.ip),
                prefixlen=address.network.prefixlen,
                scope=_SCOPES[scope],
                preferred_lft=valid,
                valid_lft=valid,
                **more,
            )

    def remove_address(self, name: str, address: IPv4Interface) -> bool:
        """Remove the address; False when it (or the interface) was not there."""
        link = self.link(name)
        if link is None:
            return False
        try:
            self._route.addr(
                "del",
                index=link.index,
                address=str(address.ip),
                prefixlen=address.network.prefixlen,
            )
        except NetlinkError as error:
            if error.code in (errno.EADDRNOTAVAIL, errno.ENODEV):
                return False
            raise NetworkError(
                error.code, f"cannot remove {address} from {name}: {error}"
            ) from error
        return True

    def has_host_route(self, name: str, address: IPv4Address) -> bool:
        """True when the main table sends `address`/32 to the interface."""
        link = self.link(name)
        if link is None:
            return False
        # A dump, for pyroute2 turns get_routes(dst=…) into a lookup.
        rows = self._route.get_routes(family=socket.AF_INET, table=_MAIN_TABLE, oif=link.index)
        return any(row["dst_len"] == 32 and row.get_attr("RTA_DST") == str(address) for row in rows)

    def set_host_route(self, name: str, address: IPv4Address) -> None:
        """Send `address`/32 to the interface: idempotent."""
        link = self._required(name)
        with _explained(f"route {address} to {name}"):
            self._route.route("replace", **_host_route(link, address))

    def remove_host_route(self, name: str, address: IPv4Address) -> bool:
        """Remove that route; False when it was not there."""
        link = self.link(name)
        if link is None:
            return False
        try:
            self._route.route("del", **_host_route(link, address))
        except NetlinkError as error:
            if error.code == errno.ESRCH:
                return False
            raise NetworkError(
                error.code, f"cannot remove the route of {address} to {name}: {error}"
            ) from error
        return True

    def _required(self, name: str) -> Link:
        link = self.link(name)
        if link is None:
            raise NetworkError(errno.ENODEV, f"there is no interface {name} on this machine")
        return link

    def _name(self, index: int) -> str:
        return str(self._route.get_links(index)[0].get_attr("IFLA_IFNAME"))


@contextmanager
def _explained(action: str) -> Iterator[None]:
    """Turns pyroute2's error into ours, with what was being done."""
    try:
        yield
    except NetlinkError as error:
        raise NetworkError(error.code, f"cannot {action}: {error}") from error


def _host_route(link: Link, address: IPv4Address) -> dict[str, str | int]:
    return {
        "dst": f"{address}/32",
        "oif": link.index,
        "scope": _SCOPES["link"],
        "table": _MAIN_TABLE,
    }


def _link(message: object) -> Link:
    row: dict[str, int] = message  # type: ignore[assignment]
    get = message.get_attr  # type: ignore[attr-defined]
    mac = get("IFLA_ADDRESS") or "00:00:00:00:00:00"
    return Link(
        index=row["index"],
        name=get("IFLA_IFNAME"),
        mac=bytes.fromhex(mac.replace(":", "")),
        mtu=get("IFLA_MTU"),
        up=bool(row["flags"] & IFF_UP),
        carrier=bool(row["flags"] & IFF_LOWER_UP),
    )


def _route(row: object, address: Address) -> Route | None:
    get = row.get_attr  # type: ignore[attr-defined]
    interface, source = get("RTA_OIF"), get("RTA_PREFSRC")
    if row["type"] != _UNICAST or not interface or not source:  # type: ignore[index]
        return None
    via = get("RTA_VIA")
    next_hop = via["addr"] if via else get("RTA_GATEWAY") or str(address)
    metrics = get("RTA_METRICS")
    mtu = metrics.get_attr("RTAX_MTU") if metrics else None
    return Route(interface, ip_address(next_hop), ip_address(source), mtu)


def _interface(row: object) -> IPv4Interface:
    get = row.get_attr  # type: ignore[attr-defined]
    prefix: int = row["prefixlen"]  # type: ignore[index]
    return IPv4Interface(f"{get('IFA_LOCAL') or get('IFA_ADDRESS')}/{prefix}")


def _either(row: object) -> Interface:
    get = row.get_attr  # type: ignore[attr-defined]
    prefix: int = row["prefixlen"]  # type: ignore[index]
    return ip_interface(f"{get('IFA_LOCAL') or get('IFA_ADDRESS')}/{prefix}")


def _permanent(row: object) -> bool:
    valid: int = row.get_attr("IFA_CACHEINFO")["ifa_valid"]  # type: ignore[attr-defined]
    return valid == _FOREVER
