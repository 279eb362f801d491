"""One interface as the vrrp process uses it."""

import errno
from ipaddress import IPv4Address

from trimaran.system.netlink import Link, Netlink
from trimaran.system.vrrp_socket import VrrpSocket
from trimaran.vrrp.router import Router
from trimaran.vrrp.settings import RouterSettings


class Port:
    """One interface and the virtual routers on it."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self.routers: dict[int, Router] = {}
        self.link: Link | None = None
        self.addresses: list[IPv4Address] = []
        self.socket: VrrpSocket | None = None

    def look(self, netlink: Netlink) -> None:
        """Take note of what the interface is now; a new one needs a new socket."""
        self.link = link = netlink.link(self.interface)
        self.addresses = [address.ip for address in netlink.addresses(self.interface)]
        index = link.index if link else None
        if self.socket is not None and self.socket.interface_index != index:
            self.socket.close()
            self.socket = None
        if link is None or self.socket is not None:
            return
        try:
            self.socket = VrrpSocket(link.index)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            self.link = None  # gone between the look and the socket; the monitor will tell

    def source(self, settings: RouterSettings) -> tuple[IPv4Address | None, str]:
        """Where that router advertises from here, or None and why there is nowhere."""
        if trouble := self._trouble():
            return None, trouble
        virtual = {address.ip for address in settings.addresses}
        if settings.source is not None:
            if settings.source in self.addresses:
                return settings.source, ""
            return None, f"{self.interface} does not carry {settings.source}, the source of adverts"
        own = [address for address in self.addresses if address not in virtual]
        return (own[0], "") if own else (None, f"{self.interface} has no IPv4 address of its own")

    def _trouble(self) -> str:
        """Why nothing can be sent here; empty when it can."""
        if self.link is None:
            return f"there is no interface {self.interface}"
        if not self.link.up:
            return f"{self.interface} is down"
        return "" if self.link.carrier else f"{self.interface} has no carrier"
