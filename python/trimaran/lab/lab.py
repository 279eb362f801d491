"""A lab: every machine of a topology in a network namespace of its own, on one switch.

Nothing of a lab lives in the process that made it. What a later command must know lies in the run
directory (`lab.json`, the nodes' logs and control sockets) or is read from the kernel: a port that
is down is a cut, a port without a bridge a silent one, a namespace without processes a machine
without power.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trimaran.lab import control
from trimaran.lab.topology import BRIDGE, Machine, Topology
from trimaran.lab.traces import clean, is_alive, pin_directory, record, run_directory, started
from trimaran.node.plain import from_plain, to_plain
from trimaran.system import namespaces, wiring
from trimaran.system.netlink import Netlink

READY_S = 30.0
STOP_S = 20.0
LinkState = Literal["up", "cut", "silent", "none"]


class LabError(Exception):
    """What was asked cannot be done; the message says why and how to mend it."""


@dataclass(frozen=True)
class NodeStatus:
    """One node, seen from the lab. `daemon` is what its control socket answers, None when nobody
    does; `running` tells whether its process lives, `power` whether `kill` has
    taken the machine's power away."""

    machine: Machine
    link: LinkState
    power: bool
    running: bool
    daemon: dict[str, Any] | None


class Lab:
    """One lab that exists. Make it with `create`, find it again with `find`."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.run = run_directory(topology.lab)
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    @classmethod
    def create(cls, topology: Topology, *, owner: int | None = None) -> "Lab":
        """Switch, machines and cables; nothing runs yet. Leftovers of an earlier lab of this name
        are removed first. `owner` is the process that the lab must not outlive."""
        existing = record(topology.lab)
        if existing is not None and is_alive(existing):
            raise LabError(
                f"the lab '{topology.lab}' is running; end it with `trimaran lab down"
                f" --name {topology.lab}`, or choose another --name"
            )
        clean(topology.lab)
        lab = cls(topology)
        try:
            lab._make(owner)
        except BaseException:
            lab.down()
            raise
        return lab

    @classmethod
    def find(cls, name: str) -> "Lab":
        """The lab of that name. Raises LabError when there is none."""
        found = record(name)
        if found is None:
            raise LabError(
                f"no lab '{name}' is running; start one with `trimaran lab up STACK --name {name}`"
            )
        return cls(from_plain(Topology, found["topology"]))

    def down(self) -> None:
        """End and remove everything. Idempotent."""
        clean(self.topology.lab)
        for child in self._children.values():
            child.wait()

    def machine(self, name: str) -> Machine:
        """The machine of that name. Raises LabError."""
        for machine in self.topology.machines:
            if machine.name == name:
                return machine
        known = ", ".join(machine.name for machine in self.topology.machines)
        raise LabError(f"there is no machine '{name}' in this lab; there are {known}")

    def namespace(self, name: str) -> str:
        """The namespace of a machine or of the switch."""
        return self.topology.switch if name == "switch" else self.machine(name).namespace

    def socket(self, name: str) -> Path:
        """A node's control socket."""
        return self.run / f"{name}.sock"

    def log(self, name: str) -> Path:
        """Where a node's daemon writes."""
        return self.run / f"{name}.log"

    # -- daemons

    def start(self, name: str) -> None:
        """Switch the machine on when it has no power (its cable is plugged in again), and start
        its daemon; returns at once, see `wait_ready`."""
        machine = self._node(name)
        if self.daemon(name) is not None:
            raise LabError(f"{name} is running already")
        if self._off(name).exists():
            self._boot(machine)
        self.launch(machine)

    def launch(self, machine: Machine) -> None:
        """Start what the topology says runs on the machine."""
        program, *arguments = machine.command
        command = [sys.executable, "-m", "trimaran"] if program == "trimaran" else [program]
        with namespaces.entered(machine.namespace), self.log(machine.name).open("ab") as log:
            child = subprocess.Popen(
                [*command, *arguments],
                cwd=self.topology.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children[machine.name] = child
        (self.run / f"{machine.name}.pid").write_text(f"{child.pid}\n")

    def daemon(self, name: str) -> int | None:
        """The process id of the node's daemon, None when it does not run."""
        self._reap(name)
        with suppress(OSError, ValueError):
            process = int((self.run / f"{name}.pid").read_text())
            # The number may be somebody else's by now: only who lives on that machine counts.
            if process in namespaces.processes(self._node(name).namespace):
                return process
        return None

    def is_ready(self, name: str) -> bool:
        """Whether every role of the node works. Raises LabError when its daemon has given up."""
        machine = self._node(name)
        child = self._children.get(name)
        if child is not None and child.poll() is not None:
            raise LabError(f"{name} ended with status {child.returncode}: {self._last_words(name)}")
        if machine.command[0] != "trimaran":
            return self.daemon(name) is not None
        status = self.status(name).daemon
        if status is None:
            return False
        states = {role: each["state"] for role, each in status["roles"].items()}
        for role, state in states.items():
            if state == "failed":
                cause = status["roles"][role].get("cause", "")
                raise LabError(f"{name}: the role {role} failed: {cause or self._last_words(name)}")
        return all(state in ("running", "stopped") for state in states.values())

    def wait_ready(self, names: list[str], timeout_s: float = READY_S) -> None:
        """Return when all these nodes are ready. Raises LabError."""
        deadline = time.monotonic() + timeout_s
        waiting = list(names)
        while waiting := [name for name in waiting if not self.is_ready(name)]:
            if time.monotonic() > deadline:
                raise LabError(
                    f"{waiting[0]} was not ready within {timeout_s:.0f} s: "
                    f"{self._last_words(waiting[0])}"
                )
            time.sleep(0.05)

    def wait_masters(self, timeout_s: float = READY_S) -> None:
        """Return when every virtual router has a master, so that its addresses answer. Raises
        LabError."""
        deadline = time.monotonic() + timeout_s
        while leaderless := self._leaderless():
            if time.monotonic() > deadline:
                raise LabError(
                    f"nobody became master of {', '.join(sorted(leaderless))} within "
                    f"{timeout_s:.0f} s; the nodes' logs in {self.run} say why"
                )
            time.sleep(0.1)

    def _leaderless(self) -> set[str]:
        """The virtual routers that no node is master of."""
        states: dict[str, set[str]] = {}
        for name in self.topology.nodes:
            roles = (self.status(name).daemon or {"roles": {}})["roles"]
            for router in (roles.get("vrrp", {}).get("status") or {}).get("routers", []):
                states.setdefault(router["name"], set()).add(router["state"])
        return {router for router, seen in states.items() if "MASTER" not in seen}

    def stop(self, name: str) -> None:
        """Ask the node's daemon to end (SIGTERM) and wait until it has."""
        process = self.daemon(name)
        if process is None:
            raise LabError(f"{name} is not running")
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while self.daemon(name) is not None:
            if time.monotonic() > deadline:
                raise LabError(
                    f"{name} does not stop: {self._last_words(name)} (see {self.log(name)})"
                )
            time.sleep(0.01)

    def role(self, name: str, role: str, verb: Literal["start", "stop"]) -> None:
        """Start or stop one role, through the node's control API. Raises LabError."""
        self._node(name)
        try:
            control.change_role(self.socket(name), role, verb)
        except control.ControlError as error:
            raise LabError(f"{name}: {error}") from error

    def stopped_roles(self, name: str) -> list[str]:
        """The roles of a running node that somebody has stopped."""
        roles = (self.status(name).daemon or {"roles": {}})["roles"]
        return [role for role, each in roles.items() if each["state"] == "stopped"]

    # -- misfortune

    def kill(self, name: str) -> None:
        """Power loss: the cable is dead and every process is gone, at the same moment."""
        machine = self._node(name)
        self._off(name).touch()
        self.cut(name)
        namespaces.end_processes(machine.namespace)
        self._reap(name)

    def cut(self, name: str, *, silent: bool = False) -> None:
        """Cut the machine's cable: its carrier is lost. `silent`: the carrier stays and every
        frame is dropped, as behind a switch that has lost its mind."""
        machine = self.machine(name)
        with namespaces.entered(self.topology.switch):
            if silent:
                wiring.attach(machine.port, None)
            else:
                wiring.set_up(machine.port, False)

    def heal(self, name: str) -> None:
        """Mend whatever was cut. Raises LabError for a node without power: it needs `start`."""
        machine = self.machine(name)
        if not self.has_power(name):
            raise LabError(f"{name} has no power; start it with `trimaran lab start {name}`")
        with namespaces.entered(self.topology.switch):
            wiring.attach(machine.port, BRIDGE)
            wiring.set_up(machine.port, True)

    # -- looking

    def link(self, name: str) -> LinkState:
        """The state of a machine's cable."""
        machine = self.machine(name)
        with namespaces.entered(self.topology.switch), Netlink() as netlink:
            port = netlink.link(machine.port)
            if port is None:
                return "none"
            if not port.up:
                return "cut"
            return "up" if wiring.master_of(machine.port) == BRIDGE else "silent"

    def has_power(self, name: str) -> bool:
        """False between `kill` and `start`."""
        return not self._off(name).exists()

    def status(self, name: str) -> NodeStatus:
        """One node."""
        machine = self._node(name)
        try:
            daemon = control.status(self.socket(name))
        except control.ControlError:
            daemon = None
        return NodeStatus(
            machine=machine,
            link=self.link(name),
            power=self.has_power(name),
            running=self.daemon(name) is not None,
            daemon=daemon,
        )

    # -- within

    def _make(self, owner: int | None) -> None:
        self.run.mkdir(mode=0o755)
        self._remember(owner, ready=False)
        namespaces.create(self.topology.switch)
        with namespaces.entered(self.topology.switch):
            wiring.without_ipv6()
            wiring.make_switch(BRIDGE)
        for machine in self.topology.machines:
            self._boot(machine)
        self._remember(owner, ready=True)

    def _node(self, name: str) -> Machine:
        if name not in self.topology.nodes:
            known = ", ".join(self.topology.nodes)
            raise LabError(f"there is no node '{name}' in this lab; its nodes are {known}")
        return self.topology.nodes[name]

    def _off(self, name: str) -> Path:
        """The mark of a machine without power."""
        return self.run / f"{name}.off"

    def _boot(self, machine: Machine) -> None:
        """A machine as it comes up: its own address and nothing else. Whatever the kernel held
        (addresses, eBPF, sysctls) went with the power, so the namespace is made anew."""
        namespaces.end_processes(machine.namespace)
        with namespaces.entered(self.topology.switch):
            wiring.unplug(machine.port)
        namespaces.delete(machine.namespace)
        for place in (pin_directory(self.topology.lab), self.run):
            shutil.rmtree(place / machine.name, ignore_errors=True)
        self.socket(machine.name).unlink(missing_ok=True)
        namespaces.create(machine.namespace)
        with namespaces.entered(self.topology.switch):
            wiring.plug_in(
                machine.port,
                BRIDGE,
                namespace=machine.namespace,
                interface=machine.interface,
                mac=machine.mac,
            )
            wiring.set_up(machine.port, True)
        with namespaces.entered(machine.namespace):
            wiring.without_ipv6()
            wiring.set_up("lo", True)
            wiring.add_address(machine.interface, machine.address)
            wiring.set_up(machine.interface, True)
        self._off(machine.name).unlink(missing_ok=True)

    def _remember(self, owner: int | None, *, ready: bool) -> None:
        mark = None if owner is None else [owner, started(owner)]
        content = {"topology": to_plain(self.topology), "owner": mark, "ready": ready}
        place = self.run / "lab.json"
        fresh = place.with_suffix(".new")
        fresh.write_text(json.dumps(content))
        fresh.rename(place)

    def _reap(self, name: str) -> None:
        child = self._children.get(name)
        if child is not None:
            child.poll()

    def _last_words(self, name: str) -> str:
        with suppress(OSError):
            lines = [line for line in self.log(name).read_text().splitlines() if line.strip()]
            if lines:
                return lines[-1]
        return "it said nothing"
