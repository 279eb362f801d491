"""The verbs, on two plain web servers: what they do to cables, machines and processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from verb import Trimaran

from trimaran.lab.lab import Lab
from trimaran.lab.topology import prefix
from trimaran.lab.traces import run_directory
from trimaran.lab.traffic import Traffic, wait_for_answers
from trimaran.system import namespaces, wiring
from trimaran.system.arp_question import who_has
from trimaran.system.netlink import Netlink

A, B = "192.168.31.1", "192.168.31.2"


def wait(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def answers(lab: Lab, address: str, page: str) -> bool:
    """Whether the client gets the page within a few tries."""
    namespace = lab.topology.client.namespace
    with Traffic(namespace, f"{address}:80", [page], rate=20) as traffic:
        return wait_for_answers(traffic, 3, 5.0)


def silent(lab: Lab, address: str) -> bool:
    """Whether every request of the client fails."""
    namespace = lab.topology.client.namespace
    with Traffic(namespace, f"{address}:80", ["web1", "web2"], rate=20, count=10) as traffic:
        requests = traffic.wait_end(20)
    assert len(requests) == 10
    return not any(each.ok for each in requests)


def carrier(lab: Lab, node: str) -> bool:
    machine = lab.machine(node)
    with namespaces.entered(machine.namespace), Netlink() as netlink:
        link = netlink.link(machine.interface)
        assert link is not None
        return link.carrier


@pytest.fixture
def lab(trimaran: Trimaran, table: Path, name: str) -> Lab:
    trimaran("lab", "up", "--table", str(table))
    lab = Lab.find(name)
    assert answers(lab, A, "web1")
    assert answers(lab, B, "web2")
    return lab


def test_nodes_are_machines_of_their_own(lab: Lab, trimaran: Trimaran) -> None:
    addresses = trimaran("lab", "exec", "a", "--", "ip", "-o", "-4", "addr").stdout
    assert f"ens33    inet {A}/24" in addresses
    assert f"{B}/" not in addresses
    routes = trimaran("lab", "exec", "a", "--", "ip", "route").stdout
    assert "default" not in routes, "a lab must have no way out"
    assert trimaran("lab", "exec", "a", "--", "sh", "-c", "exit 7", status=7).stdout == ""
    shown = trimaran("lab", "status").stdout
    assert A in shown
    assert "192.168.31.200" in shown


def test_a_cut_takes_the_carrier_and_healing_brings_it_back(lab: Lab, trimaran: Trimaran) -> None:
    assert carrier(lab, "a")
    trimaran("lab", "cut", "a")
    assert not carrier(lab, "a")
    assert lab.link("a") == "cut"
    assert silent(lab, A)
    assert answers(lab, B, "web2")
    trimaran("lab", "heal", "a")
    wait(lambda: carrier(lab, "a"), "the carrier")
    assert lab.link("a") == "up"
    assert answers(lab, A, "web1")


def test_a_silent_cut_keeps_the_carrier_and_drops_every_frame(lab: Lab, trimaran: Trimaran) -> None:
    trimaran("lab", "cut", "a", "--silent")
    assert carrier(lab, "a")
    assert lab.link("a") == "silent"
    assert silent(lab, A)
    trimaran("lab", "heal", "a")
    assert answers(lab, A, "web1")


def test_power_loss_ends_every_process_and_a_boot_clears_the_kernel(
    lab: Lab, trimaran: Trimaran
) -> None:
    machine = lab.machine("a")
    with namespaces.entered(machine.namespace):
        deaf = subprocess.Popen(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"])
        wiring.add_address("ens33", machine.address.__class__("192.168.31.77/32"))
        Path("/proc/sys/net/ipv4/conf/all/arp_ignore").write_text("1")
    trimaran("lab", "kill", "a")
    assert deaf.wait(10) == -signal.SIGKILL
    assert namespaces.processes(machine.namespace) == []
    assert not carrier(lab, "a")
    assert "no power" in trimaran("lab", "status").stdout
    assert "a has no power; start it" in trimaran("lab", "heal", "a", status=2).stderr
    trimaran("lab", "start", "a")
    with namespaces.entered(machine.namespace), Netlink() as netlink:
        assert [str(each) for each in netlink.addresses("ens33")] == [f"{A}/24"]
        assert Path("/proc/sys/net/ipv4/conf/all/arp_ignore").read_text() == "0\n"
    assert answers(lab, A, "web1")
    assert mac_of(lab, A) == {machine.mac}, "a boot does not change the network card"


def test_stop_ends_the_daemon_and_not_the_machine(lab: Lab, trimaran: Trimaran) -> None:
    trimaran("lab", "stop", "a")
    assert silent(lab, A)
    assert mac_of(lab, A) == {lab.machine("a").mac}, "the kernel still answers ARP"
    assert "a is not running" in trimaran("lab", "stop", "a", status=2).stderr
    trimaran("lab", "start", "a")
    assert answers(lab, A, "web1")
    assert "a is running already" in trimaran("lab", "start", "a", status=2).stderr


def test_down_leaves_nothing(lab: Lab, trimaran: Trimaran, name: str) -> None:
    namespace = lab.machine("a").namespace
    alive = namespaces.processes(namespace)
    assert alive
    trimaran("lab", "down")
    assert namespaces.names(prefix(name)) == []
    assert not run_directory(name).exists()
    assert not [process for process in alive if is_alive(process)]


def test_a_running_lab_is_not_taken_away(lab: Lab, trimaran: Trimaran, table: Path) -> None:
    refused = trimaran("lab", "up", "--table", str(table), status=2)
    assert "is running; end it with `trimaran lab down --name" in refused.stderr
    assert answers(lab, A, "web1")


def test_two_labs_with_the_same_addresses_live_side_by_side(
    lab: Lab, trimaran: Trimaran, table: Path, name: str
) -> None:
    other = f"{name}x"
    try:
        trimaran("lab", "up", "--table", str(table), "--name", other)
        trimaran("lab", "cut", "a", "--name", other)
        assert answers(lab, A, "web1")
        assert silent(Lab.find(other), A)
    finally:
        trimaran("lab", "down", "--name", other)
    assert namespaces.names(prefix(other)) == []
    assert answers(lab, A, "web1")


def test_what_a_crashed_lab_left_is_replaced(
    trimaran: Trimaran, table: Path, name: str, tmp_path: Path
) -> None:
    """Half a lab: a namespace with a process in it, and a run directory without a record."""
    left = prefix(name) + "a"
    namespaces.create(left)
    with namespaces.entered(left):
        orphan = subprocess.Popen(["sleep", "1000"])
    run_directory(name).mkdir()
    trimaran("lab", "up", "--table", str(table))
    assert orphan.wait(10) == -signal.SIGKILL
    assert answers(Lab.find(name), A, "web1")


def test_a_lab_ends_with_a_clear_sentence_when_a_node_cannot_run(
    trimaran: Trimaran, table: Path, name: str
) -> None:
    table.write_text(table.read_text().replace("-m http.server", "-m no.such.module"))
    trimaran("lab", "up", "--table", str(table))
    wait(lambda: Lab.find(name).daemon("a") is None, "the end of a's program")
    assert "stopped" in trimaran("lab", "status").stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_up_removes_what_it_made(
    number: signal.Signals, table: Path, name: str
) -> None:
    """The nodes' programs are no daemons of ours and never become ready: `up` waits."""
    text = table.read_text().replace("command: ", "run: ")
    table.write_text(text)
    with subprocess.Popen(
        [sys.executable, "-m", "trimaran", "lab", "up", "--table", str(table)],
        env={**os.environ, "TRIMARAN_LAB": name},
        stderr=subprocess.PIPE,
    ) as up:
        wait(lambda: len(namespaces.names(prefix(name))) >= 2, "a half-made lab")
        up.send_signal(number)
        _out, said = up.communicate(timeout=30)
    assert up.returncode == 128 + number, said
    assert namespaces.names(prefix(name)) == []
    assert not run_directory(name).exists()


def mac_of(lab: Lab, address: str) -> set[str]:
    """Who answers the client's ARP question for the address."""
    client = lab.topology.client
    with namespaces.entered(client.namespace):
        return who_has(client.interface, client.mac, str(client.address.ip), address, 0.3)


def is_alive(process: int) -> bool:
    """False for a zombie too: what nobody has waited for yet has ended all the same."""
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())
    except OSError:
        return False
