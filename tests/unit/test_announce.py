"""Announcements, byte for byte, as another implementation reads them."""

from ipaddress import IPv6Address

from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import Ether

from trimaran.system.announce import neighbour_advertisement
from trimaran.vrrp.packet import checksum

MAC = bytes.fromhex("020000000007")
VIP = IPv6Address("2001:db8::64")


def test_an_unsolicited_neighbour_advertisement() -> None:
    for router in (False, True):
        frame = Ether(neighbour_advertisement(MAC, VIP, router))
        assert (frame.dst, frame.src) == ("33:33:00:00:00:01", "02:00:00:00:00:07")
        packet = frame[IPv6]
        assert (packet.src, packet.dst, packet.hlim) == (str(VIP), "ff02::1", 255)
        advertisement = packet[ICMPv6ND_NA]
        assert (int(router), 0, 1) == (advertisement.R, advertisement.S, advertisement.O)
        assert advertisement.tgt == str(VIP)
        assert packet[ICMPv6NDOptDstLLAddr].lladdr == "02:00:00:00:00:07"
        payload = bytes(advertisement)
        pseudo = VIP.packed + IPv6Address("ff02::1").packed
        pseudo += len(payload).to_bytes(4, "big") + (58).to_bytes(4, "big")
        assert checksum(pseudo + payload) == 0
