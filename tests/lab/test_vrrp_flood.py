"""Hostile datagrams, as many as this machine can send: no state changes, no advert is late by more
than one interval, and what the kernel can tell wakes nobody up."""

import itertools
import random
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

import pytest

from lan import Capture, Lan, Role, inside, ip, lan, wait_until
from trimaran.system.vrrp_socket import VrrpSocket
from trimaran.vrrp.packet import GROUP, Advert, Dialect, checksum, encode
from trimaran.vrrp.settings import RouterSettings, VrrpSettings

A, B, EVIL, VIP = "192.0.2.1", "192.0.2.2", "192.0.2.66", "192.0.2.100"
INTERVAL_S = 2.0  # so that a machine that stalls for a second is not taken for a late advert
ROUTER = RouterSettings(
    "front", 10, "ens33", 200, (IPv4Interface(f"{VIP}/32"),),
    advert_interval_s=INTERVAL_S, password=b"x",
)  # fmt: skip
FLOOD_S = 6.0
SEED = 20261122


class Rig:
    def __init__(self, made: Lan) -> None:
        self.lan = made
        for name, address in (("a", A), ("b", B), ("evil", EVIL), ("observer", "192.0.2.3")):
            made.machine(name, address)
        self.wire: Capture = made.capture("observer")
        self.roles: list[Role] = []

    def start(self, name: str, *routers: RouterSettings) -> Role:
        settings = VrrpSettings(name, routers)
        self.roles.append(Role(self.lan, name, "trimaran.node.vrrp_role", settings))
        return self.roles[-1]


@pytest.fixture
def rig() -> Iterator[Rig]:
    with lan() as made:
        rig = Rig(made)
        yield rig
        for role in rig.roles:
            role.close()


def ip_datagram(message: bytes, ttl: int = 255, protocol: int = 112) -> bytes:
    size = 20 + len(message)
    header = bytes([0x45, 0xC0, size >> 8, size & 0xFF, 0, 1, 0, 0, ttl, protocol, 0, 0])
    header += IPv4Address(EVIL).packed + GROUP.packed
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + message


def frames(mac: bytes) -> list[bytes]:
    """Everything that is wrong with an advert of priority 255 for router 10, and for others."""
    dice = random.Random(SEED)
    source = IPv4Address(EVIL)
    good = encode(Advert(255, 200, (IPv4Address(VIP),)), Dialect(10, password=b"x"), source, GROUP)

    def with_byte(at: int, value: int) -> bytes:
        changed = bytearray(good)
        changed[at] = value
        changed[6:8] = b"\0\0"
        changed[6:8] = checksum(bytes(changed)).to_bytes(2, "big")
        return bytes(changed)

    hostile = [
        ip_datagram(good, ttl=254),
        ip_datagram(good[:6] + b"\0\0" + good[8:]),
        ip_datagram(good[:-1]),
        ip_datagram(good + b"\0"),
        ip_datagram(good[:5]),
        ip_datagram(with_byte(0, 0x31)),
        ip_datagram(with_byte(0, 0x22)),
        ip_datagram(with_byte(1, 11)),
        ip_datagram(with_byte(4, 2)),
        ip_datagram(with_byte(5, 1)),
        ip_datagram(with_byte(len(good) - 1, 7)),
        *(ip_datagram(dice.randbytes(dice.randrange(40))) for _ in range(20)),
    ]
    hostile += [ip_datagram(with_byte(1, each)) for each in range(20, 220)]  # strangers: most of it
    dice.shuffle(hostile)
    return [bytes.fromhex("01005e000012") + mac + b"\x08\x00" + each for each in hostile]


def flood(rig: Rig) -> int:
    """How many were sent."""
    every = frames(rig.lan.mac("evil"))
    with inside(rig.lan.namespace("evil")):
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sender.bind(("ens33", 0))
    sent, until = 0, time.monotonic() + FLOOD_S
    with sender:
        while time.monotonic() < until:
            for frame in every:
                sender.send(frame)
            sent += len(every)
    return sent


