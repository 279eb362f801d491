"""A director in the kernel, fed with frames by BPF_PROG_TEST_RUN: no device, no namespace."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from ipvs_reference import Dest
from trimaran._native import Datapath
from trimaran.director.schedulers import Member, table_of
from trimaran.director.settings import DeadFlows, Scheduler
from trimaran.director.tables import Served
from trimaran.system.datapath import as_program, put_tables

PASS, DROP, REDIRECT = 0, 2, 7
XDP_VERDICTS = {1: DROP, 2: PASS, 3: REDIRECT, 4: REDIRECT}  # DROP, PASS, TX, REDIRECT
TCP_NUMBER, UDP_NUMBER = 6, 17
VIP, CLIENT = "10.0.0.100", "10.0.0.50"
VIP6, CLIENT6 = "fd00::100", "fd00::50"
DIRECTOR_MAC = bytes.fromhex("020000000001")
CLIENT_MAC = "02:00:00:00:00:50"
HERE = "00:00:00:00:00:00"  # test_run's device is lo: this is its address
EGRESS = 1
MTU = 1500
SERVICES_OF_A_TEST = 16

both_hooks = pytest.mark.parametrize("rig", ["tc", "xdp"], indirect=True)


def real_mac(index: int) -> bytes:
    """What the rig uses as the MAC of the real server of that index."""
    return bytes([2, 0, 0, 0, 1, index])


def real_address(index: int, like: str) -> IPv4Address | IPv6Address:
    """Where the rig has the real server of that index, in that address's network."""
    base = VIP if ip_address(like).version == 4 else VIP6
    return ip_address(base) - 90 + index


def datapath(hook: str) -> Datapath:
    """Room for 1,024 flows of each version."""
    return Datapath(max_flows=1024, max_flows6=1024, max_clients=1024, hook=hook)


@dataclass
class Rig:
    """One service at VIP:80; `tables` writes its slots. Loading takes long, so tests share a rig,
    and each begins with `clear`."""

    hook: str = "tc"
    datapath: Datapath = field(init=False)
    _first: int = field(init=False, default=0)  # the index in the kernel of the test's service 0
    _reasons: Counter[str] = field(init=False, default_factory=Counter)

    def __post_init__(self) -> None:
        self.datapath = datapath(self.hook)

    def clear(self) -> None:
        """Nothing is served, no flow lives, nothing was counted; no cursor was turned."""
        for address, port, protocol, *_how in self.datapath.services():
            self.datapath.remove_service(address, port, protocol)
        self.datapath.sweep(1 << 20)
        for index, *_ in self.datapath.reals():
            self.datapath.remove_real(index)
        self._first += SERVICES_OF_A_TEST
        self._reasons = Counter(dict(self.datapath.reasons()))

    def set_table(self, slots: list[int], *, service: int = 0) -> None:
        """Swap the table of a service."""
        self.datapath.set_table(self._first + service, slots)

    def serve(
        self,
        slots: list[int],
        *,
        service: int = 0,
        port: int = 80,
        protocol: int = TCP_NUMBER,
        vip: str = VIP,
    ) -> None:
        """Serve VIP:port by these reals, which are all well."""
        for index in set(slots):
            self.set_real(index, service=service, port=port, vip=vip)
        self.set_table(slots, service=service)
        self.datapath.set_service(vip, 0, 0, 0)
        self.datapath.set_service(vip, port, protocol, self._first + service)

    def serve_by(
        self,
        scheduler: Scheduler,
        dests: Sequence[Dest],
        *,
        service: int = 0,
        port: int = 80,
        protocol: int = TCP_NUMBER,
        vip: str = VIP,
        **how: int | bool | DeadFlows,
    ) -> None:
        """Serve VIP:port by real servers in the order of the configuration, through the pure plan's
        own words. A destination's name is its index, its address and port are the test's."""
        members = []
        for dest in dests:
            self.set_real(
                dest.name,
                service=service,
                port=port,
                vip=vip,
                weight=dest.weight,
                upper=dest.upper,
                lower=dest.lower,
            )
            members.append(
                Member(dest.name, dest.address, dest.port, dest.weight, dest.last_weight)
            )
        put_tables(self.datapath, [(self._first + service, table_of(scheduler, members))])
        word: Scheduler = "rr" if scheduler == "wrr" else scheduler
        served = Served(self._first + service, False, word, **how)  # type: ignore[arg-type]
        self.datapath.set_service(vip, 0, 0, 0)
        self.datapath.set_service(vip, port, protocol, *as_program(served))

    def load(self, index: int) -> tuple[int, int, bool]:
        """(active, inactive, overloaded) as the program sees it."""
        return self.datapath.load(index)

    def set_real(
        self,
        index: int,
        *,
        listed: bool = True,
        mac: bytes | None = b"",
        mtu: int = MTU,
        local: bool = False,
        service: int = 0,
        port: int = 80,
        vip: str = VIP,
        tunnel: tuple[str, int, bool, str] | None = None,
        weight: int = 1,
        upper: int = 0,
        lower: int = 0,
    ) -> None:
        """Write one real server; `mac` None: not known. Its address is of the VIP's version, or of
        the tunnel's source's."""
        hop = None if mac is None else (mac or real_mac(index), DIRECTOR_MAC, EGRESS, mtu)
        address = str(real_address(index, tunnel[3] if tunnel else vip))
        place, share = self._first + service, (weight, upper, lower)
        self.datapath.set_real(index, address, port, place, listed, hop, local, tunnel, *share)

    def send(self, frame: Packet | bytes) -> tuple[int, bytes]:
        """The verdict (in tc's words), and the frame as the program left it."""
        verdict, packet, _ = self.datapath.test_run(bytes(frame))
        return XDP_VERDICTS[verdict] if self.hook == "xdp" else verdict, packet

    def real_of(self, frame: Packet | bytes) -> int:
        """Which real server a frame is forwarded to."""
        verdict, packet = self.send(frame)
        assert verdict == REDIRECT, f"verdict {verdict}, reasons {self.reasons()}"
        assert packet[:5] == real_mac(0)[:5], "not sent to a real server"
        return packet[5]

    def reasons(self) -> dict[str, int]:
        """The reasons met since `clear`."""
        return dict(Counter(dict(self.datapath.reasons())) - self._reasons)


def segment(flags: str = "S", *, sport: int = 40000, dport: int = 80, **ip: object) -> Ether:
    """A frame from the client to the VIP."""
    fields: dict[str, object] = {"src": CLIENT, "dst": VIP, "ttl": 64, **ip}
    return (
        Ether(dst=HERE, src=CLIENT_MAC) / IP(**fields) / TCP(sport=sport, dport=dport, flags=flags)
    )


def segment6(flags: str = "S", *, sport: int = 40000, dport: int = 80, **ip: object) -> Ether:
    """The same over IPv6."""
    fields: dict[str, object] = {"src": CLIENT6, "dst": VIP6, "hlim": 64, **ip}
    tcp = TCP(sport=sport, dport=dport, flags=flags)
    return Ether(dst=HERE, src=CLIENT_MAC) / IPv6(**fields) / tcp


def datagram(*, sport: int = 40000, dport: int = 53, load: bytes = b"?", **ip: object) -> Ether:
    """A UDP datagram from the client to the VIP."""
    fields: dict[str, object] = {"src": CLIENT, "dst": VIP, "ttl": 64, **ip}
    return Ether(dst=HERE, src=CLIENT_MAC) / IP(**fields) / UDP(sport=sport, dport=dport) / load
