"""The real server's role on a real kernel, each test in a network namespace of its own.

What is asserted is what `ip` and /proc/sys show, not what the role says of itself."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from select import select
from types import FrameType
from typing import Any

import pytest

from trimaran.node.channel import CHANNEL_VARIABLE, Channel
from trimaran.node.plain import to_plain
from trimaran.node.real_server_role import carry, drop
from trimaran.node.settings import RealServerRoleSettings
from trimaran.system import state_file, sysctl

CLONE_NEWNET = 0x40000000
DEADLINE_S = 30.0
OUR_FILES = {function.__code__.co_filename for function in (carry, state_file.remove, sysctl.write)}
VIP = IPv4Address("192.168.31.145")
OTHER = IPv4Address("192.168.31.146")
PARAMETERS = [f"{each}/{name}" for each in ("all", "lo") for name in ("arp_ignore", "arp_announce")]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


def in_namespace(scene: Callable[[], None]) -> None:
    """Run the scene in a child with a network namespace that dies with it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "unshare")
            run("ip", "link", "set", "lo", "up")
            scene()
            status = 0
        except BaseException:
            os.write(writer, traceback.format_exc().encode()[-60_000:])
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as report:
        said = report.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, said


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def machine() -> dict[str, Any]:
    """Addresses of lo, the main table's routes to it, and the ARP parameters."""
    (lo,) = json.loads(run("ip", "-4", "-j", "address", "show", "dev", "lo"))
    addresses = {
        f"{row['local']}/{row['prefixlen']}": row["label"] for row in lo.get("addr_info", [])
    }
    routes = {row["dst"] for row in json.loads(run("ip", "-4", "-j", "route", "show", "dev", "lo"))}
    return {"addresses": addresses, "routes": routes} | {
        name: Path(f"/proc/sys/net/ipv4/conf/{name}").read_text().strip() for name in PARAMETERS
    }


def set_parameter(name: str, value: str) -> None:
    Path(f"/proc/sys/net/ipv4/conf/{name}").write_text(value)


class Role:
    """The role's process, and the supervisor's end of its channel."""

    def __init__(self, state: Path, *addresses: IPv4Address) -> None:
        self.channel, theirs = Channel.pair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "trimaran.node.real_server_role"],
                pass_fds=[theirs.fileno()],
                env={**os.environ, CHANNEL_VARIABLE: str(theirs.fileno())},
            )
        settings = RealServerRoleSettings("node4", addresses, str(state))
        self.channel.send({"kind": "configure", "settings": to_plain(settings)})

    def hear(self) -> dict[str, Any]:
        assert select([self.channel], [], [], DEADLINE_S)[0], "the role says nothing"
        (message,) = self.channel.receive()
        return message

    def ready(self) -> "Role":
        assert self.hear() == {"kind": "ready"}
        return self

    def stop(self) -> None:
        self.channel.send({"kind": "stop"})
        assert self.ended() == 0

    def kill(self) -> None:
        self.process.kill()
        self.ended()

    def ended(self) -> int:
        with self.process:
            status = self.process.wait(DEADLINE_S)
        self.channel.close()
        return status


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "real_server.json"


def test_the_address_is_carried_hidden_and_undone_exactly(state: Path) -> None:
    def scene() -> None:
        set_parameter("lo/arp_announce", "1")  # found, so to be restored
        before = machine()
        role = Role(state, VIP).ready()
        carried = machine()
        assert carried["addresses"][f"{VIP}/32"] == "lo:0"
        assert carried["routes"] == before["routes"] | {str(VIP)}
        assert {name: carried[name] for name in PARAMETERS} == {
            "all/arp_ignore": "1",
            "all/arp_announce": "2",
            "lo/arp_ignore": "1",
            "lo/arp_announce": "2",
        }
        role.channel.send({"kind": "request", "id": 1, "name": "status", "arguments": {}})
        value = {"addresses": [str(VIP)], "interface": "lo"}
        assert role.hear() == {"kind": "reply", "id": 1, "value": value}
        role.stop()
        assert machine() == before
        assert not state.exists()

    in_namespace(scene)


