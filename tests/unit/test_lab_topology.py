"""Where a lab's machines, addresses and names come from."""

from ipaddress import IPv4Address
from typing import Any

import pytest

from trimaran.lab.topology import TopologyError, from_stack, from_table, prefix
from trimaran.stack.model import Stack

PLACE: dict[str, Any] = {"lab": "x", "source": "s.yaml", "directory": "/etc", "run": "/run/x"}


def stack(*addresses: str, virtual: str = "10.0.0.99") -> Stack:
    nodes = {
        f"node{number}": {"address": address, "interface": "ens33"}
        for number, address in enumerate(addresses, 1)
    }
    router = {"router_id": 1, "addresses": [virtual], "members": {"node1": 100}}
    return Stack.model_validate({"nodes": nodes, "virtual_routers": {"front": router}})


def test_a_node_runs_what_a_real_machine_would() -> None:
    topology = from_stack(stack("10.0.0.1", "10.0.0.2"), **PLACE)
    machine = topology.nodes["node2"]
    assert machine.command == (
        "trimaran", "run", "s.yaml", "--node", "node2", "--run-dir", "/run/x",
    )  # fmt: skip
    assert str(machine.address) == "10.0.0.2/24"
    assert (machine.namespace, machine.interface) == ("trimaran-x-node2", "ens33")


def test_every_machine_has_a_mac_of_its_own_that_shows_its_address() -> None:
    topology = from_stack(stack("10.0.0.1", "10.0.0.17"), **PLACE)
    assert topology.nodes["node2"].mac == "02:00:0a:00:00:11"
    macs = [machine.mac for machine in topology.machines]
    assert len(set(macs)) == 3


@pytest.mark.parametrize(
    ("node", "virtual", "client"),
    [
        ("10.0.0.1", "10.0.0.99", "10.0.0.200"),
        ("10.0.0.200", "10.0.0.99", "10.0.0.201"),
        ("10.0.0.1", "10.0.0.200", "10.0.0.201"),
        ("10.0.0.200", "10.0.0.201", "10.0.0.202"),
    ],
)
def test_the_client_gets_an_address_that_nobody_has(node: str, virtual: str, client: str) -> None:
    topology = from_stack(stack(node, virtual=virtual), **PLACE)
    assert topology.client.address.ip == IPv4Address(client)


def test_a_full_network_has_no_place_for_the_client() -> None:
    with pytest.raises(TopologyError, match="no address is left"):
        from_stack(stack(*(f"10.0.0.{number}" for number in range(1, 255))), **PLACE)


def test_nodes_in_two_networks_are_no_lan() -> None:
    with pytest.raises(TopologyError, match=r"10\.0\.0\.0/24, 10\.0\.1\.0/24"):
        from_stack(stack("10.0.0.1", "10.0.1.1"), **PLACE)


def test_a_node_without_an_address_is_refused_with_its_name() -> None:
    with pytest.raises(TopologyError, match=r"nodes\.a\.address"):
        from_stack(Stack.model_validate({"nodes": {"a": {"interface": "eth0"}}}), **PLACE)


def test_a_long_node_name_gets_a_short_port() -> None:
    name = "a-node-with-a-name-longer-than-an-interface"
    topology = from_table({"nodes": {name: {"address": "10.0.0.1", "command": "true"}}}, **PLACE)
    assert topology.nodes[name].port == "port1"


@pytest.mark.parametrize("name", ["client", "switch"])
def test_the_labs_own_machines_cannot_be_nodes(name: str) -> None:
    with pytest.raises(TopologyError, match="rename the node"):
        from_table({"nodes": {name: {"address": "10.0.0.1", "command": "true"}}}, **PLACE)


def test_a_table_gives_each_node_its_own_command_line() -> None:
    nodes = {
        "d": {"address": "10.0.0.1", "run": "--keepalived 'my file.conf'"},
        "w": {"address": "10.0.0.2", "command": "httpd -k start"},
    }
    topology = from_table({"nodes": nodes}, **PLACE)
    assert topology.nodes["w"].command == ("httpd", "-k", "start")
    assert topology.nodes["d"].command == (
        "trimaran", "run", "--keepalived", "my file.conf", "--node", "d", "--run-dir", "/run/x",
    )  # fmt: skip


def test_a_table_node_needs_something_to_run() -> None:
    with pytest.raises(TopologyError, match="a needs `run` or `command`"):
        from_table({"nodes": {"a": {"address": "10.0.0.1"}}}, **PLACE)


@pytest.mark.parametrize("name", ["a-b", "", "a/b", "..", "x" * 33, "ä"])
def test_a_lab_name_that_could_reach_others_is_refused(name: str) -> None:
    """With a hyphen, `a`'s prefix would start `a-b`'s namespaces: cleaning one would end both."""
    with pytest.raises(TopologyError, match="cannot name a lab"):
        prefix(name)
