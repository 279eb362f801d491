"""The sockets of BFD over UDP (RFC 5881): one that hears all neighbours, one to speak to each."""

import random
import socket
from ipaddress import ip_address

from trimaran.vrrp.bfd_packet import PORT

_TOS = 0xC0  # internetwork control
_SOURCE_PORTS = range(49152, 65536)  # RFC 5881 §4
_IP_RECVTTL = 12  # <linux/in.h>
_LARGEST = 512
_ATTEMPTS = 100


class BfdListener:
    """Hears every neighbour of one family. Never waits. Raises OSError when made."""

    def __init__(self, ipv6: bool) -> None:
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            if ipv6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            else:
                self._socket.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
            self._socket.bind(("", PORT))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def receive(self) -> tuple[bytes, str, int] | None:
        """Payload, source address and TTL; None when no more is waiting."""
        try:
            data, control, _, sender = self._socket.recvmsg(_LARGEST, 64)
        except OSError:
            return None
        ttl = next((int.from_bytes(value[:4], "little") for _, _, value in control), 0)
        return data, str(sender[0]), ttl

    def close(self) -> None:
        """Close it."""
        self._socket.close()


class BfdSpeaker:
    """Speaks to one neighbour, from a port of its own. Raises OSError when made."""

    def __init__(self, neighbour: str, source: str | None, ttl: int, dice: random.Random) -> None:
        ipv6 = ip_address(neighbour.partition("%")[0]).version == 6
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            option = self._socket.setsockopt
            if ipv6:
                option(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, ttl)
                option(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _TOS)
            else:
                option(socket.IPPROTO_IP, socket.IP_TTL, ttl)
                option(socket.IPPROTO_IP, socket.IP_TOS, _TOS)
            self._bind(source or "", dice)
        except OSError:
            self._socket.close()
            raise
        self._to = (neighbour, PORT)

    def _bind(self, source: str, dice: random.Random) -> None:
        for left in reversed(range(_ATTEMPTS)):
            try:
                self._socket.bind((source, dice.choice(_SOURCE_PORTS)))
            except OSError as error:
                if error.errno != 98 or not left:  # EADDRINUSE
                    raise
            else:
                return

    def send(self, payload: bytes) -> None:
        """Send, if that is possible: what is not heard is noticed over there."""
        try:
            self._socket.sendto(payload, self._to)
        except OSError:
            return

    def close(self) -> None:
        """Close it."""
        self._socket.close()
