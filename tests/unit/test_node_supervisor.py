"""The supervisor with real child processes."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from trimaran.node.events import Event, Events
from trimaran.node.keeper import RoleSpec
from trimaran.node.lifecycle import State
from trimaran.node.supervisor import Supervisor

HERE = Path(__file__).parent
DEADLINE_S = 30.0


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HERE))


class Node:
    """A supervisor of echo roles, and what they noted in their diary."""

    def __init__(self, tmp_path: Path) -> None:
        self.diary = tmp_path / "diary"
        self.specs: list[RoleSpec] = []
        self.events = Events("node1", printed=False)

    def role(self, name: str, listen: Any = list, **settings: Any) -> None:
        told = {"diary": str(self.diary), "name": name, **settings}
        self.specs.append(RoleSpec(name, "echo_role", told, listen))

    def run(self, scene: Callable[[Supervisor], Awaitable[None]]) -> None:
        async def play() -> None:
            supervisor = Supervisor("node1", self.specs, self.events)
            try:
                await supervisor.start()
                await scene(supervisor)
            finally:
                await supervisor.stop()

        asyncio.run(asyncio.wait_for(play(), 3 * DEADLINE_S))

    def noted(self) -> list[str]:
        return self.diary.read_text().splitlines() if self.diary.exists() else []

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events.since(0) if event.name == name]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


async def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        await asyncio.sleep(0.02)


def test_roles_start_in_order_and_stop_in_the_reverse_one(node: Node) -> None:
    for name in ("director", "proxy", "vrrp"):
        node.role(name)

    async def scene(supervisor: Supervisor) -> None:
        assert node.noted() == ["start director", "start proxy", "start vrrp"]
        status = await supervisor.status()
        assert [row["state"] for row in status["roles"].values()] == ["running"] * 3

    node.run(scene)
    assert node.noted()[3:] == ["stop vrrp", "stop proxy", "stop director"]


def test_a_killed_role_starts_again_and_the_event_says_why(node: Node) -> None:
    node.role("director")

    async def scene(supervisor: Supervisor) -> None:
        keeper = supervisor.keepers["director"]
        first = keeper.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: keeper.restarts == 1 and keeper.state is State.RUNNING, "a restart")
        assert keeper.pid != first
        (exited,) = node.named("role.exited")
        assert exited.role == "director"
        assert "SIGKILL" in exited.cause
        assert len(node.named("role.started")) == 2

    node.run(scene)


def test_vrrp_hears_of_quorums_also_when_it_starts_again(node: Node) -> None:
    lost = {"kind": "quorum", "service": "web", "met": False, "cause": "weight 0"}
    node.role("director", say=[{**lost, "met": True}, lost])
    node.role("vrrp")

    async def heard(supervisor: Supervisor) -> list[Any]:
        status = await supervisor.status()
        told = status["roles"]["vrrp"]["status"]["heard"]
        return [each for each in told if each["kind"] == "quorum"]

    async def scene(supervisor: Supervisor) -> None:
        assert await heard(supervisor) == [lost]
        await supervisor.stop_role("vrrp", "a test")
        await supervisor.start_role("vrrp", "a test")
        assert await heard(supervisor) == [lost]

    node.run(scene)


def test_a_role_that_refuses_is_not_tried_again_and_the_others_run(node: Node) -> None:
    node.role("director", refuse="this kernel has no eBPF")
    node.role("vrrp")

    async def scene(supervisor: Supervisor) -> None:
        keeper = supervisor.keepers["director"]
        assert keeper.state is State.FAILED
        assert "this kernel has no eBPF" in keeper.cause
        (exited,) = node.named("role.exited")
        assert "this kernel has no eBPF" in exited.cause
        assert supervisor.keepers["vrrp"].state is State.RUNNING
        status = await supervisor.status()
        (told,) = status["roles"]["vrrp"]["status"]["heard"]
        assert (told["tier"], told["well"]) == ("director", False)
        assert keeper.restarts == 0

    node.run(scene)


def test_a_role_that_keeps_crashing_is_tried_later_each_time(node: Node) -> None:
    node.role("director", crash=1)
    node.role("vrrp")

    async def scene(supervisor: Supervisor) -> None:
        await supervisor.start()  # does not wait for ever: vrrp runs, and knows
        keeper = supervisor.keepers["director"]
        assert keeper.restarts >= 3
        vrrp = await supervisor.keepers["vrrp"].status()
        told = vrrp["status"]["heard"][-1]
        assert (told["well"], "crashed 3 times in a row" in told["cause"]) == (False, True)
        waits = [event.message.split()[-2] for event in node.named("role.exited")]
        assert [float(wait) for wait in waits[:3]] == [0.25, 0.5, 1.0]
        await supervisor.stop_role("director", "enough")  # also in the middle of a wait
        assert keeper.state is State.STOPPED
        await supervisor.stop()

    async def play() -> None:
        await scene(Supervisor("node1", node.specs, node.events))

    asyncio.run(asyncio.wait_for(play(), 3 * DEADLINE_S))


def test_a_role_that_crashes_when_it_is_ready_is_not_started_in_a_hot_loop(node: Node) -> None:
    node.role("director", crash_when_ready=0)  # ending with 0 unasked is a crash as well

    async def scene(supervisor: Supervisor) -> None:
        keeper = supervisor.keepers["director"]
        began = time.monotonic()
        await until(lambda: keeper.restarts >= 4, "four crashes")
        assert time.monotonic() - began > 0.25 + 0.5 + 1.0

    node.run(scene)


def test_the_end_of_the_supervisor_ends_the_roles(node: Node, tmp_path: Path) -> None:
    """A supervisor that is killed leaves no role behind."""
    reader, writer = os.pipe()
    supervisor_pid = os.fork()
    if supervisor_pid == 0:
        try:
            node.role("director")

            async def tell(supervisor: Supervisor) -> None:
                os.write(writer, str(supervisor.keepers["director"].pid).encode())
                await asyncio.sleep(3600)

            node.run(tell)
        finally:
            os._exit(1)
    os.close(writer)
    role = int(os.read(reader, 32))
    os.close(reader)
    os.kill(supervisor_pid, signal.SIGKILL)
    os.waitpid(supervisor_pid, 0)
    end = time.monotonic() + DEADLINE_S
    while Path(f"/proc/{role}/cmdline").exists() and Path(f"/proc/{role}/cmdline").read_bytes():
        assert time.monotonic() < end, "the role outlived its supervisor"
        time.sleep(0.02)
    assert node.noted() == ["start director", "orphan director"]


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


async def ask(port: int) -> int:
    """The pid that serves the port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return int(await asyncio.wait_for(reader.read(), DEADLINE_S))
    finally:
        writer.close()
        await writer.wait_closed()


