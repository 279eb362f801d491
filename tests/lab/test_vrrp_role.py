"""The vrrp process alone, on interfaces of its own; looked at from outside."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

import pytest

from lan import Lan, Role, ip, lan, wait_until
from trimaran.vrrp.settings import RouterSettings, Track, VrrpSettings

A, B, OBSERVER = "192.0.2.1", "192.0.2.2", "192.0.2.3"
VIPS = ("192.0.2.100", "192.0.2.101")
VIP = VIPS[0]
ROUTER = RouterSettings(
    "front", 10, "ens33", 255, tuple(IPv4Interface(f"{vip}/32") for vip in VIPS),
    password=b"secret1",
)  # fmt: skip
NOISE_S = 5.0


class Nodes:
    """Machines a and b, an observer, and the vrrp processes that a test starts on them."""

    def __init__(self, made: Lan) -> None:
        self.lan = made
        for name, address in (("a", A), ("b", B), ("observer", OBSERVER)):
            made.machine(name, address)
        self.wire = made.capture("observer")
        self.roles: list[Role] = []

    def start(self, name: str, priority: int, under: tuple[str, ...] = (), **changes: Any) -> Role:
        """A process; priority 255 is master at once."""
        settings = VrrpSettings(name, (replace(ROUTER, priority=priority, **changes),))
        role = Role(self.lan, name, "trimaran.node.vrrp_role", settings, under=under)
        self.roles.append(role)
        return role

    def wait_holds(self, name: str, within_s: float = 10.0) -> None:
        wait_until(f"{name} holds it", lambda: self.lan.holds(name, VIP), within_s)

    def wait_free(self, name: str, within_s: float = 10.0) -> None:
        wait_until(f"{name} holds nothing", lambda: not self.lan.holds(name, VIP), within_s)


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with lan() as made:
        nodes = Nodes(made)
        yield nodes
        for role in nodes.roles:
            role.close()


def state(role: Role) -> str:
    return str(role.status()["routers"][0]["state"])


def test_the_bytes_on_the_wire(nodes: Nodes) -> None:
    nodes.start("a", 255)
    frame = wait_until("an advert", lambda: nodes.wire.adverts(A, 255))[0].data
    mac = nodes.lan.mac("a")
    assert frame[:14] == bytes.fromhex("01005e000012") + mac + b"\x08\x00"
    header, message = frame[14:34], frame[34:]
    assert header[:4] == bytes.fromhex("45c0002c"), "20 bytes of header, TOS 0xC0, 44 in all"
    assert header[6:10] == bytes.fromhex("0000ff70"), "may be fragmented, TTL 255, protocol 112"
    assert header[12:] == bytes.fromhex("c0000201e0000012")
    assert message == bytes.fromhex("210aff020101ecdac0000264c00002657365637265743100")
    for vip in VIPS:
        wait_until(f"five ARPs for {vip}", lambda vip=vip: len(nodes.wire.arps(mac, vip)) == 5)
    assert nodes.wire.adverts(A)[0].at < nodes.wire.arps(mac, VIP)[0].at


def test_arp_again_after_the_delay(nodes: Nodes) -> None:
    nodes.start("a", 255, garp_delay_s=0.5, garp_repeat=3)
    arps = wait_until(
        "three and three", lambda: (s := nodes.wire.arps(nodes.lan.mac("a"), VIP))[5:] and s
    )
    assert arps[3].at - arps[2].at > 0.4


def test_one_of_ours_hands_over_to_the_other(nodes: Nodes) -> None:
    high = nodes.start("a", 255)
    nodes.wait_holds("a")
    low = nodes.start("b", 101)
    low.wait_for(kind="ready")
    wait_until("b heard a", lambda: low.status()["routers"][0]["master"])
    high.stop()
    assert high.ended() == (0, "")
    nodes.wait_holds("b")
    assert not nodes.lan.holds("a", VIP)
    assert state(low) == "MASTER"
    resigned, successor = nodes.wire.adverts(A, 0)[0], nodes.wire.adverts(B, 101)[0]
    assert 0.5 < successor.at - resigned.at < 0.606 + NOISE_S


def test_a_killed_master_leaves_nothing_for_ever(nodes: Nodes) -> None:
    role = nodes.start("a", 255)
    nodes.wait_holds("a")
    lifetime = nodes.lan.lifetime("a", VIP)
    assert lifetime is not None and lifetime <= 5
    role.kill()
    assert nodes.lan.holds("a", VIP)
    nodes.wait_free("a", 5 + NOISE_S)


def test_a_master_renews_its_leases(nodes: Nodes) -> None:
    nodes.start("a", 255)
    wait_until("eight adverts", lambda: len(nodes.wire.adverts(A, 255)) >= 8)
    assert all(nodes.lan.holds("a", vip) for vip in VIPS)


def test_what_a_killed_one_left_serves_until_the_next_is_master(nodes: Nodes) -> None:
    first = nodes.start("a", 200)
    nodes.wait_holds("a")
    first.kill()
    second = nodes.start("a", 200)
    second.wait_for(kind="ready")
    assert second.events("vrrp.warning")[0]["cause"] == "a killed daemon left it behind"

    def master() -> bool:
        assert nodes.lan.holds("a", VIP), "the address was gone for a moment"
        return state(second) == "MASTER"

    wait_until("master again", master)


def test_what_a_killed_one_left_goes_when_another_master_is_heard(nodes: Nodes) -> None:
    first = nodes.start("a", 255, advert_interval_s=5.0)
    nodes.wait_holds("a")
    first.kill()
    second = nodes.start("a", 100, advert_interval_s=5.0)  # it waits 18 s for the other one
    second.wait_for(kind="ready")
    nodes.start("b", 255, advert_interval_s=5.0)
    nodes.wait_free("a")
    assert state(second) == "BACKUP"
    assert second.status()["routers"][0]["counters"].get("became_master", 0) == 0


def test_a_foreign_holder_is_named_and_left_alone(nodes: Nodes) -> None:
    ip("-n", nodes.lan.namespace("a"), "address", "add", f"{VIP}/32", "dev", "lo")
    role = nodes.start("a", 100)
    warning = role.wait_for(kind="event", name="preflight.warning")
    assert warning["message"] == f"front: {VIP} is on lo already"
    role.stop()
    assert role.ended()[0] == 0
    assert VIP in ip("-n", nodes.lan.namespace("a"), "address", "show", "dev", "lo")


def test_carrier_lost_and_back(nodes: Nodes) -> None:
    role = nodes.start("a", 200)
    nodes.wait_holds("a")
    nodes.lan.cut("a")
    event = role.wait_for(kind="event", message="front: MASTER → FAULT")
    assert event["cause"] == "ens33 has no carrier"
    nodes.wait_free("a")
    nodes.lan.heal("a")
    role.wait_for(kind="event", message="front: FAULT → BACKUP")
    nodes.wait_holds("a")


def test_an_interface_that_comes_late_goes_and_comes_anew(nodes: Nodes) -> None:
    nodes.lan.unplug("a")
    role = nodes.start("a", 255)
    role.wait_for(kind="ready")
    event = role.wait_for(kind="event", message="front: STOPPED → FAULT")
    assert event["cause"] == "there is no interface ens33"
    for _ in range(2):
        nodes.lan.plug_in("a")
        ip("-n", nodes.lan.namespace("a"), "address", "add", f"{A}/24", "dev", "ens33")
        nodes.wait_holds("a")
        heard = len(nodes.wire.adverts(A, 255))
        wait_until("it is heard", lambda n=heard: len(nodes.wire.adverts(A, 255)) > n)
        nodes.lan.unplug("a")
        wait_until("it noticed", lambda: state(role) == "FAULT")
    assert role.process.poll() is None


def test_it_hears_again_on_a_new_interface(nodes: Nodes) -> None:
    backup = nodes.start("b", 100)
    backup.wait_for(kind="ready")
    nodes.lan.unplug("b")
    wait_until("it noticed", lambda: state(backup) == "FAULT")
    nodes.lan.plug_in("b")
    ip("-n", nodes.lan.namespace("b"), "address", "add", f"{B}/24", "dev", "ens33")
    nodes.start("a", 255)
    wait_until("b hears a", lambda: backup.status()["routers"][0]["master"])


def test_it_never_outlives_its_supervisor(nodes: Nodes) -> None:
    role = nodes.start("a", 255)
    nodes.wait_holds("a")
    role.channel.close()
    assert role.ended() == (0, "")
    assert not nodes.lan.holds("a", VIP)
    assert nodes.wire.adverts(A, 0)


def test_a_supervisor_that_does_not_read_costs_no_advert(nodes: Nodes) -> None:
    role = nodes.start("a", 255)
    nodes.wait_holds("a")
    # More answers than its socket holds; our own waits when the role is too far behind, so by the
    # end all but the last few thousand requests have been dealt with.
    for number in range(30_000):
        role.channel.send({"kind": "request", "id": number, "name": "status"})
    heard = len(nodes.wire.adverts(A, 255))
    wait_until("adverts go on", lambda: len(nodes.wire.adverts(A, 255)) >= heard + 3)
    role.wait_for(kind="reply", id=0)
    role.messages.clear()
    assert role.status()["messages_dropped"] > 0


def test_sigterm_is_a_graceful_stop(nodes: Nodes) -> None:
    role = nodes.start("a", 255)
    nodes.wait_holds("a")
    role.process.send_signal(signal.SIGTERM)
    assert role.ended() == (0, "")
    assert not nodes.lan.holds("a", VIP)


def test_a_bug_leaves_no_address_behind(nodes: Nodes) -> None:
    role = nodes.start("a", 255)
    nodes.wait_holds("a")
    role.channel.send({"kind": "tier"})  # breaks the contract: no such message without a tier
    status, said = role.ended()
    assert status == 1
    assert "KeyError" in said
    assert not nodes.lan.holds("a", VIP)
    assert nodes.wire.adverts(A, 0)


def test_mastership_dies_with_the_director(nodes: Nodes) -> None:
    role = nodes.start("a", 255)
    nodes.wait_holds("a")
    role.channel.send({"kind": "tier", "tier": "director", "well": False, "cause": "no hook"})
    event = role.wait_for(kind="event", message="front: MASTER → FAULT")
    assert event["cause"] == "director is not well: no hook"
    nodes.wait_free("a")
    wait_until("priority 0", lambda: nodes.wire.adverts(A, 0))
    assert role.status()["routers"][0]["effective_priority"] == 0
    role.channel.send({"kind": "tier", "tier": "director", "well": True, "cause": ""})
    nodes.wait_holds("a")


def test_a_service_without_quorum_lowers_the_priority(nodes: Nodes) -> None:
    role = nodes.start("a", 200, tracks=(Track("service", "web", -253),))
    nodes.wait_holds("a")
    quorum = {"kind": "quorum", "service": "web", "met": False, "cause": "weight 0"}
    role.channel.send({**quorum, "service": "another"})
    role.channel.send(quorum)
    event = role.wait_for(name="vrrp.priority")
    assert event["message"] == "front: priority 200 → 1"
    assert event["cause"] == "service web: has no quorum: weight 0"
    wait_until("it says so", lambda: nodes.wire.adverts(A, 1))
    role.channel.send({**quorum, "met": True, "cause": "weight 1"})
    assert role.wait_for(message="front: priority 1 → 200")


def test_a_master_that_slept_steps_down_before_it_speaks(nodes: Nodes) -> None:
    sleeper = nodes.start("a", 200)
    nodes.wait_holds("a")
    nodes.start("b", 100).wait_for(kind="ready")
    sleeper.process.send_signal(signal.SIGSTOP)
    nodes.wait_holds("b", 3.61 + NOISE_S)
    silent_at = nodes.wire.adverts(A)[-1].at
    sleeper.process.send_signal(signal.SIGCONT)
    event = sleeper.wait_for(kind="event", message="front: MASTER → BACKUP")
    assert event["cause"].startswith("silent for ")
    sleeper.wait_for(kind="event", cause=f"{B} has only priority 100 (preemption)")
    later = wait_until(
        "it spoke again", lambda: [w.at for w in nodes.wire.adverts(A) if w.at > silent_at]
    )
    spoke_at = later[0]
    assert spoke_at - silent_at > 3.61 + 3, "it said nothing until its own timer had run out"


def test_a_backup_that_slept_reads_what_waited_before_it_judges_the_silence(nodes: Nodes) -> None:
    nodes.start("a", 255)
    nodes.wait_holds("a")
    sleeper = nodes.start("b", 100)
    wait_until("b heard a", lambda: sleeper.status()["routers"][0]["master"])
    heard = len(nodes.wire.adverts(A))
    sleeper.process.send_signal(signal.SIGSTOP)
    wait_until("its timer has run out", lambda: len(nodes.wire.adverts(A)) >= heard + 5)
    sleeper.process.send_signal(signal.SIGCONT)
    assert state(sleeper) == "BACKUP"
    assert sleeper.status()["routers"][0]["counters"]["adverts_received"] >= 5
    assert nodes.wire.adverts(B) == []


def test_adverts_come_from_the_source_that_was_asked_for(nodes: Nodes) -> None:
    second = "192.0.2.77"
    role = nodes.start("a", 255, source=IPv4Address(second))
    event = role.wait_for(kind="event", message="front: STOPPED → FAULT")
    assert event["cause"] == f"ens33 does not carry {second}, the source of adverts"
    ip("-n", nodes.lan.namespace("a"), "address", "add", f"{second}/24", "dev", "ens33")
    wait_until("adverts from it", lambda: nodes.wire.adverts(second, 255))
    assert nodes.wire.adverts(A) == []


def test_it_runs_in_real_time_with_its_memory_locked(nodes: Nodes) -> None:
    role = nodes.start("a", 255)
    role.wait_for(kind="ready")
    assert os.sched_getscheduler(role.process.pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
    memory = Path(f"/proc/{role.process.pid}/status").read_text()
    assert int(memory.split("VmLck:")[1].split()[0]) > 0


def test_without_its_privileges_it_says_so(nodes: Nodes) -> None:
    role = nodes.start("a", 255, under=("setpriv", "--bounding-set=-net_raw"))
    status, said = role.ended()
    assert status == 2
    assert said.startswith("trimaran: the vrrp role cannot start: raw sockets are refused; ")
    assert said.count("\n") == 1


def test_two_routers_of_one_id_on_one_lan_are_refused(nodes: Nodes) -> None:
    settings = VrrpSettings("a", (ROUTER, replace(ROUTER, name="back")))
    role = Role(nodes.lan, "a", "trimaran.node.vrrp_role", settings)
    nodes.roles.append(role)
    status, said = role.ended()
    assert status == 2
    assert "back and front both have router_id 10 on ens33" in said


def test_without_real_time_it_warns_and_goes_on(nodes: Nodes) -> None:
    role = nodes.start("a", 255, under=("setpriv", "--bounding-set=-sys_nice,-ipc_lock"))
    warning = role.wait_for(kind="event", name="preflight.warning")
    assert warning["message"].startswith("real-time scheduling was refused")
    nodes.wait_holds("a")
