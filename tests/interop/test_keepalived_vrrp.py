"""Our vrrp process beside real keepalived, either of them being master. All that is asserted is
seen from outside: addresses in the kernel, frames at an observer."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
from keepalived import Keepalived

from lan import Capture, Lan, Role, lan, wait_until
from trimaran.vrrp.packet import Peer
from trimaran.vrrp.settings import RouterSettings, VrrpSettings

VIP = "192.168.31.145"
OURS, THEIRS, OBSERVER = "192.168.31.93", "192.168.31.91", "192.168.31.200"
ROUTER = RouterSettings("front", 51, "ens33", 100, (IPv4Interface(f"{VIP}/32"),), password=b"1111")
NOISE_S = 5.0  # a busy machine may add this; never the reason why a bound holds


class Pair:
    """Ours and theirs on one LAN, and somebody who listens."""

    def __init__(self, made: Lan, directory: Path) -> None:
        self.lan, self._directory = made, directory
        made.machine("ours", OURS)
        made.machine("theirs", THEIRS)
        made.machine("observer", OBSERVER)
        self.wire: Capture = made.capture("observer")
        self.roles: list[Role] = []

    def ours(self, priority: int, **changes: object) -> Role:
        router = replace(ROUTER, priority=priority, **changes)  # type: ignore[arg-type]
        settings = VrrpSettings("ours", (router,))
        self.roles.append(Role(self.lan, "ours", "trimaran.node.vrrp_role", settings))
        return self.roles[-1]

    def theirs(
        self, priority: int, password: str = "1111", options: str | None = None
    ) -> Keepalived:
        return Keepalived(
            self.lan, "theirs", self._directory,
            priority=priority, address=VIP, password=password, options=options,
        )  # fmt: skip

    def holders(self) -> list[str]:
        return [name for name in ("ours", "theirs") if self.lan.holds(name, VIP)]

    def wait_holder(self, name: str, within_s: float) -> None:
        wait_until(f"{name} alone holds it", lambda: self.holders() == [name], within_s + NOISE_S)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    with lan() as made:
        pair = Pair(made, tmp_path)
        yield pair
        for role in pair.roles:
            role.close()


def down(priority: int) -> float:
    return 3 + (256 - priority) / 256


def test_keepalived_is_master_dies_and_returns(pair: Pair) -> None:
    theirs = pair.theirs(151)
    pair.wait_holder("theirs", down(151))
    ours = pair.ours(101)
    wait_until("we heard it", lambda: ours.status()["routers"][0]["master"])
    assert ours.status()["routers"][0]["master"] == {"address": THEIRS, "priority": 151}

    theirs.kill()
    wait_until("we take over", lambda: pair.lan.holds("ours", VIP), down(101) + NOISE_S)
    gap = pair.wire.adverts(OURS, 101)[0].at - pair.wire.adverts(THEIRS, 151)[-1].at
    assert down(101) - 0.05 < gap < down(101) + NOISE_S
    advert, arp = pair.wire.adverts(OURS, 101)[0], pair.wire.arps(pair.lan.mac("ours"), VIP)[0]
    assert advert.at < arp.at
    wait_until("five ARPs", lambda: len(pair.wire.arps(pair.lan.mac("ours"), VIP)) >= 5)
    event = ours.wait_for(kind="event", message="front: BACKUP → MASTER")
    assert event["cause"].startswith(f"no advert from {THEIRS} for 3.6")

    theirs.start()
    pair.wait_holder("theirs", 2 * down(151))
    event = ours.wait_for(kind="event", message="front: MASTER → BACKUP")
    assert event["cause"] == f"{THEIRS} advertises priority 151, ours is 101"
    # Our last word came after we had let go, and made the winner announce the address again.
    last = pair.wire.adverts(OURS, 101)[-1].at
    wait_until(
        "ARP by the winner after our last word",
        lambda: any(each.at > last for each in pair.wire.arps(pair.lan.mac("theirs"), VIP)),
    )
    assert len(pair.wire.adverts(OURS)) == len(pair.wire.adverts(OURS, 101))


def test_ours_is_master_resigns_and_returns(pair: Pair) -> None:
    ours = pair.ours(151)
    pair.wait_holder("ours", down(151))
    theirs = pair.theirs(101)
    wait_until("they are BACKUP", lambda: "Entering BACKUP STATE" in theirs.log())

    ours.stop()
    assert ours.process.wait(10) == 0
    wait_until("they hold it", lambda: pair.holders() == ["theirs"])
    resigned = pair.wire.adverts(OURS, 0)
    assert len(resigned) == 1
    successor = pair.wire.adverts(THEIRS, 101)[0].at
    skew = (256 - 101) / 256
    assert skew - 0.05 < successor - resigned[0].at < skew + NOISE_S

    pair.ours(151)
    pair.wait_holder("ours", 2 * down(151))
    wait_until("they speak no more", lambda: pair.wire.adverts(OURS)[-1].data[36] == 151)
    assert pair.wire.adverts(THEIRS, 0) == []


def test_keepalived_resigns_to_ours(pair: Pair) -> None:
    theirs = pair.theirs(151)
    pair.wait_holder("theirs", down(151))
    ours = pair.ours(101)
    wait_until("we heard it", lambda: ours.status()["routers"][0]["master"])
    theirs.stop()
    pair.wait_holder("ours", 1)
    event = ours.wait_for(kind="event", message="front: BACKUP → MASTER")
    assert event["cause"] == f"{THEIRS} resigned (priority 0)"
    assert pair.wire.adverts(THEIRS, 0)


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_the_first_of_two_equals_stays(pair: Pair, first: str) -> None:
    starters = {"ours": lambda: pair.ours(120), "theirs": lambda: pair.theirs(120)}
    starters.pop(first)()
    pair.wait_holder(first, down(120))
    starters.popitem()[1]()
    address = OURS if first == "ours" else THEIRS
    heard = len(pair.wire.adverts(address))
    wait_until("six adverts more", lambda: len(pair.wire.adverts(address)) >= heard + 6)
    assert pair.holders() == [first]


def test_two_equal_masters_after_a_silent_cut(pair: Pair) -> None:
    """The greater address, ours, wins; ours announces the address again."""
    ours = pair.ours(120)
    pair.wait_holder("ours", down(120))
    pair.theirs(120)
    pair.lan.cut("theirs", silent=True)
    wait_until("two masters", lambda: pair.holders() == ["ours", "theirs"], down(120) + 5)
    before = len(pair.wire.arps(pair.lan.mac("ours"), VIP))
    pair.lan.heal("theirs")
    pair.wait_holder("ours", 1)
    wait_until("ARP again", lambda: len(pair.wire.arps(pair.lan.mac("ours"), VIP)) > before)
    assert ours.status()["routers"][0]["state"] == "MASTER"


def test_a_silent_cut_that_they_win(pair: Pair) -> None:
    ours = pair.ours(101)
    pair.theirs(151)
    pair.wait_holder("theirs", down(151))
    pair.lan.cut("ours", silent=True)
    wait_until("two masters", lambda: pair.holders() == ["ours", "theirs"], down(101) + NOISE_S)
    pair.lan.heal("ours")
    pair.wait_holder("theirs", 1)
    last = pair.wire.adverts(OURS, 101)[-1].at
    wait_until(
        "ARP by the winner after our last word",
        lambda: any(each.at > last for each in pair.wire.arps(pair.lan.mac("theirs"), VIP)),
    )
    assert ours.status()["routers"][0]["state"] == "BACKUP"
    first = next(each.at for each in pair.wire.adverts(OURS, 101) if each.at > last - 1.5)
    spoken = [each for each in pair.wire.adverts(OURS) if each.at >= first]
    assert len(spoken) <= 3, "one on the wire, the last word, and silence"


def test_another_password_is_rejected_and_told(pair: Pair) -> None:
    pair.theirs(151, password="2222")
    ours = pair.ours(101)
    event = ours.wait_for(kind="event", name="vrrp.rejected")
    assert event["data"]["reason"] == "AUTHENTICATION"
    assert "1111" not in str(ours.messages) and "2222" not in str(ours.messages)
    wait_until("we hold it too", lambda: pair.lan.holds("ours", VIP), down(101) + NOISE_S)


AH = "advert_int 1\n authentication {\n auth_type AH\n auth_pass 1111\n }\n"
PEER = f"{AH} unicast_src_ip {THEIRS}\n unicast_peer {{\n {OURS}\n }}\n"


@pytest.mark.parametrize("peers", [(), (Peer(IPv4Address(THEIRS)),)], ids=["multicast", "unicast"])
def test_mastership_goes_to_and_fro_under_ah(pair: Pair, peers: tuple[Peer, ...]) -> None:
    """Whoever takes over goes on with the other's sequence; a restarted one finds into it."""
    ours = pair.ours(101, ah=True, peers=peers)
    pair.wait_holder("ours", down(101))
    theirs = pair.theirs(151, options=PEER if peers else AH)
    pair.wait_holder("theirs", 2 * down(151))
    status = ours.status()["routers"][0]
    assert (status["state"], status["master"]["address"]) == ("BACKUP", THEIRS)
    theirs.stop()
    pair.wait_holder("ours", 2)
    theirs.start()  # its sequence begins at 1 again
    pair.wait_holder("theirs", 3 * down(151))
    theirs.kill()
    wait_until("we take over", lambda: pair.lan.holds("ours", VIP), down(101) + NOISE_S)
    counters = ours.status()["routers"][0]["counters"]
    assert counters.get("rejected_authentication", 0) == 0
    assert "invalid" not in theirs.log()


def test_another_key_of_ah_is_rejected(pair: Pair) -> None:
    pair.theirs(151, options=AH.replace("1111", "2222"))
    ours = pair.ours(101, ah=True)
    event = ours.wait_for(kind="event", name="vrrp.rejected")
    assert event["data"]["reason"] == "AUTHENTICATION"
    assert "1111" not in str(ours.messages) and "2222" not in str(ours.messages)
