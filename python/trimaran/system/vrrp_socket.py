"""The raw socket of VRRP on one interface: IP protocol 112, TTL 255, multicast and unicast."""

import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv6Address

from trimaran.system.socket_filter import attach, program
from trimaran.vrrp.address import Address
from trimaran.vrrp.packet import (
    AUTHENTICATION_HEADER,
    GROUP,
    GROUP6,
    PROTOCOL,
    TOS,
    TTL,
    Datagram,
    Rejection,
    unwrap,
)
from trimaran.vrrp.settings import Lane

# <linux/in.h>, <linux/in6.h>; the socket module does not name these.
_IP_PKTINFO = 8
_IP_MTU_DISCOVER = 10
_IP_PMTUDISC_DONT = 0
_IP_MULTICAST_ALL = 49
_IPV6_MULTICAST_ALL = 29
_SO_BINDTOIFINDEX = 62
_MREQN = struct.Struct("4s4si")  # group, local address, interface index
_MREQ6 = struct.Struct("16si")  # group, interface index
_PKTINFO = struct.Struct("i4s4s")  # interface index, source to use, unused here
_PKTINFO6 = struct.Struct("16si")  # source or destination, interface index
_INT = struct.Struct("i")
_PRIORITY_CONTROL = 6  # TC_PRIO_INTERACTIVE: before bulk traffic in a queue
_LARGEST = 8192  # bytes; more than 255 IPv6 addresses need
_ANCILLARY = 128
ALL_IDS = range(1, 256)
_SO_MEMINFO = 55
_DROPS_AT = 8 * 4  # SK_MEMINFO_DROPS


class VrrpSocket:
    """Sends and receives on one interface index: an interface that is removed and made anew has
    another one and needs a new socket; down and up again does not. `lane`: IPv4, IPv6, or IPv4
    under AH, whose datagrams are sent with the IP header that AH proves. Other virtual routers'
    adverts than those of `router_ids` are dropped by the kernel. Never waits."""

    def __init__(
        self, interface_index: int, lane: Lane = "ipv4", router_ids: Iterable[int] = ALL_IDS
    ) -> None:
        self.interface_index = interface_index
        self.lane = lane
        self._ipv6 = ipv6 = lane == "ipv6"
        protocol = AUTHENTICATION_HEADER if lane == "ah" else PROTOCOL
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(family, kind, protocol)
        try:
            option = self._socket.setsockopt
            attach(self._socket, program(lane, router_ids))
            option(socket.SOL_SOCKET, _SO_BINDTOIFINDEX, interface_index)
            option(socket.SOL_SOCKET, socket.SO_PRIORITY, _PRIORITY_CONTROL)
            if ipv6:
                self._configure6()
            else:
                self._configure()
            if lane == "ah":
                option(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
        except OSError:
            self._socket.close()
            raise

    def _configure(self) -> None:
        here = _MREQN.pack(GROUP.packed, bytes(4), self.interface_index)
        option = self._socket.setsockopt
        option(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, here)
        option(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
        option(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        option(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
        option(socket.IPPROTO_IP, socket.IP_TOS, TOS)
        option(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)

    def _configure6(self) -> None:
        """The checksum is ours to make and to check: the kernel does neither for this protocol."""
        option = self._socket.setsockopt
        here = _MREQ6.pack(GROUP6.packed, self.interface_index)
        option(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, here)
        option(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, self.interface_index)
        option(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        option(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)
        option(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, TOS)
        option(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        option(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def send(self, message: bytes, source: Address, destination: Address, ttl: int = TTL) -> None:
        """Send one message from `source`. Not by bind(): a bound raw socket would no longer
        receive what is sent to the group. Raises OSError (link down, queue full, no route)."""
        index = self.interface_index
        if self._ipv6:
            level = socket.IPPROTO_IPV6
            info = (level, socket.IPV6_PKTINFO, _PKTINFO6.pack(source.packed, index))
            hops = (level, socket.IPV6_HOPLIMIT, _INT.pack(ttl))
            self._socket.sendmsg([message], [info, hops], 0, (str(destination), 0, 0, index))
        else:
            level = socket.IPPROTO_IP
            info = (level, _IP_PKTINFO, _PKTINFO.pack(index, source.packed, bytes(4)))
            hops = (level, socket.IP_TTL, _INT.pack(ttl))
            self._socket.sendmsg([message], [info, hops], 0, (str(destination), 0))

    def receive(self) -> Datagram | Rejection | None:
        """What came, or None when no more is waiting."""
        try:
            if not self._ipv6:
                return unwrap(self._socket.recv(_LARGEST))
            payload, ancillary, _, sender = self._socket.recvmsg(_LARGEST, _ANCILLARY)
        except OSError:  # nothing waits, or an error reported late (the interface went down)
            return None
        values = {kind: data for _, kind, data in ancillary}
        if socket.IPV6_HOPLIMIT not in values or socket.IPV6_PKTINFO not in values:
            return Rejection.TRUNCATED
        hops = _INT.unpack(values[socket.IPV6_HOPLIMIT])[0]
        to = _PKTINFO6.unpack(values[socket.IPV6_PKTINFO])[0]
        return Datagram(IPv6Address(sender[0].partition("%")[0]), IPv6Address(to), hops, payload)

    def overflowed(self) -> int:
        """How many datagrams came while its buffer was full."""
        told = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _DROPS_AT + 4)
        return int.from_bytes(told[_DROPS_AT : _DROPS_AT + 4], "little")

    def close(self) -> None:
        """Leave the group and close."""
        self._socket.close()
