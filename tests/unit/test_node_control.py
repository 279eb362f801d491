"""The control API over a real Unix socket, with real callers."""

import asyncio
import grp
import json
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from trimaran.node.client import ControlClient, ControlError
from trimaran.node.control import server
from trimaran.node.events import KEPT, Events
from trimaran.node.keeper import RoleSpec
from trimaran.node.run_directory import RunDirectory
from trimaran.node.supervisor import Supervisor
from trimaran.system.errors import CannotRunError

HERE = Path(__file__).parent
DEADLINE_S = 60.0
NOBODY = 65534


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    return RunDirectory(tmp_path / "run", "node1")


def serve(directory: RunDirectory, scene: Callable[[Supervisor], Awaitable[None]]) -> None:
    """Play the scene beside a node with two echo roles and its API."""
    diary = str(directory.base.parent / "diary")
    specs = [
        RoleSpec(name, "echo_role", {"diary": diary, "name": name}) for name in ("director", "vrrp")
    ]

    async def play() -> None:
        supervisor = Supervisor("node1", specs, Events("node1", printed=False))
        api = server(supervisor)
        with directory.listen() as listener:
            serving = asyncio.create_task(api.serve(sockets=[listener]))
            try:
                await supervisor.start()
                await scene(supervisor)
            finally:
                await supervisor.stop()
                supervisor.events.close()
                api.should_exit = True
                await serving

    directory.take()
    try:
        asyncio.run(asyncio.wait_for(play(), DEADLINE_S))
    finally:
        directory.leave()


def as_user(uid: int, gid: int, path: Path, request: bytes) -> int:
    """The HTTP status that a caller of this user and group gets; -1 when it may not connect."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = -2
        try:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
                caller.settimeout(DEADLINE_S)
                caller.connect(str(path))
                caller.sendall(request)
                status = int(caller.recv(4096).split()[1])
        except PermissionError:
            status = -1
        finally:
            os.write(writer, str(status).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        status = int(answer.read())
    os.waitpid(child, 0)
    return status


def request(method: str, path: str) -> bytes:
    forged = "X-Forwarded-For: 0\r\nForwarded: for=0\r\nHost: localhost\r\n"
    return f"{method} {path} HTTP/1.1\r\n{forged}Connection: close\r\n\r\n".encode()


def test_status_tells_each_role(directory: RunDirectory) -> None:
    async def scene(supervisor: Supervisor) -> None:
        async with ControlClient(directory.socket_path) as client:
            status = await client.status()
        assert status["node"] == "node1"
        assert list(status["roles"]) == ["director", "vrrp"]
        for row in status["roles"].values():
            assert (row["state"], row["restarts"]) == ("running", 0)
            assert "diary" in row["status"]["settings"]

    serve(directory, scene)


def test_a_role_is_stopped_and_started_and_the_events_say_who_asked(
    directory: RunDirectory,
) -> None:
    async def scene(supervisor: Supervisor) -> None:
        async with ControlClient(directory.socket_path) as client:
            assert (await client.stop_role("vrrp"))["state"] == "stopped"
            assert (await client.start_role("vrrp"))["state"] == "running"
            events = [event async for event in client.events()]
            assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
            (stopped,) = [event for event in events if event["name"] == "role.stopped"]
            assert f"uid {os.getuid()} (pid {os.getpid()})" in stopped["cause"]
            with pytest.raises(ControlError, match="there are director, vrrp"):
                await client.stop_role("director2")

    serve(directory, scene)


def test_followers_get_what_happens_and_end_with_the_node(directory: RunDirectory) -> None:
    heard: list[dict[str, Any]] = []

    async def follow() -> None:
        async with ControlClient(directory.socket_path) as client:
            heard.extend([event async for event in client.events(2, follow=True)])

    followers: list[asyncio.Task[None]] = []

    async def scene(supervisor: Supervisor) -> None:
        followers.append(asyncio.create_task(follow()))
        supervisor.events.add("vrrp", "vrrp.transition", subject="front", message="é", cause="why")

    async def whole(supervisor: Supervisor) -> None:
        await scene(supervisor)
        supervisor.events.close()
        await asyncio.wait_for(followers[0], DEADLINE_S)

    serve(directory, whole)
    assert [(event["seq"], event["name"], event["message"]) for event in heard] == [
        (3, "vrrp.transition", "é")
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_a_member_of_the_group_may_look_but_not_change(
    directory: RunDirectory, tmp_path: Path
) -> None:
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)

    async def scene(supervisor: Supervisor) -> None:
        path = directory.socket_path
        mode = path.stat()
        assert stat.S_IMODE(mode.st_mode) == 0o660

        async def ask(uid: int, gid: int, method: str, target: str) -> int:
            return await asyncio.to_thread(as_user, uid, gid, path, request(method, target))

        assert await ask(NOBODY, NOBODY, "GET", "/status") == -1
        assert await ask(NOBODY, mode.st_gid, "GET", "/status") == 200
        assert await ask(NOBODY, mode.st_gid, "POST", "/roles/vrrp/stop") == 403
        assert await ask(0, 0, "POST", "/roles/vrrp/stop") == 200
        assert await ask(NOBODY, mode.st_gid, "POST", "/roles/vrrp/start") == 403

    serve(directory, scene)


def test_the_socket_belongs_to_the_group_trimaran_where_there_is_one(
    directory: RunDirectory,
) -> None:
    names = {entry.gr_name: entry.gr_gid for entry in grp.getgrall()}
    directory.take()
    try:
        with directory.listen():
            assert directory.socket_path.stat().st_gid == names.get("trimaran", 0)
    finally:
        directory.leave()
    assert not directory.socket_path.exists()


def test_a_second_daemon_of_the_same_name_is_refused_and_told_who_is_there(
    directory: RunDirectory,
) -> None:
    directory.take()
    with pytest.raises(CannotRunError, match=rf"node1 runs already \(pid {os.getpid()}\)"):
        RunDirectory(directory.base, "node1").take()
    RunDirectory(directory.base, "node2").take()
    directory.leave()
    again = RunDirectory(directory.base, "node1")
    again.take()
    again.leave()


def test_the_socket_of_a_killed_daemon_is_replaced(directory: RunDirectory) -> None:
    directory.base.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(directory.socket_path))

    async def scene(supervisor: Supervisor) -> None:
        async with ControlClient(directory.socket_path) as client:
            assert (await client.status())["node"] == "node1"

    serve(directory, scene)


def test_nobody_there_is_one_sentence(directory: RunDirectory) -> None:
    async def ask() -> None:
        async with ControlClient(directory.socket_path) as client:
            await client.status()

    with pytest.raises(CannotRunError, match="no node listens on"):
        asyncio.run(ask())


def test_the_ring_is_bounded_and_a_gap_shows() -> None:
    events = Events("node1", printed=False)
    for number in range(KEPT + 10):
        events.add("vrrp", "test", message=str(number), cause="")
    kept = events.since(0)
    assert (len(kept), kept[0].seq, kept[-1].seq) == (KEPT, 11, KEPT + 10)
    assert json.loads(json.dumps(kept[0].as_dict()))["message"] == "10"
