"""The packet that the program is asked about, against scapy's."""

from ipaddress import ip_address

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from trimaran.director.packet import CLIENT_MAC, FLAGS, Kind, Question, frame

MAC = bytes.fromhex("020000000009")
both_versions = pytest.mark.parametrize(
    ("source", "address"), [("203.0.113.9", "192.0.2.1"), ("2001:db8::9", "2001:db8::1")]
)


def theirs(question: Question, transport: Packet) -> bytes:
    source, destination = str(question.source), str(question.address)
    if question.address.version == 6:
        network: Packet = IPv6(src=source, dst=destination)
    else:
        network = IP(src=source, dst=destination, id=0, flags="DF")
    made = Ether(dst=MAC.hex(":"), src=CLIENT_MAC.hex(":")) / network / transport
    return bytes(made)


@both_versions
@pytest.mark.parametrize("kind", list(FLAGS))
def test_tcp(source: str, address: str, kind: Kind) -> None:
    question = Question(ip_address(source), 40000, ip_address(address), 80, "tcp", kind)
    segment = TCP(sport=40000, dport=80, seq=1, window=65535, flags=FLAGS[kind])
    assert frame(question, MAC) == theirs(question, segment)


@both_versions
def test_udp(source: str, address: str) -> None:
    question = Question(ip_address(source), 40000, ip_address(address), 53, "udp")
    assert frame(question, MAC) == theirs(question, UDP(sport=40000, dport=53))
