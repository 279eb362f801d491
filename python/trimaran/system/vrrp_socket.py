"""The raw socket of VRRP on one interface: IP protocol 112, group 224.0.0.18, TTL 255."""

import socket
import struct
from ipaddress import IPv4Address

from trimaran.vrrp.packet import GROUP, PROTOCOL, TOS, TTL

# <linux/in.h>; the socket module does not name these.
_IP_PKTINFO = 8
_IP_MTU_DISCOVER = 10
_IP_PMTUDISC_DONT = 0
_IP_MULTICAST_ALL = 49
_SO_BINDTOIFINDEX = 62
_MREQN = struct.Struct("4s4si")  # group, local address, interface index
_PKTINFO = struct.Struct("i4s4s")  # interface index, source to use, unused here
_PRIORITY_CONTROL = 6  # TC_PRIO_INTERACTIVE: before bulk traffic in a queue
_LARGEST = 2048  # bytes; the largest advert, 255 addresses, has 1056 with its IP header


class VrrpSocket:
    """Sends and receives on one interface index: an interface that is removed and made anew has
    another one and needs a new socket; down and up again does not. Never waits."""

    def __init__(self, interface_index: int) -> None:
        self.interface_index = interface_index
        self._socket = socket.socket(
            socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, PROTOCOL
        )
        try:
            self._configure()
        except OSError:
            self._socket.close()
            raise

    def _configure(self) -> None:
        here = _MREQN.pack(GROUP.packed, bytes(4), self.interface_index)
        option = self._socket.setsockopt
        option(socket.SOL_SOCKET, _SO_BINDTOIFINDEX, self.interface_index)
        option(socket.SOL_SOCKET, socket.SO_PRIORITY, _PRIORITY_CONTROL)
        option(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, here)
        option(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
        option(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, TTL)
        option(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        option(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        option(socket.IPPROTO_IP, socket.IP_TOS, TOS)
        option(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def send(self, message: bytes, source: IPv4Address) -> None:
        """Multicast one message from `source`. Not by bind(): a bound raw socket would no longer
        receive what is sent to the group. Raises OSError (link down, queue full)."""
        control = _PKTINFO.pack(self.interface_index, source.packed, bytes(4))
        self._socket.sendmsg(
            [message], [(socket.IPPROTO_IP, _IP_PKTINFO, control)], 0, (str(GROUP), 0)
        )

    def receive(self) -> bytes | None:
        """One datagram with its IP header, or None when no more are waiting."""
        try:
            return self._socket.recv(_LARGEST)
        except OSError:  # nothing waits, or an error reported late (the interface went down)
            return None

    def close(self) -> None:
        """Leave the group and close."""
        self._socket.close()
