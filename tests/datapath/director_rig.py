"""A director in the kernel, fed with frames by BPF_PROG_TEST_RUN: no device, no namespace."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address

from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from trimaran._native import Datapath

PASS, DROP, REDIRECT = 0, 2, 7
VIP, CLIENT = "10.0.0.100", "10.0.0.50"
DIRECTOR_MAC = bytes.fromhex("020000000001")
CLIENT_MAC = "02:00:00:00:00:50"
HERE = "00:00:00:00:00:00"  # test_run's device is lo: this is its address
EGRESS = 1


def real_mac(index: int) -> bytes:
    """What the rig uses as the MAC of the real server of that index."""
    return bytes([2, 0, 0, 0, 1, index])


@dataclass
class Rig:
    """One service at VIP:80; `tables` writes its slots."""

    datapath: Datapath = field(default_factory=lambda: Datapath(max_flows=1024))

    def serve(self, slots: list[int], *, service: int = 0, port: int = 80) -> None:
        """Serve VIP:port by these reals, which are all well."""
        for index in set(slots):
            self.set_real(index, service=service, port=port)
        self.datapath.set_table(service, slots)
        self.datapath.set_service(VIP, 0, service)
        self.datapath.set_service(VIP, port, service)

    def set_real(
        self,
        index: int,
        *,
        listed: bool = True,
        mac: bytes | None = b"",
        service: int = 0,
        port: int = 80,
    ) -> None:
        """Write one real server; `mac` None: not known."""
        hop = None if mac is None else (mac or real_mac(index), DIRECTOR_MAC, EGRESS)
        address = str(IPv4Address("10.0.0.10") + index)
        self.datapath.set_real(index, address, port, service, listed, hop)

    def send(self, frame: Ether | bytes) -> tuple[int, bytes]:
        """The verdict, and the frame as the program left it."""
        verdict, packet, _ = self.datapath.test_run(bytes(frame))
        return verdict, packet

    def real_of(self, frame: Ether | bytes) -> int:
        """Which real server a frame is forwarded to."""
        verdict, packet = self.send(frame)
        assert verdict == REDIRECT, f"verdict {verdict}, reasons {self.reasons()}"
        return packet[5]

    def reasons(self) -> dict[str, int]:
        """The reasons met so far."""
        return {name: count for name, count in self.datapath.reasons() if count}


def segment(flags: str = "S", *, sport: int = 40000, dport: int = 80, **ip: object) -> Ether:
    """A frame from the client to the VIP."""
    fields: dict[str, object] = {"src": CLIENT, "dst": VIP, "ttl": 64, **ip}
    return (
        Ether(dst=HERE, src=CLIENT_MAC) / IP(**fields) / TCP(sport=sport, dport=dport, flags=flags)
    )
