"""The system as somebody outside sees it: addresses, ARP, tables; and a record of it over time."""

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimaran.lab import control
from trimaran.lab.cast import Cast
from trimaran.lab.lab import Lab
from trimaran.system import namespaces, wiring
from trimaran.system.arp_question import who_has
from trimaran.system.netlink import Netlink, NetworkError

SAMPLE_S = 0.2
MAX_SAMPLES = 100_000


@dataclass(frozen=True)
class Sample:
    """What was so at one moment: who held the VIP on its LAN interface, what the directors said
    of themselves, which real servers the acting director listed."""

    at_s: float
    holders: tuple[str, ...]
    states: dict[str, str]
    listed: tuple[str, ...]


class View:
    """Looks at a lab. Each answer is fresh; `samples` is kept by a thread of its own."""

    def __init__(self, lab: Lab, cast: Cast) -> None:
        self.lab = lab
        self.cast = cast
        self.samples: list[Sample] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._record, daemon=True)

    def start(self) -> None:
        """Begin to record."""
        self._thread.start()

    def stop(self) -> None:
        """End recording. Idempotent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def holders(self) -> tuple[str, ...]:
        """The directors whose LAN interface carries the VIP, as their kernels say. A machine
        without power carries nothing."""
        return tuple(name for name in self.cast.directors if self._holds(name))

    def _holds(self, name: str) -> bool:
        machine = self.lab.machine(name)
        if not self.lab.has_power(name):
            return False
        try:
            with namespaces.entered(machine.namespace), Netlink() as netlink:
                return machine.interface in netlink.holders(self.cast.vip)
        except (namespaces.NamespaceError, NetworkError):  # it is being booted
            return False

    def believed_owner(self) -> str | None:
        """The machine whose MAC address the client has for the VIP."""
        with namespaces.entered(self.lab.topology.client.namespace):
            mac = wiring.neighbour_mac(str(self.cast.vip))
        return self._owner(mac) if mac else None

    def arp_answers(self) -> set[str]:
        """Ask the LAN who has the VIP: the names of all machines that answer."""
        client = self.lab.topology.client
        with namespaces.entered(client.namespace):
            macs = who_has(
                client.interface, client.mac, str(client.address.ip), str(self.cast.vip), 0.5
            )
        return {self._owner(mac) for mac in macs}

    def service(self, director: str) -> dict[str, Any] | None:
        """The virtual service as a director's status shows it; None when it does not answer."""
        with suppress(control.ControlError):
            roles = control.status(self.lab.socket(director))["roles"]
            status = roles.get("director", {}).get("status") or {}
            for service in status.get("services", []):
                if service["address"] == str(self.cast.vip):
                    found: dict[str, Any] = service
                    return found
        return None

    def is_listed(self, director: str, proxy: str) -> bool | None:
        """Whether the proxy is in the director's table; None when the director does not say."""
        service = self.service(director)
        return None if service is None else proxy in self._listed(service)

    def has_host_route(self, node: str) -> bool:
        """Whether the node's route table sends exactly the VIP to lo."""
        with namespaces.entered(self.lab.machine(node).namespace), Netlink() as netlink:
            return netlink.has_host_route("lo", self.cast.vip)

    def addresses(self, node: str, interface: str) -> list[str]:
        """An interface's addresses, as text."""
        with namespaces.entered(self.lab.machine(node).namespace), Netlink() as netlink:
            return [str(address) for address in netlink.addresses(interface)]

    def sysctl(self, node: str, path: str) -> str:
        """One of the node's network settings; `path` is below /proc/sys/net."""
        with namespaces.entered(self.lab.machine(node).namespace):
            return Path("/proc/sys/net", path).read_text().strip()

    def sample(self) -> Sample:
        """Everything at once. The table is the one that works: the VIP's holder's; while nobody
        (or nobody who answers) holds the VIP it is what it was."""
        states: dict[str, str] = {}
        listed = self.samples[-1].listed if self.samples else ()
        holders = self.holders()
        for name in self.cast.directors:
            with suppress(control.ControlError):
                roles = control.status(self.lab.socket(name))["roles"]
                states[name] = _vrrp_state(roles.get("vrrp", {}))
                status = roles.get("director", {}).get("status")
                if status and name in holders:
                    listed = self._listed(status["services"][0] if status["services"] else None)
        return Sample(time.monotonic(), holders, states, listed)

    def _owner(self, mac: str) -> str:
        names = {machine.mac: machine.name for machine in self.lab.topology.machines}
        return names.get(mac, mac)

    def _listed(self, service: dict[str, Any] | None) -> tuple[str, ...]:
        """By address: in a classic file a real server has no other name."""
        if service is None:
            return ()
        listed = {each["address"] for each in service["real_servers"] if each["listed"]}
        nodes = self.lab.topology.nodes
        return tuple(name for name in self.cast.proxies if str(nodes[name].address.ip) in listed)

    def _record(self) -> None:
        while not self._stop.wait(SAMPLE_S) and len(self.samples) < MAX_SAMPLES:
            self.samples.append(self.sample())


def _vrrp_state(role: dict[str, Any]) -> str:
    routers = (role.get("status") or {}).get("routers", [])
    return routers[0]["state"] if routers else str(role.get("state", "")).upper()
