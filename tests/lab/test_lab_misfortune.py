"""Two directors on real machines' daemons: what a cut, a silent cut and a power loss leave behind.

Times are the protocol's (advert interval 1 s) with room for a busy machine; what is judged is who
holds the address and what ARP says.
"""

import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from verb import Trimaran

from trimaran.lab.cast import Cast
from trimaran.lab.lab import Lab
from trimaran.lab.traffic import Traffic
from trimaran.lab.view import View

VIP = "192.168.31.145"
STACK = f"""
nodes:
  node2: {{address: 192.168.31.93, interface: ens33}}
  node3: {{address: 192.168.31.91, interface: ens33}}
virtual_routers:
  front:
    router_id: 51
    addresses: [{VIP}]
    members: {{node2: 151, node3: 101}}
"""
CAST = Cast(
    "front", "", IPv4Address(VIP), 80, ("node2", "node3"), (), (), (), "rr",
    takeover_s=3 + 155 / 256, skew_s=155 / 256,
)  # fmt: skip
WITHIN_S = 20.0


@pytest.fixture
def view(trimaran: Trimaran, tmp_path: Path, name: str) -> View:
    """Both directors run, and node2 is master."""
    stack = tmp_path / "stack.yaml"
    stack.write_text(STACK)
    trimaran("lab", "up", str(stack))
    view = View(Lab.find(name), CAST)
    wait(lambda: view.holders() == ("node2",), "node2 to be master")
    remind(view)
    wait(lambda: view.believed_owner() == "node2", "the client to know node2")
    return view


def test_a_cut_moves_the_address_and_healing_moves_it_back(view: View) -> None:
    view.lab.cut("node2")
    wait(lambda: view.holders() == ("node3",), "node3 alone to be master")
    wait(lambda: view.believed_owner() == "node3", "the client to follow")
    assert view.arp_answers() == {"node3"}
    view.lab.heal("node2")
    wait(lambda: view.holders() == ("node2",), "node2 alone to be master")
    wait(lambda: view.believed_owner() == "node2", "the client to follow back")
    assert view.arp_answers() == {"node2"}


def test_after_a_silent_cut_no_two_masters_stay(view: View) -> None:
    view.lab.cut("node2", silent=True)
    wait(lambda: view.holders() == ("node2", "node3"), "two masters: neither can know better")
    wait(lambda: view.believed_owner() == "node3", "the client to follow")
    view.lab.heal("node2")
    wait(lambda: view.holders() == ("node2",), "node2 alone to be master")
    wait(lambda: view.believed_owner() == "node2", "the client to follow back")
    assert view.arp_answers() == {"node2"}
    settled = time.monotonic() + 2 * CAST.takeover_s
    while time.monotonic() < settled:
        assert view.holders() == ("node2",)
        time.sleep(0.1)


def test_a_machine_that_lost_its_power_boots_without_the_address(
    view: View, trimaran: Trimaran
) -> None:
    view.lab.kill("node2")
    wait(lambda: view.holders() == ("node3",), "node3 to be master")
    trimaran("lab", "start", "node2")
    wait(lambda: view.holders() == ("node2",), "node2 to be master again")
    assert view.arp_answers() == {"node2"}


def test_stop_gives_the_address_away_and_start_takes_it_back(
    view: View, trimaran: Trimaran
) -> None:
    trimaran("lab", "stop", "node2")
    wait(lambda: view.holders() == ("node3",), "node3 to be master")
    assert f"{VIP}/32" not in view.addresses("node2", "ens33")
    trimaran("lab", "start", "node2")
    wait(lambda: view.holders() == ("node2",), "node2 to be master again")
    trimaran("lab", "stop", "node2", "vrrp")
    wait(lambda: view.holders() == ("node3",), "node3 to be master")
    assert "vrrp stopped" in trimaran("lab", "status").stdout


def remind(view: View) -> None:
    """Let the client look the address up."""
    with Traffic(
        view.lab.topology.client.namespace, f"{VIP}:80", ["none"], rate=10, count=1
    ) as traffic:
        traffic.wait_end(60)


def wait(condition: Callable[[], bool], what: str, within_s: float = WITHIN_S) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
