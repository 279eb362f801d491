"""Gratuitous ARP and unsolicited neighbour advertisements: who holds an address now."""

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

from trimaran.vrrp.address import Address
from trimaran.vrrp.packet import checksum

_BROADCAST = b"\xff" * 6
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_ALL_NODES = IPv6Address("ff02::1")
_ETHER_ARP, _ETHER_IPV6 = 0x0806, 0x86DD
_ARP = struct.Struct("!6s6sHHHBBH6s4s6s4s")
_ETHERNET, _IPV4, _REQUEST = 1, 0x0800, 1
_IPV6 = struct.Struct("!IHBB16s16s")
_VERSION6_CONTROL = 6 << 28 | 0xC0 << 20  # traffic class: internetwork control
_ADVERTISEMENT = struct.Struct("!BBHI16sBB6s")
_ICMPV6, _NEIGHBOUR_ADVERTISEMENT, _TARGET_LINK_LAYER = 58, 136, 2
_OVERRIDE, _ROUTER = 0x20000000, 0x80000000


def gratuitous_arp(mac: bytes, address: IPv4Address) -> bytes:
    """The Ethernet frame: an ARP request (RFC 5227 §3 tells why not a reply), broadcast, sender
    and target both `address`, target MAC all ones as keepalived sends it."""
    return _ARP.pack(
        _BROADCAST, mac, _ETHER_ARP, _ETHERNET, _IPV4, 6, 4, _REQUEST,
        mac, address.packed, _BROADCAST, address.packed,
    )  # fmt: skip


def neighbour_advertisement(mac: bytes, address: IPv6Address, router: bool) -> bytes:
    """The Ethernet frame (RFC 4861 §7.2.6), to all nodes, from `address` itself. `router`: this
    machine forwards; a wrong flag would take it out of hosts' lists of routers."""
    flags = _OVERRIDE | (_ROUTER if router else 0)

    def message(sum_: int) -> bytes:
        return _ADVERTISEMENT.pack(
            _NEIGHBOUR_ADVERTISEMENT, 0, sum_, flags, address.packed, _TARGET_LINK_LAYER, 1, mac
        )

    size = _ADVERTISEMENT.size
    before = address.packed + _ALL_NODES.packed + struct.pack("!II", size, _ICMPV6)
    header = _IPV6.pack(_VERSION6_CONTROL, size, _ICMPV6, 255, address.packed, _ALL_NODES.packed)
    frame = _ALL_NODES_MAC + mac + _ETHER_IPV6.to_bytes(2, "big")
    return frame + header + message(checksum(before + message(0)))


class Announcer:
    """Sends frames out of any interface of this namespace; receives nothing."""

    def __init__(self) -> None:
        # Protocol 0: without it the kernel would queue every frame for a socket nobody reads.
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_PACKET, kind, 0)

    def announce(self, interface: str, mac: bytes, address: Address, router: bool = False) -> None:
        """One announcement. Raises OSError (link down, queue full)."""
        if isinstance(address, IPv4Address):
            frame, protocol = gratuitous_arp(mac, address), _ETHER_ARP
        else:
            frame, protocol = neighbour_advertisement(mac, address, router), _ETHER_IPV6
        self._socket.sendto(frame, (interface, protocol))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
