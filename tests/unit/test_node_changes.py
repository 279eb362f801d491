"""What is changed at run time: asked for over the control API, kept for the role's next process."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from trimaran.node.client import ControlClient, ControlError
from trimaran.node.control import server
from trimaran.node.events import Events
from trimaran.node.keeper import RoleSpec
from trimaran.node.run_directory import RunDirectory
from trimaran.node.runtime import Runtime
from trimaran.node.supervisor import Supervisor

HERE = Path(__file__).parent
DEADLINE_S = 60.0
Scene = Callable[[Supervisor, ControlClient], Awaitable[None]]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    return RunDirectory(tmp_path / "run", "node1")


def specs(directory: RunDirectory) -> list[RoleSpec]:
    diary = str(directory.base.parent / "diary")
    return [
        RoleSpec(name, "echo_role", {"diary": diary, "name": name}, changes=name != "vrrp")
        for name in ("director", "proxy", "vrrp")
    ]


def play(directory: RunDirectory, scene: Scene) -> list[str]:
    """Play it beside a daemon; the messages of its events."""
    events = Events("node1", printed=False)

    async def main() -> None:
        runtime = Runtime(directory.state / "runtime.json")
        wanted = specs(directory)
        supervisor = Supervisor("node1", wanted, events, lambda _instead: wanted, runtime)
        api = server(supervisor)
        with directory.listen() as listener:
            serving = asyncio.create_task(api.serve(sockets=[listener]))
            try:
                await supervisor.start()
                async with ControlClient(directory.socket_path) as client:
                    await scene(supervisor, client)
            finally:
                await supervisor.stop()
                events.close()
                api.should_exit = True
                await serving

    directory.take()
    try:
        asyncio.run(asyncio.wait_for(main(), DEADLINE_S))
    finally:
        directory.leave()
    return [event.message for event in events.since(0)]


async def overlays(client: ControlClient) -> dict[str, Any]:
    status = await client.status()
    return {name: row["status"]["overlay"] for name, row in status["roles"].items()}


def test_a_change_reaches_every_role_that_takes_them_and_outlives_its_process(
    directory: RunDirectory,
) -> None:
    async def scene(supervisor: Supervisor, client: ControlClient) -> None:
        rows = await client.change("drain", "node4", service="web")
        assert rows == [{"role": role, "name": "node4"} for role in ("director", "proxy")]
        (told,) = (await overlays(client))["director"]
        assert (told["verb"], told["service"]) == ("drain", "web")
        assert told["cause"] == f"drain asked for by uid {os.getuid()} (pid {os.getpid()})"
        assert (await overlays(client))["vrrp"] == []
        pid = supervisor.keepers["director"].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + DEADLINE_S
        row: dict[str, Any] = {"pid": pid, "status": None}
        while row["pid"] == pid or not row["status"]:
            assert time.monotonic() < deadline, "it starts again"
            await asyncio.sleep(0.02)
            row = (await client.status())["roles"]["director"]
        assert row["status"]["overlay"] == [told]

    play(directory, scene)


def test_the_next_daemon_has_it_and_a_reload_keeps_or_drops_it(directory: RunDirectory) -> None:
    kept = directory.state / "runtime.json"

    async def first(supervisor: Supervisor, client: ControlClient) -> None:
        await client.change("weight", "node4", weight=7)
        assert len(json.loads(kept.read_text())["director"]) == 1

    async def second(supervisor: Supervisor, client: ControlClient) -> None:
        ((told,),) = (set_of(await overlays(client)),)
        assert told == 7
        assert await client.reload() == dict.fromkeys(supervisor.keepers, "unchanged")
        assert set_of(await overlays(client)) == {7}
        await client.stop_role("proxy")
        await client.reload(keep_changes=False)
        assert not kept.exists()
        await client.start_role("proxy")
        assert set_of(await overlays(client)) == set()

    def set_of(all_overlays: dict[str, Any]) -> set[int]:
        return {change["weight"] for each in all_overlays.values() for change in each}

    play(directory, first)
    play(directory, second)


def test_what_nobody_knows_is_refused_with_every_reason(directory: RunDirectory) -> None:
    async def scene(supervisor: Supervisor, client: ControlClient) -> None:
        with pytest.raises(ControlError, match="no 'x' here; no 'x' here"):
            await client.change("drain", "x")
        for verb, weight in (("weight", None), ("drain", 3), ("weight", 65536), ("reset", None)):
            with pytest.raises(ControlError):
                await client.change(verb, "node4", weight=weight)
        await client.stop_role("director")
        with pytest.raises(ControlError, match="director cannot be changed: it is stopped"):
            await client.change("drain", "node4")
        assert set(map(len, (await overlays_of_running(client)).values())) == {0}

    async def overlays_of_running(client: ControlClient) -> dict[str, Any]:
        rows = (await client.status())["roles"]
        return {name: row["status"]["overlay"] for name, row in rows.items() if row["status"]}

    play(directory, scene)


def test_a_file_that_cannot_be_read_is_said_and_nothing_else_stops(
    directory: RunDirectory,
) -> None:
    directory.state.mkdir(parents=True)
    (directory.state / "runtime.json").write_text("{")

    async def scene(supervisor: Supervisor, client: ControlClient) -> None:
        assert (await client.status())["roles"]["director"]["state"] == "running"

    assert "what was changed at run time is lost" in play(directory, scene)