def transitions(role: Role) -> int:
    return len(role.events("vrrp.transition"))


def test_a_flood_changes_nothing(rig: Rig) -> None:
    master = rig.start("a", ROUTER)
    master.wait_for(kind="event", message="front: BACKUP → MASTER")
    backup = rig.start("b", replace(ROUTER, priority=100))
    wait_until("b heard a", lambda: backup.status()["routers"][0]["master"])
    before = [transitions(master), transitions(backup)]
    started = wait_until("adverts", lambda: rig.wire.adverts(A))[-1].at
    worker = threading.Thread(target=flood, args=(rig,))
    worker.start()
    worker.join()  # the capture reads beside it
    count = len(rig.wire.adverts(A))
    wait_until("two more adverts", lambda: len(rig.wire.adverts(A)) >= count + 2)
    times = [each.at for each in rig.wire.adverts(A) if each.at >= started]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) < 2 * INTERVAL_S, f"seed {SEED}: late by more than an interval: {gaps}"
    assert [transitions(master), transitions(backup)] == before, f"seed {SEED}"
    assert rig.wire.adverts(B) == []
    for role in (master, backup):
        counters = role.status()["routers"][0]["counters"]
        assert counters["rejected_checksum"] > 10
        assert "rejected_ttl" not in counters, "the kernel drops what came from afar"
        assert len(role.events("vrrp.rejected")) < 40, "once a minute for each reason"


def test_what_the_kernel_drops_wakes_nobody(rig: Rig) -> None:
    """The filter alone: of every kind of frame only those that may be ours come up."""
    with inside(rig.lan.namespace("a")):
        index = socket.if_nametoindex("ens33")
        ours, others = VrrpSocket(index, "ipv4", [10, 11, 250]), VrrpSocket(index, "ipv4")
    sent = frames(rig.lan.mac("evil"))
    with inside(rig.lan.namespace("evil")):
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sender.bind(("ens33", 0))
    with sender:
        for frame in sent:
            sender.send(frame)
    wanted = {
        each[34:] for each in sent if each[22] == 255 and each[35:36] in (b"\n", b"\x0b", b"\xfa")
    }
    heard: set[bytes] = set()
    many = 0

    def read() -> bool:
        nonlocal many
        while (datagram := ours.receive()) is not None:
            heard.add(getattr(datagram, "payload", b""))
        while others.receive() is not None:
            many += 1
        return heard >= wanted and many > 200

    wait_until("all of ours", read)
    assert heard == wanted
    ours.close()
    others.close()


def held(rig: Rig) -> int:
    """How many of their addresses the machine carries."""
    said = ip("-n", rig.lan.namespace("a"), "-o", "address", "show", "dev", "ens33")
    return said.count("/32 ") + said.count("/128 ")


def test_several_hundred_virtual_routers_on_one_node(rig: Rig) -> None:
    """110 on IPv4 and 110 on IPv6; every one of them is master, and holds its address."""
    four = [
        RouterSettings(f"four{n}", n, "ens33", 254, (IPv4Interface(f"192.0.2.{n}/32"),),
                       version=3, garp_repeat=1, garp_delay_s=0.0)
        for n in range(145, 255)
    ]  # fmt: skip
    six = [
        replace(each, name=f"six{each.router_id}",
                addresses=(IPv6Interface(f"fe80::{each.router_id:x}/128"),))
        for each in four
    ]  # fmt: skip
    role = rig.start("a", *four, *six)
    wait_until("all addresses are held", lambda: held(rig) == 220, 90)
    assert role.process.poll() is None, role.ended()
    routers = role.status()["routers"]
    assert [each["state"] for each in routers] == ["MASTER"] * 220
    heard = len(rig.wire.adverts(A))
    wait_until("two rounds", lambda: len(rig.wire.adverts(A)) >= heard + 2 * len(four), 60)
    role.stop()
    assert role.ended(60)[0] == 0
    assert held(rig) == 0
