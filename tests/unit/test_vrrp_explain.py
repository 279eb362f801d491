"""`explain vrrp`: one paragraph, of what the machine itself says."""

from ipaddress import IPv4Address

import pytest
from vrrp_dialogue import DOWN, HIGH, Dialogue

from trimaran.vrrp.explain import explain
from trimaran.vrrp.packet import Rejection
from trimaran.vrrp.settings import Track
from trimaran.vrrp.status import router_status

LOAD = Track("watch", "load", -60)
UPLINK = Track("interface", "eth1")


def _explained(dialogue: Dialogue, now: float) -> str:
    return explain(router_status(dialogue.machine, now), "node2")


def test_a_master() -> None:
    dialogue = Dialogue().start_silently()
    dialogue.machine.timeout(DOWN)
    assert _explained(dialogue, DOWN + 2) == (
        "node2 is master of front and holds 192.0.2.100/32. The last change, BACKUP → MASTER, was "
        "2 s ago: no advert heard for 3.61 s."
    )


@pytest.mark.parametrize(
    ("priority", "changes", "said"),
    [
        (150, {}, f"{HIGH} is, with priority 150, and this node's is 100."),
        (100, {}, "which is this node's too: an equal does not displace a master."),
        (50, {"preempt": False}, "this node's is 100, but it is told not to preempt."),
        (50, {}, "this node's is 100: it preempts when its timer ends."),
    ],
)
def test_a_backup(priority: int, changes: dict[str, object], said: str) -> None:
    dialogue = Dialogue(**changes).start_silently()
    dialogue.hears(1.0, priority)
    assert said in _explained(dialogue, 1.5)


def test_one_that_has_heard_nobody() -> None:
    dialogue = Dialogue().start_silently()
    assert "takes over when it has heard none for 3.609 s." in _explained(dialogue, 1.0)


def test_trackers_faults_and_drops_are_named() -> None:
    dialogue = Dialogue(tracks=(LOAD, UPLINK)).start_silently()
    machine = dialogue.machine
    machine.set_track(LOAD, False, "load 9.5", 1.0)
    machine.set_track(UPLINK, False, "eth1 has no carrier", 1.0)
    machine.reject(Rejection.CHECKSUM, IPv4Address("192.0.2.7"), 1.0)
    said = _explained(dialogue, 2.0)
    assert "node2 cannot be master of front: interface eth1: eth1 has no carrier." in said
    assert "Its priority is 100 as configured, -60 by load." in said
    assert "It dropped adverts: 1 for checksum" in said