def test_after_kill_9_the_next_start_takes_over_and_its_stop_restores_what_was_first(
    state: Path,
) -> None:
    def scene() -> None:
        set_parameter("all/arp_ignore", "2")
        before = machine()
        Role(state, VIP).ready().kill()
        assert machine() != before  # nobody could undo it
        second = Role(state, VIP).ready()
        assert f"{VIP}/32" in machine()["addresses"]
        second.kill()
        Role(state, VIP).ready().stop()
        assert machine() == before

    in_namespace(scene)


def test_the_next_start_drops_what_only_the_killed_one_carried(state: Path) -> None:
    def scene() -> None:
        before = machine()
        Role(state, VIP, OTHER).ready().kill()
        role = Role(state, OTHER).ready()
        assert machine()["routes"] == before["routes"] | {str(OTHER)}
        assert f"{VIP}/32" not in machine()["addresses"]
        role.stop()
        assert machine() == before

    in_namespace(scene)


def test_what_was_there_before_us_stays(state: Path) -> None:
    def scene() -> None:
        run("ip", "address", "add", f"{VIP}/32", "dev", "lo")
        run("ip", "route", "add", f"{VIP}/32", "dev", "lo")
        before = machine()
        role = Role(state, VIP, OTHER).ready()
        assert f"{OTHER}/32" in machine()["addresses"]
        role.stop()
        assert machine() == before

    in_namespace(scene)


def test_a_state_file_of_another_boot_or_namespace_is_not_believed(state: Path) -> None:
    state.write_text(
        json.dumps(
            {
                "namespace": "elsewhere/1",
                "parameters": {"net/ipv4/conf/lo/arp_ignore": "7"},
                "addresses": ["127.0.0.1"],
                "routes": [],
            }
        )
    )

    def scene() -> None:
        before = machine()
        Role(state, VIP).ready().stop()
        assert machine() == before

    in_namespace(scene)


def test_half_a_state_file_is_not_believed(state: Path) -> None:
    state.write_text('{"namespace": "')

    def scene() -> None:
        before = machine()
        Role(state, VIP).ready().stop()
        assert machine() == before

    in_namespace(scene)


def test_the_end_of_the_channel_undoes_as_stop_does(state: Path) -> None:
    def scene() -> None:
        before = machine()
        role = Role(state, VIP).ready()
        role.channel.close()
        assert role.ended() == 0
        assert machine() == before

    in_namespace(scene)


def test_a_parameter_that_somebody_changed_meanwhile_is_left_to_them(state: Path) -> None:
    def scene() -> None:
        role = Role(state, VIP).ready()
        set_parameter("lo/arp_ignore", "8")
        role.stop()
        assert machine()["lo/arp_ignore"] == "8"

    in_namespace(scene)


def killed_at(step: int, action: Callable[[], None]) -> bool:
    """Run the action in a child that ends itself with SIGKILL before its nth line of our own code;
    False when it had fewer lines."""
    left = step

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in OUR_FILES:
            return None
        if event == "line":
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    child = os.fork()
    if child == 0:
        sys.settrace(trace)
        action()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0
    return os.WIFSIGNALED(status)


def test_killed_before_any_line_of_carrying_it_is_repaired(state: Path) -> None:
    def scene() -> None:
        set_parameter("all/arp_announce", "1")
        before = machine()
        step = 1
        while killed_at(step, lambda: carry([VIP, OTHER], state)):
            carry([VIP], state)
            drop(state)
            assert machine() == before, f"killed before line {step}"
            step += 1
        assert step > 20, "the lines were not counted"

    in_namespace(scene)


def test_killed_before_any_line_of_dropping_it_is_repaired(state: Path) -> None:
    def scene() -> None:
        set_parameter("all/arp_announce", "1")
        before = machine()
        step = 1
        carry([VIP], state)
        while killed_at(step, lambda: drop(state)):
            drop(state)
            assert machine() == before, f"killed before line {step}"
            carry([VIP], state)
            step += 1
        assert step > 10, "the lines were not counted"

    in_namespace(scene)