def test_a_connection_made_while_the_role_is_down_is_served_after_its_restart(node: Node) -> None:
    first_listener = listener()
    port = first_listener.getsockname()[1]
    opened = [first_listener]

    def listen(held: list[socket.socket]) -> list[socket.socket]:
        return [opened.pop()] if opened else [socket.create_server(("127.0.0.1", port))]

    node.role("proxy", listen=listen)

    async def scene(supervisor: Supervisor) -> None:
        keeper = supervisor.keepers["proxy"]
        first = keeper.pid
        assert first is not None
        assert await ask(port) == first
        status = await keeper.status()
        assert status["status"]["listen_pid"] == str(first)
        os.kill(first, signal.SIGKILL)
        await until(lambda: keeper.state is State.STARTING, "the crash noticed")
        second = await ask(port)  # connects at once, is answered by the next process
        assert second not in (0, first)
        await supervisor.stop_role("proxy", "asked")
        with pytest.raises(ConnectionRefusedError):
            await ask(port)
        row = await supervisor.start_role("proxy", "asked")
        assert row["state"] == "running"
        assert await ask(port) == row["pid"]

    node.run(scene)


def test_vrrp_hears_what_the_director_says_of_itself(node: Node) -> None:
    node.role(
        "director",
        say=[
            {"kind": "well", "well": False, "cause": "no carrier"},
            {
                "kind": "event",
                "name": "director.attached",
                "subject": "ens33",
                "message": "attached",
                "cause": "it starts",
                "data": {"hook": "tc"},
            },
        ],
    )
    node.role("vrrp")

    async def scene(supervisor: Supervisor) -> None:
        status = await supervisor.status()
        (told,) = status["roles"]["vrrp"]["status"]["heard"]
        assert told == {"kind": "tier", "tier": "director", "well": False, "cause": "no carrier"}
        (event,) = node.named("director.attached")
        assert (event.role, event.subject, event.data) == ("director", "ens33", {"hook": "tc"})
        await supervisor.stop_role("director", "asked")
        status = await supervisor.status()
        assert status["roles"]["vrrp"]["status"]["heard"][-1]["cause"] == "the director is stopped"

    node.run(scene)


def test_a_role_that_ignores_stop_is_ended_when_hurried(node: Node) -> None:
    node.role("director", hang=True)

    async def scene(supervisor: Supervisor) -> None:
        starting = asyncio.create_task(supervisor.start())
        keeper = supervisor.keepers["director"]
        await until(lambda: keeper.pid is not None, "the process")
        stopping = asyncio.create_task(supervisor.stop())
        await until(lambda: keeper.state is State.STOPPING, "stopping")
        supervisor.hurry()
        await stopping
        await starting
        assert keeper.state is State.STOPPED

    async def play() -> None:
        await scene(Supervisor("node1", node.specs, node.events))

    asyncio.run(asyncio.wait_for(play(), 3 * DEADLINE_S))


def visible(pid: int | None) -> bytes:
    """What others may see of a process."""
    process = Path(f"/proc/{pid}")
    seen = (process / "cmdline").read_bytes()
    assert b"echo_role" in seen
    return seen + (process / "environ").read_bytes()


def test_a_secret_is_in_no_command_line_environment_event_or_status(node: Node) -> None:
    secret = "tide-and-rock"
    node.role("vrrp", password=secret)

    async def scene(supervisor: Supervisor) -> None:
        pid = supervisor.keepers["vrrp"].pid
        assert secret.encode() not in visible(pid)
        assert secret not in str(await supervisor.status())
        os.kill(pid or 0, signal.SIGKILL)
        await until(lambda: node.named("role.exited"), "the crash noticed")
        assert secret not in str(node.events.since(0))
        assert secret not in repr(supervisor.keepers["vrrp"].spec)

    node.run(scene)
