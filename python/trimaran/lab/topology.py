"""What a lab is made of, as data: machines on one switch, and what runs on each. Pure."""

import re
import shlex
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from pydantic import Field, ValidationError

from trimaran.stack.model import Model, Node, NodeName, Stack

SWITCH = "switch"
CLIENT = "client"
BRIDGE = "lan"
PREFIX_LENGTH = 24
_LAB_NAME = re.compile(r"[A-Za-z0-9_]{1,32}")
_INTERFACE_LENGTH = 15  # IFNAMSIZ - 1


class TopologyError(ValueError):
    """The lab cannot be laid out; the message says why and how to mend it."""


@dataclass(frozen=True)
class Machine:
    """One machine: a network namespace with one cable to the switch. `port` is the cable's other
    end. `command` is what runs on it, in `directory`: ('trimaran', …) is this product itself."""

    name: str
    namespace: str
    interface: str
    address: IPv4Interface
    mac: str
    port: str
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Topology:
    """A lab. `virtual` are the addresses that no machine may have as its own."""

    lab: str
    source: str
    directory: str
    nodes: dict[str, Machine]
    client: Machine

    @property
    def switch(self) -> str:
        """The switch's namespace."""
        return prefix(self.lab) + SWITCH

    @property
    def machines(self) -> list[Machine]:
        """Everybody with a cable to the switch."""
        return [*self.nodes.values(), self.client]


class TableNode(Model):
    """One node of a table: its address, and either what `trimaran run` is told (`run`), or another
    program altogether (`command`)."""

    address: IPv4Address
    interface: str = "eth0"
    run: str | None = None
    command: str | None = None


class Table(Model):
    """Nodes that have no stack.yaml in common: each with a command line of its own."""

    nodes: dict[NodeName, TableNode] = Field(min_length=1)


def prefix(lab: str) -> str:
    """What the names of all the lab's namespaces start with. No lab's prefix starts another's."""
    if not _LAB_NAME.fullmatch(lab):
        raise TopologyError(
            f"'{lab}' cannot name a lab: use at most 32 letters, digits and underscores"
        )
    return f"trimaran-{lab}-"


def from_stack(stack: Stack, *, lab: str, source: str, directory: str, run: str) -> Topology:
    """Every node runs the daemon that it would run as a real machine, from the stack file
    `source`, with `run` as its run directory."""
    virtual = {
        address.ip
        for router in stack.virtual_routers.values()
        for address in router.addresses
        if isinstance(address, IPv4Interface)
    }
    commands: dict[str, tuple[str, ...]] = {
        name: ("trimaran", "run", source, "--node", name, "--run-dir", run) for name in stack.nodes
    }
    return _lay_out(lab, source, directory, stack.nodes, commands, virtual)


def from_table(data: Any, *, lab: str, source: str, directory: str, run: str) -> Topology:
    """A lab from a table (`data`, as read from YAML). Raises TopologyError."""
    try:
        table = Table.model_validate(data)
    except ValidationError as error:
        raise TopologyError(f"{source}: {_complaints(error)}") from error
    commands: dict[str, tuple[str, ...]] = {}
    for name, node in table.nodes.items():
        if node.command is not None:
            commands[name] = tuple(shlex.split(node.command))
        elif node.run is not None:
            words = shlex.split(node.run)
            commands[name] = ("trimaran", "run", *words, "--node", name, "--run-dir", run)
        else:
            raise TopologyError(f"{source}: {name} needs `run` or `command`")
    nodes = {
        name: Node(address=node.address, interface=node.interface)
        for name, node in table.nodes.items()
    }
    return _lay_out(lab, source, directory, nodes, commands, set())


def _complaints(error: ValidationError) -> str:
    """What is wrong with a table, each with the key where it is."""
    return "; ".join(
        f"{'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}" for each in error.errors()
    )


def _lay_out(
    lab: str,
    source: str,
    directory: str,
    nodes: dict[str, Node],
    commands: dict[str, tuple[str, ...]],
    virtual: set[IPv4Address],
) -> Topology:
    reserved = {SWITCH, CLIENT} & nodes.keys()
    if reserved:
        raise TopologyError(f"{source}: a lab has a '{reserved.pop()}' of its own; rename the node")
    addresses = {name: _address(name, node, source) for name, node in nodes.items()}
    network = _common_network(addresses, source)
    taken = set(addresses.values()) | virtual
    start = prefix(lab)

    def machine(name: str, address: IPv4Address, interface: str, port: str) -> Machine:
        return Machine(
            name=name,
            namespace=start + name,
            interface=interface,
            address=IPv4Interface((address, PREFIX_LENGTH)),
            mac=_mac(address),
            port=port,
            command=commands.get(name, ()),
        )

    return Topology(
        lab=lab,
        source=source,
        directory=directory,
        nodes={
            name: machine(name, addresses[name], node.interface, _port(name, index))
            for index, (name, node) in enumerate(nodes.items(), 1)
        },
        client=machine(CLIENT, _free(network, taken), "eth0", CLIENT),
    )


def _address(name: str, node: Node, source: str) -> IPv4Address:
    if node.address is None:
        raise TopologyError(f"{source}: {name} has no address: write it as nodes.{name}.address")
    return node.address


def _common_network(addresses: dict[str, IPv4Address], source: str) -> IPv4Network:
    networks = {IPv4Interface((each, PREFIX_LENGTH)).network for each in addresses.values()}
    if len(networks) != 1:
        found = ", ".join(sorted(str(network) for network in networks))
        raise TopologyError(
            f"{source}: a lab is one LAN of /{PREFIX_LENGTH}, but the nodes lie in {found}"
        )
    return networks.pop()


def _free(network: IPv4Network, taken: set[IPv4Address]) -> IPv4Address:
    """The client's address: .200, or the next one up (and round) that nobody has."""
    hosts = list(network.hosts())
    for address in hosts[199:] + hosts[:199]:
        if address not in taken:
            return address
    raise TopologyError(f"no address is left in {network} for the client")


def _mac(address: IPv4Address) -> str:
    """Locally administered, and it shows the address: a frame in tcpdump names its machine. It
    stays the same when the machine is booted anew, as a network card's does."""
    return "02:00:" + ":".join(f"{byte:02x}" for byte in address.packed)


def _port(name: str, index: int) -> str:
    fits = len(name) <= _INTERFACE_LENGTH and name not in (BRIDGE, "lo")
    return name if fits else f"port{index}"
