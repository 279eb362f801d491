"""Gratuitous ARP: tells the LAN which MAC address holds an address now."""

import socket
import struct
from ipaddress import IPv4Address

_BROADCAST = b"\xff" * 6
_ETHER_ARP = 0x0806
_ARP = struct.Struct("!6s6sHHHBBH6s4s6s4s")
_ETHERNET, _IPV4, _REQUEST = 1, 0x0800, 1


def gratuitous_arp(mac: bytes, address: IPv4Address) -> bytes:
    """The Ethernet frame: an ARP request (RFC 5227 §3 tells why not a reply), broadcast, sender
    and target both `address`, target MAC all ones as keepalived sends it."""
    return _ARP.pack(
        _BROADCAST, mac, _ETHER_ARP, _ETHERNET, _IPV4, 6, 4, _REQUEST,
        mac, address.packed, _BROADCAST, address.packed,
    )  # fmt: skip


class Announcer:
    """Sends frames out of any interface of this namespace; receives nothing."""

    def __init__(self) -> None:
        # Protocol 0: without it the kernel would queue every frame for a socket nobody reads.
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_PACKET, kind, 0)

    def announce(self, interface: str, mac: bytes, address: IPv4Address) -> None:
        """One gratuitous ARP. Raises OSError (link down, queue full)."""
        self._socket.sendto(gratuitous_arp(mac, address), (interface, _ETHER_ARP))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
