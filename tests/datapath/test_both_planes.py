"""One suite of behaviour for both data planes: ours in this kernel, IPVS in the test machine."""

from collections.abc import Iterator

import pytest
from director_rig import CLIENT_MAC, datagram, segment, segment6
from planes import EbpfPlane, IpvsPlane, Plane, service, source_port
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether

from trimaran.director.plan import key_of
from trimaran.director.settings import ServiceSettings, TunnelSettings
from vm.machine import Machine


@pytest.fixture(scope="module", params=["ebpf", "ipvs"])
def any_plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Plane]:
    """One of each for all tests."""
    if request.param == "ebpf":
        ebpf = EbpfPlane()
        yield ebpf
        ebpf.close()
        return
    vm: Machine = request.getfixturevalue("vm")
    with vm.relayed() as world:
        ipvs = IpvsPlane(world, tmp_path_factory.mktemp("ipvs") / "ipvs.json")
        yield ipvs
        ipvs.close()


@pytest.fixture
def plane(any_plane: Plane) -> Plane:
    """With nothing served."""
    any_plane.converge((), set())
    return any_plane


def real_of(plane: Plane, frame: Ether) -> int | None:
    """The index of the real server that a frame is forwarded to."""
    packet = plane.forward(frame)
    return packet[5] if packet else None


def new_flows(plane: Plane, count: int) -> list[int | None]:
    """Where so many new TCP connections go."""
    return [real_of(plane, segment(sport=source_port())) for _ in range(count)]


def down(one: ServiceSettings, *indices: int) -> set:
    return {key_of(one, real) for real in one.real_servers if int(real.name[4:]) in indices}


def test_a_frame_is_forwarded_alike_byte_for_byte(plane: Plane) -> None:
    plane.converge((service({1: 1}),), set())
    port = source_port()
    packet = plane.forward(segment("S", sport=port, tos=0x28, id=7))
    assert packet is not None
    want = Ether(dst="02:00:00:00:01:01", src="02:00:00:00:00:01") / IP(
        src="10.0.0.50", dst="10.0.0.100", ttl=63, tos=0x28, id=7
    )
    assert packet == bytes(want / TCP(sport=port, dport=80, flags="S"))


def test_a_flow_stays_where_it_began(plane: Plane) -> None:
    plane.converge((service({1: 1, 2: 1, 3: 1}),), set())
    port = source_port()
    first = real_of(plane, segment("S", sport=port))
    new_flows(plane, 2)
    assert {real_of(plane, segment("A", sport=port)) for _ in range(4)} == {first}


def test_round_robin_takes_turns_the_newest_first(plane: Plane) -> None:
    plane.converge((service({1: 1, 2: 1, 3: 1}),), set())
    turns = new_flows(plane, 6)
    assert turns[:3] == turns[3:]
    start = turns.index(3)
    assert (turns + turns)[start : start + 3] == [3, 2, 1]


def test_weighted_round_robin_has_the_kernels_cycle(plane: Plane) -> None:
    plane.converge((service({1: 3, 2: 2, 3: 1}, scheduler="wrr"),), set())
    turns = new_flows(plane, 12)
    assert turns[:6] == turns[6:]
    doubled = turns + turns
    assert any(doubled[at : at + 6] == [1, 2, 1, 3, 2, 1] for at in range(6)), turns


def test_failover_gives_all_to_the_greatest_weight(plane: Plane) -> None:
    one = service({1: 5, 2: 9, 3: 1}, scheduler="fo")
    plane.converge((one,), set())
    assert new_flows(plane, 3) == [2, 2, 2]
    plane.converge((one,), down(one, 2))
    assert new_flows(plane, 2) == [1, 1]


def test_weight_0_gets_no_new_flow_and_keeps_its_own(plane: Plane) -> None:
    plane.converge((service({1: 1, 2: 1}),), set())
    port = source_port()
    first = real_of(plane, segment("S", sport=port))
    assert first is not None
    plane.converge((service({1: 1, 2: 1} | {first: 0}),), set())
    assert new_flows(plane, 3) == [3 - first] * 3
    assert real_of(plane, segment("A", sport=port)) == first


def test_one_that_is_down_gets_nothing_and_comes_back(plane: Plane) -> None:
    one = service({1: 1, 2: 1})
    plane.converge((one,), set())
    port = source_port()
    first = real_of(plane, segment("S", sport=port))
    assert first is not None
    plane.converge((one,), down(one, first))
    assert new_flows(plane, 3) == [3 - first] * 3
    assert real_of(plane, segment("A", sport=port)) is None
    plane.converge((one,), set())
    assert set(new_flows(plane, 2)) == {1, 2}


