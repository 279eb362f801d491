"""The MACs of the real servers, kept fresh by the kernel (managed neighbours)."""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

NTF_USE = 0x01
NTF_EXT_MANAGED = 0x01
NUD_NONE = 0x00
NUD_VALID = 0xDE  # PERMANENT | NOARP | REACHABLE | PROBE | STALE | DELAY
RTMGRP_LINK = 0x1
RTMGRP_NEIGH = 0x4


class Neighbours:
    """The neighbours on one interface, in the namespace of the calling thread."""

    def __init__(self, interface: int) -> None:
        self._interface = interface
        self._route = IPRoute()
        self._managed = True

    def close(self) -> None:
        """Close the socket."""
        self._route.close()

    def resolved(self) -> dict[IPv4Address | IPv6Address, bytes]:
        """What the kernel knows a MAC for now."""
        rows = [
            row
            for family in (socket.AF_INET, socket.AF_INET6)
            for row in self._route.get_neighbours(family=family, ifindex=self._interface)
        ]
        found: dict[IPv4Address | IPv6Address, bytes] = {}
        for row in rows:
            mac = row.get_attr("NDA_LLADDR")
            if mac and row["state"] & NUD_VALID and row["ifindex"] == self._interface:
                found[ip_address(row.get_attr("NDA_DST"))] = bytes.fromhex(mac.replace(":", ""))
        return found

    def want(self, addresses: Iterable[IPv4Address | IPv6Address]) -> None:
        """Ask the kernel to resolve these and keep them so: idempotent, and a nudge for those
        that did not answer. Before Linux 5.16 it resolves them only when nudged."""
        for address in addresses:
            try:
                self._request(address)
            except NetlinkError:
                if not self._managed:
                    return  # the link is down or gone: the next nudge is in a moment
                self._managed = False
                self.want([address])

    def _request(self, address: IPv4Address | IPv6Address) -> None:
        extra = {"NDA_FLAGS_EXT": NTF_EXT_MANAGED} if self._managed else {}
        self._route.neigh(
            "replace",
            family=_family(address),
            dst=str(address),
            ifindex=self._interface,
            state=NUD_NONE,
            flags=NTF_USE,
            **extra,
        )

    def forget(self, addresses: Iterable[IPv4Address | IPv6Address]) -> None:
        """Manage them no longer."""
        for address in addresses:
            try:
                self._route.neigh(
                    "del", family=_family(address), dst=str(address), ifindex=self._interface
                )
            except NetlinkError:
                continue  # gone with the interface


def _family(address: IPv4Address | IPv6Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def changes() -> socket.socket:
    """A socket that is readable when a link or a neighbour changed. It wakes, no more: what it
    carries may have lost messages, so read the state anew."""
    watch = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    watch.bind((0, RTMGRP_LINK | RTMGRP_NEIGH))
    return watch


def drain(watch: socket.socket) -> None:
    """Throw away what has arrived."""
    while True:
        try:
            watch.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            continue  # ENOBUFS: some were lost, which is as good a reason to look
