"""Version 3 beside real keepalived: IPv4 and IPv6, multicast and unicast.
All that is asserted is seen from outside, or said by the other side."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest
from keepalived import Keepalived

from lan import Capture, Lan, Role, ip, lan, wait_until
from trimaran.node.recording import replay
from trimaran.vrrp.packet import Checksum, Peer
from trimaran.vrrp.settings import RouterSettings, VrrpSettings

OURS, THEIRS, OBSERVER = "192.168.31.93", "192.168.31.91", "192.168.31.200"
INTERVAL_S = 0.25  # a busy machine holds a process up for a tenth of a second and more
NOISE_S = 5.0


@dataclass(frozen=True)
class Wire:
    """How the two speak with each other."""

    vip: str
    theirs: str
    ours: dict[str, object]


MULTICAST4 = Wire("192.168.31.145", "", {})
UNICAST4 = Wire(
    "192.168.31.145",
    f"unicast_src_ip {THEIRS}\n unicast_peer {{\n {OURS}\n }}\n",
    {"peers": (Peer(ip_address(THEIRS), 255, 255),), "check_source": True,
     "source": ip_address(OURS)},
)  # fmt: skip
MULTICAST6 = Wire("fe80::145", "", {})
WIRES = {"IPv4": MULTICAST4, "IPv4 unicast": UNICAST4, "IPv6": MULTICAST6}


class Pair:
    """Ours and theirs on one LAN, and somebody who listens."""

    def __init__(self, made: Lan, directory: Path, wire: Wire) -> None:
        self.lan, self._directory, self.wire = made, directory, wire
        for name, address in (("ours", OURS), ("theirs", THEIRS), ("observer", OBSERVER)):
            made.machine(name, address)
        self.capture: Capture = made.capture("observer")
        self.roles: list[Role] = []

    def ours(self, priority: int, record: str | None = None, **changes: object) -> Role:
        address = ip_interface(self.wire.vip)
        router = RouterSettings(
            "front", 51, "ens33", priority, (address,), version=3, advert_interval_s=INTERVAL_S
        )
        changed = replace(router, **(self.wire.ours | changes))  # type: ignore[arg-type]
        role = Role(
            self.lan,
            "ours",
            "trimaran.node.vrrp_role",
            VrrpSettings("ours", (changed,), record=record),
        )
        self.roles.append(role)
        return role

    def theirs(self, priority: int, more: str = "") -> Keepalived:
        options = f"version 3\n advert_int {INTERVAL_S}\n {self.wire.theirs} {more}"
        return Keepalived(
            self.lan, "theirs", self._directory,
            priority=priority, address=self.wire.vip, options=options,
        )  # fmt: skip

    def holders(self) -> list[str]:
        return [name for name in ("ours", "theirs") if self._holds(name)]

    def _holds(self, name: str) -> bool:
        said = ip("-n", self.lan.namespace(name), "address", "show", "dev", "ens33")
        return f" {self.wire.vip}/" in said

    def wait_holder(self, name: str, within_s: float = 1.0) -> None:
        wait_until(f"{name} alone holds it", lambda: self.holders() == [name], within_s + NOISE_S)


@pytest.fixture(params=WIRES, ids=str)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    with lan() as made:
        pair = Pair(made, tmp_path, WIRES[request.param])
        yield pair
        for role in pair.roles:
            role.close()


def router(role: Role) -> dict[str, object]:
    return role.status()["routers"][0]  # type: ignore[no-any-return]


def test_mastership_goes_to_and_fro(pair: Pair) -> None:
    theirs = pair.theirs(151)
    pair.wait_holder("theirs", 3)
    ours = pair.ours(101)
    wait_until("we follow", lambda: (r := router(ours))["master"] and r["state"] == "BACKUP")
    assert router(ours)["checksum"] == "pseudo-header and message"

    theirs.stop()  # it resigns
    pair.wait_holder("ours")
    event = ours.wait_for(kind="event", message="front: BACKUP → MASTER")
    assert str(event["cause"]).endswith("resigned (priority 0)")

    theirs.start()  # it preempts
    pair.wait_holder("theirs", 3)
    ours.wait_for(kind="event", message="front: MASTER → BACKUP")

    theirs.kill()
    wait_until("we take over", lambda: "ours" in pair.holders(), 1 + NOISE_S)
    ours.stop()
    assert ours.ended()[0] == 0
    assert "ours" not in pair.holders()


def test_they_follow_us(pair: Pair) -> None:
    ours = pair.ours(151)
    pair.wait_holder("ours")
    theirs = pair.theirs(101)
    wait_until("they are BACKUP", lambda: "Entering BACKUP STATE" in theirs.log())
    sent = router(ours)["counters"]["adverts_sent"]  # type: ignore[index]
    wait_until(
        "twenty adverts",
        lambda: router(ours)["counters"]["adverts_sent"] > sent + 20,  # type: ignore[index]
    )
    assert pair.holders() == ["ours"]
    assert "MASTER STATE" not in theirs.log()
    assert "checksum" not in theirs.log().lower()
    ours.stop()
    assert ours.ended()[0] == 0
    pair.wait_holder("theirs")


@pytest.mark.parametrize("pair", ["IPv4"], indirect=True)
def test_another_interval_is_learnt(pair: Pair) -> None:
    pair.theirs(151)
    pair.wait_holder("theirs", 3)
    ours = pair.ours(101, advert_interval_s=0.01)
    warning = ours.wait_for(kind="event", name="vrrp.warning")
    assert (
        warning["message"] == f"front: {THEIRS} advertises every {INTERVAL_S} s, unlike this node"
    )
    heard = router(ours)["counters"]["adverts_received"]  # type: ignore[index]
    wait_until(
        "forty adverts",
        lambda: router(ours)["counters"]["adverts_received"] > heard + 40,  # type: ignore[index]
    )
    assert pair.holders() == ["theirs"], "50 ms are longer than three times its own 10"


@pytest.mark.parametrize("pair", ["IPv4"], indirect=True)
def test_a_checksum_without_pseudo_header_is_refused_by_them_and_taken_by_us(pair: Pair) -> None:
    ours = pair.ours(151, checksum=Checksum.MESSAGE)
    pair.wait_holder("ours")
    theirs = pair.theirs(101)
    wait_until("two masters", lambda: pair.holders() == ["ours", "theirs"], 3 + NOISE_S)
    assert "checksum" in theirs.log().lower()
    assert router(ours)["state"] == "MASTER"


@pytest.mark.parametrize("pair", ["IPv4"], indirect=True)
def test_a_recorded_session_plays_as_it_was(pair: Pair, tmp_path: Path) -> None:
    """How tests/unit/recordings/keepalived.jsonl came to be."""
    theirs = pair.theirs(151)
    pair.wait_holder("theirs", 3)
    ours = pair.ours(101, record=str(tmp_path))
    wait_until("we follow", lambda: router(ours)["master"])
    theirs.stop()
    pair.wait_holder("ours")
    theirs.start()
    pair.wait_holder("theirs", 3)
    theirs.kill()
    wait_until("we take over", lambda: "ours" in pair.holders(), 1 + NOISE_S)
    ours.stop()
    assert ours.ended()[0] == 0
    with (tmp_path / "front-1.jsonl").open() as lines:
        steps = list(replay(lines))
    assert all(step.same for step in steps)
    assert [step.effects for step in steps] == [step.recorded for step in steps]
    assert sum(step.input == "receive" for step in steps) > 3
    states = [step.state for step in steps]
    assert states.count("MASTER") and states[-1] == "STOPPED"
