"""One interface as the vrrp process uses it."""

import errno

from trimaran.node.vrrp_links import Links
from trimaran.system.netlink import Link, Netlink
from trimaran.system.vrrp_socket import VrrpSocket
from trimaran.vrrp.address import Address
from trimaran.vrrp.router import Router
from trimaran.vrrp.settings import Lane, RouterSettings


class Port:
    """One interface that adverts go through, and the virtual routers on it, by lane and router id.
    `base`: the interface whose addresses and carrier they have (a virtual MAC has neither)."""

    def __init__(self, interface: str, base: str) -> None:
        self.interface, self.base = interface, base
        self.routers: dict[tuple[Lane, int], Router] = {}
        self.link: Link | None = None
        self.addresses: list[Address] = []
        self.sockets: dict[Lane, VrrpSocket] = {}
        self._base_trouble = ""

    def add(self, router: Router) -> None:
        """Put the router on this interface. Raises ValueError when its id is taken."""
        settings = router.settings
        for (lane, router_id), other in self.routers.items():
            if router_id == settings.router_id and (lane == "ipv6") == settings.ipv6:
                raise ValueError(
                    f"{settings.name} and {other.settings.name} both have "
                    f"router_id {router_id} on {self.interface}: give one of them another"
                )
        self.routers[settings.lane, settings.router_id] = router

    def look(self, netlink: Netlink, links: Links) -> None:
        """Take note of what the interface is now; a new one needs new sockets."""
        self.link = link = links[self.interface]
        self._base_trouble = links.trouble(self.base)
        self.addresses = [each.ip for each in netlink.every_address(self.base)]
        index = link.index if link else None
        for lane, socket in list(self.sockets.items()):
            if socket.interface_index != index:
                self.sockets.pop(lane).close()
        if link is None:
            return
        try:
            for lane in {key[0] for key in self.routers} - self.sockets.keys():
                ids = [router_id for each, router_id in self.routers if each == lane]
                self.sockets[lane] = VrrpSocket(link.index, lane, ids)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            self.link = None  # gone between the look and the socket; the monitor will tell

    def source(self, settings: RouterSettings) -> tuple[Address | None, str]:
        """Where that router advertises from here, or None and why there is nowhere."""
        if trouble := self._trouble(settings.track_own_interface):
            return None, trouble
        if settings.source is not None:
            if settings.source in self.addresses:
                return settings.source, ""
            return None, f"{self.base} does not carry {settings.source}, the source of adverts"
        virtual = {address.ip for address in settings.carried}
        own = [
            address
            for address in self.addresses
            if address.version == (6 if settings.ipv6 else 4) and address not in virtual
        ]
        if settings.ipv6:  # RFC 9568 §5.1.2.1: a link-local address
            own = [address for address in own if address.is_link_local]
        kind = "IPv6 link-local" if settings.ipv6 else "IPv4"
        return (own[0], "") if own else (None, f"{self.base} has no {kind} address of its own")

    def _trouble(self, tracked: bool) -> str:
        """Why nothing can be sent here; empty when it can."""
        if self.link is None:
            return f"there is no interface {self.interface}"
        return self._base_trouble if tracked else ""