def test_nobody_left_is_forwarded_nowhere(plane: Plane) -> None:
    one = service({1: 1, 2: 1})
    plane.converge((one,), down(one, 1, 2))
    assert new_flows(plane, 2) == [None, None]


def test_what_is_not_served_is_not_forwarded(plane: Plane) -> None:
    plane.converge((service({1: 1}),), set())
    assert real_of(plane, segment(sport=source_port(), dport=81)) is None
    assert real_of(plane, datagram(sport=source_port(), dport=80)) is None
    plane.converge((), set())
    assert new_flows(plane, 1) == [None]


def test_udp_beside_tcp_on_one_port(plane: Plane) -> None:
    plane.converge(
        (service({1: 1}, port=53), service({2: 1}, port=53, protocol="udp")),
        set(),
    )
    port = source_port()
    assert real_of(plane, segment(sport=port, dport=53)) == 1
    packet = plane.forward(datagram(sport=port, load=b"hello"))
    assert packet is not None and packet[5] == 2
    assert Ether(packet)[UDP].payload.load == b"hello"


def test_ipv6(plane: Plane) -> None:
    plane.converge((service({1: 1, 2: 1}, vip="fd00::100"),), set())
    port = source_port()
    packet = plane.forward(segment6("S", sport=port))
    assert packet is not None
    want = Ether(dst=packet[:6].hex(":"), src="02:00:00:00:00:01")
    want /= IPv6(src="fd00::50", dst="fd00::100", hlim=63)
    assert packet == bytes(want / TCP(sport=port, dport=80, flags="S"))
    assert real_of(plane, segment6("A", sport=port)) == packet[5]
    assert CLIENT_MAC not in packet.hex(":")


TUNNELS = [
    TunnelSettings("ipip"),
    TunnelSettings("gre"),
    TunnelSettings("gre", checksum=True),
    TunnelSettings("gue", 6080),
    TunnelSettings("gue", 6080, checksum=True),
]


@pytest.mark.parametrize("tunnel", TUNNELS, ids=str)
@pytest.mark.parametrize("version", [4, 6])
def test_a_tunnel_wraps_alike(plane: Plane, tunnel: TunnelSettings, version: int) -> None:
    """Every byte but what a sender is free in (identification, GUE's source port), and the
    checksums, which IPVS leaves to the device."""
    vip = "10.0.0.100" if version == 4 else "fd00::100"
    plane.converge((service({1: 1}, vip=vip, tunnel=tunnel),), set())
    frame = (segment if version == 4 else segment6)("S", sport=source_port())
    packet = plane.forward(frame)
    assert packet is not None and packet[5] == 1
    inner = bytearray(bytes(frame.payload))
    around, within = packet[14 : -len(inner)], bytearray(packet[-len(inner) :])
    hops = 8 if version == 4 else 7
    assert within[hops] == inner[hops] - 1, "the packet lost a hop"
    if version == 4:  # and so its checksum changed
        within[10:12] = inner[10:12]
    inner[hops] -= 1
    assert within == inner
    size = 20 if version == 4 else 40
    assert _masked(around, size, tunnel).hex() == _outer(version, tunnel, len(inner)).hex()


def _masked(around: bytes, size: int, tunnel: TunnelSettings) -> bytes:
    masked = bytearray(around)
    free = [(4, 6), (10, 12)] if size == 20 else []
    if tunnel.kind == "gue":
        free += [(size, size + 2), (size + 6, size + 8)]
    elif tunnel.checksum:
        free += [(size + 4, size + 6)]
    for start, stop in free:
        masked[start:stop] = bytes(stop - start)
    return bytes(masked)


def _outer(version: int, tunnel: TunnelSettings, length: int) -> bytes:
    inside = 4 if version == 4 else 41
    ethertype = "0800" if version == 4 else "86dd"
    shim = ""
    if tunnel.kind == "gre":
        shim = f"8000{ethertype}00000000" if tunnel.checksum else f"0000{ethertype}"
    elif tunnel.kind == "gue":
        shim = f"0000{tunnel.port:04x}{length + 12:04x}0000" + f"00{inside:02x}0000"
    protocol = {"ipip": inside, "gre": 47, "gue": 17}[tunnel.kind]
    longer = length + len(shim) // 2
    if version == 4:
        head = f"4500{longer + 20:04x}00000000 3f{protocol:02x}0000 0a000001 0a00000b"
    else:
        ends = "fd00" + "00" * 13 + "01" + "fd00" + "00" * 13 + "0b"
        head = f"60000000{longer:04x}{protocol:02x}3f{ends}"
    return bytes.fromhex(head + shim)
