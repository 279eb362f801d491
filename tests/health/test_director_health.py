"""What the director makes of real checks: events, weights, quorums, and the scripts that hear of
them. The data plane is left out: it is told what `wanted` says."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from asking import LOOPBACK

from trimaran.director.plan import key_of
from trimaran.director.settings import RealServerSettings, ServiceSettings
from trimaran.health.settings import (
    CheckSettings,
    FileProbe,
    PoolSettings,
    ScriptSettings,
    Target,
    TcpProbe,
)
from trimaran.node.director_health import DirectorHealth

VIP = IPv4Address("192.0.2.100")


class Scene:
    """Real servers that are files: '0' is well, anything else is not."""

    def __init__(self, place: Path, names: str = "ab", **changes: Any) -> None:
        self.place = place
        self.events: list[tuple[str, str, str, str]] = []
        self.news = asyncio.Event()
        for name in names:
            self.set(name, "0")
        real = changes.pop("real", {})
        servers = tuple(
            RealServerSettings(
                name, IPv4Address(f"192.0.2.{ord(name)}"), 80, 1,
                {"file": self.check(name)}, **real,
            )
            for name in names
        )  # fmt: skip
        self.service = replace(ServiceSettings("web", VIP, 80, "tcp", "wrr", servers), **changes)
        self.health = DirectorHealth((self.service,), self.event, self.news.set)

    def check(self, name: str, weight: int | None = None) -> CheckSettings:
        probe = FileProbe(str(self.place / name), weight)
        return CheckSettings(Target(LOOPBACK, 80), 0.03, 5.0, 1, 0.02, 1, probe)

    def set(self, name: str, text: str) -> None:
        fresh = self.place / f"{name}.new"
        fresh.write_text(text)
        fresh.rename(self.place / name)

    def script(self, word: str) -> ScriptSettings:
        """A program that writes the word down."""
        place = self.place / f"{word}.sh"
        place.write_text(f"#!/bin/sh\necho {word} >>{self.place}/told\n")
        place.chmod(0o755)
        return ScriptSettings(str(place), None, 10.0)

    def told(self) -> list[str]:
        told = self.place / "told"
        return told.read_text().split() if told.exists() else []

    def event(self, name: str, subject: str, message: str, cause: str, data: Any) -> None:
        self.events.append((name, subject, message, cause))

    def table(self) -> dict[str, int]:
        """Name: weight, of those who are in it."""
        (service,), out = self.health.wanted()
        return {
            real.name: real.weight
            for real in service.real_servers
            if key_of(service, real) not in out
        }

    async def becomes(self, what: Callable[[], object], wanted: object) -> None:
        async with asyncio.timeout(20):
            while what() != wanted:  # noqa: ASYNC110 - files and programs set no event
                await asyncio.sleep(0.01)


def play(scene: Callable[[], Scene], acts: Callable[[Scene], Awaitable[None]]) -> Scene:
    async def main() -> Scene:
        made = scene()
        made.health.begin(set())
        task = asyncio.create_task(made.health.probe())
        try:
            await acts(made)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await made.health.farewell()
        return made

    return asyncio.run(main())


def test_down_and_up_again(tmp_path: Path) -> None:
    async def acts(scene: Scene) -> None:
        assert scene.table() == {"a": 1, "b": 1}
        scene.set("a", "9")
        await scene.becomes(scene.table, {"b": 1})
        assert scene.news.is_set()
        row = scene.health.health(key_of(scene.service, scene.service.real_servers[0]))
        assert not row["well"] and row["last_check"]["error"].endswith("holds 9, not 0")
        (only,) = row["checks"]
        assert (only["name"], only["kind"], only["up"], only["ok"]) == (
            "file",
            "file",
            False,
            False,
        )
        scene.set("a", "0")
        await scene.becomes(scene.table, {"a": 1, "b": 1})

    scene = play(lambda: Scene(tmp_path), acts)
    assert scene.events == [
        ("director.real_server_down", "a", "web: a (192.0.2.97:80) removed from the table",
         f"2 failed probes in a row: '{tmp_path}/a' holds 9, not 0"),
        ("director.real_server_up", "a", "web: a (192.0.2.97:80) added to the table",
         "1 good probe in a row"),
    ]  # fmt: skip


def test_inhibited_it_stays_with_weight_0(tmp_path: Path) -> None:
    async def acts(scene: Scene) -> None:
        scene.set("a", "9")
        await scene.becomes(scene.table, {"a": 0, "b": 1})

    scene = play(lambda: Scene(tmp_path, real={"inhibit": True}), acts)
    assert "stays in the table with weight 0" in scene.events[0][2]


def test_all_checks_must_pass(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        tcp = CheckSettings(Target(LOOPBACK, port), 0.03, 5.0, 0, 0.02, 1, TcpProbe())

        def scene() -> Scene:
            made = Scene(tmp_path, "a")
            (real,) = made.service.real_servers
            both = replace(real, checks={"number": made.check("a"), "port": tcp})
            made.service = replace(made.service, real_servers=(both,))
            made.health = DirectorHealth((made.service,), made.event, made.news.set)
            return made

        async def acts(scene: Scene) -> None:
            key = key_of(scene.service, scene.service.real_servers[0])
            await scene.becomes(lambda: scene.health.health(key)["checks"][1]["ok"], True)
            listener.close()
            await scene.becomes(scene.table, {})
            # The first probe to fail may have been about to connect: that one is reset.
            await scene.becomes(
                lambda: scene.health.health(key)["last_check"]["error"], "connection refused"
            )
            row = scene.health.health(key)
            assert [each["ok"] for each in row["checks"]] == [True, False]

        cause = play(scene, acts).events[0][3]
        began, _, how = cause.rpartition(": ")
        assert began == "port: 1 failed probe in a row"
        assert how in ("connection refused", "connection reset by peer")


def test_the_sorry_server_stands_in_and_the_scripts_hear_of_it(tmp_path: Path) -> None:
    sorry = RealServerSettings("s", IPv4Address("192.0.2.9"), 80, 1)

    def scene() -> Scene:
        made = Scene(tmp_path)
        pool = PoolSettings(
            quorum=2, quorum_up=made.script("gained"), quorum_down=made.script("lost"), omega=True
        )
        made.service = replace(made.service, pool=pool, sorry_server=sorry)
        made.health = DirectorHealth((made.service,), made.event, made.news.set)
        return made

    async def acts(scene: Scene) -> None:
        assert scene.table() == {"a": 1, "b": 1}
        await scene.becomes(scene.told, ["gained"])
        scene.set("a", "9")
        await scene.becomes(scene.table, {"b": 0, "s": 1})
        assert scene.health.quorum(0) == {"met": False, "weight": 1, "wanted": 2, "hysteresis": 0}
        await scene.becomes(scene.told, ["gained", "lost"])
        scene.set("a", "0")
        await scene.becomes(scene.table, {"a": 1, "b": 1})
        await scene.becomes(scene.told, ["gained", "lost", "gained"])

    made = play(scene, acts)
    assert made.told() == ["gained", "lost", "gained", "lost"], "omega: the last at the end"
    lost, gained = [each for each in made.events if "quorum" in each[0]]
    assert lost[2:] == (
        "web: quorum lost; s (192.0.2.9:80) stands in",
        "the weight 1 of the well real servers is below 2",
    )
    assert gained[0] == "director.quorum_gained"


def test_notify_scripts(tmp_path: Path) -> None:
    def scene() -> Scene:
        made = Scene(tmp_path, "a")
        (real,) = made.service.real_servers
        real = replace(real, notify_up=made.script("up"), notify_down=made.script("down"))
        made.service = replace(made.service, real_servers=(real,))
        made.health = DirectorHealth((made.service,), made.event, made.news.set)
        return made

    async def acts(scene: Scene) -> None:
        scene.set("a", "1")
        await scene.becomes(scene.told, ["down"])
        scene.set("a", "0")
        await scene.becomes(scene.told, ["down", "up"])

    play(scene, acts)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("/nonexistent", "cannot run '/nonexistent': no such file or directory"),
        ("/bin/false", "exit status 1"),
        ("/bin/sleep 60", "ended after 0.2 s: it had not come to an end"),
    ],
)
def test_a_script_that_fails_is_an_event_and_nothing_else(
    tmp_path: Path, command: str, why: str
) -> None:
    async def acts(scene: Scene) -> None:
        scene.set("a", "1")
        await scene.becomes(lambda: [each[3] for each in scene.events[-1:]], [why])
        scene.set("a", "0")
        await scene.becomes(scene.table, {"a": 1})

    script = ScriptSettings(command, None, 0.2)
    play(lambda: Scene(tmp_path, "a", real={"notify_down": script}), acts)


def test_weights_follow_the_checks_and_start_slowly(tmp_path: Path) -> None:
    def scene() -> Scene:
        made = Scene(tmp_path, "a")
        (real,) = made.service.real_servers
        weighing = replace(real, weight=100, checks={"weight": made.check("a", 10)})
        pool = PoolSettings(slow_start_s=1000.0)
        made.service = replace(made.service, real_servers=(weighing,), pool=pool)
        made.health = DirectorHealth((made.service,), made.event, made.news.set)
        return made

    async def acts(scene: Scene) -> None:
        scene.set("a", "7")
        await scene.becomes(scene.table, {"a": 170})
        scene.set("a", "-30")
        await scene.becomes(scene.table, {})
        scene.set("a", "7")
        await scene.becomes(lambda: bool(scene.table()), True)
        assert scene.table()["a"] < 10, "it has just come back"

    play(scene, acts)


def test_what_an_earlier_process_had_found_stays(tmp_path: Path) -> None:
    async def main() -> None:
        scene = Scene(tmp_path)
        first = scene.service.real_servers[0]
        scene.health.begin({key_of(scene.service, first)})
        assert scene.table() == {"b": 1} and scene.events == []

    asyncio.run(main())


def test_a_shared_check_that_passes_elsewhere_is_not_taken_for_failing(tmp_path: Path) -> None:
    async def main() -> None:
        scene = Scene(tmp_path, "a")
        other = replace(scene.service, name="other", port=443)
        health = DirectorHealth((scene.service, other), scene.event, scene.news.set)
        health.begin({key_of(scene.service, scene.service.real_servers[0])})
        assert health.wanted()[1] == set()

    asyncio.run(main())


def test_alpha_starts_down(tmp_path: Path) -> None:
    def scene() -> Scene:
        made = Scene(tmp_path, "a")
        (real,) = made.service.real_servers
        real = replace(real, checks={"file": replace(made.check("a"), alpha=True, rise=3)})
        made.service = replace(made.service, real_servers=(real,))
        made.health = DirectorHealth((made.service,), made.event, made.news.set)
        return made

    async def acts(scene: Scene) -> None:
        assert scene.table() == {}
        await scene.becomes(scene.table, {"a": 1})

    names = [each[0] for each in play(scene, acts).events]
    assert names == ["director.quorum_lost", "director.real_server_up", "director.quorum_gained"]


def test_suspended_checks_find_nothing_until_the_address_is_here(tmp_path: Path) -> None:
    def scene() -> Scene:
        made = Scene(tmp_path)
        made.service = replace(made.service, pool=PoolSettings(ha_suspend=True))
        made.health = DirectorHealth((made.service,), made.event, made.news.set)
        return made

    async def acts(scene: Scene) -> None:
        key = key_of(scene.service, scene.service.real_servers[0])

        def ago() -> Any:
            return scene.health.health(key)["checks"][0]["ago_s"]

        scene.health.suspend(set())
        await scene.becomes(lambda: ago() is None or ago() > 0.1, True)
        scene.set("a", "9")
        await asyncio.sleep(0.3)  # ten intervals
        assert scene.table() == {"a": 1, "b": 1}
        assert scene.health.health(key)["checks"][0]["suspended"]
        scene.health.suspend({VIP})
        await scene.becomes(scene.table, {"b": 1})

    names = [each[0] for each in play(scene, acts).events]
    assert names == [
        "director.checks_suspended", "director.checks_resumed", "director.real_server_down",
    ]  # fmt: skip


def test_the_other_tiers_hear_of_quorums_and_a_name_needs_all_of_its_addresses(
    tmp_path: Path,
) -> None:
    told: list[tuple[str, bool, str]] = []

    def hear(service: str, met: bool, cause: str) -> None:
        told.append((service, met, cause))

    def scene() -> Scene:
        made = Scene(tmp_path)
        both = made.service, replace(made.service, address=IPv4Address("192.0.2.101"))
        made.health = DirectorHealth(both, made.event, made.news.set, hear)
        return made

    async def acts(scene: Scene) -> None:
        weight = "the weight {} of the well real servers"
        assert told == [("web", True, weight.format(2))]
        scene.set("a", "9")
        scene.set("b", "9")
        await scene.becomes(lambda: scene.health.wanted() and told[1:], [
            ("web", False, weight.format(0)),
        ])  # fmt: skip
        scene.set("b", "0")
        await scene.becomes(lambda: scene.health.wanted() and told[2:], [
            ("web", True, weight.format(1)),
        ])  # fmt: skip
        scene.health.adopt(())
        assert told[3:] == [("web", True, "it is served no longer")]

    play(scene, acts)


def test_a_process_that_takes_over_tells_of_no_quorum_again(tmp_path: Path) -> None:
    async def main() -> None:
        scene = Scene(tmp_path)
        up = scene.script("up")
        service = replace(scene.service, pool=PoolSettings(quorum_up=up, quorum_down=up))
        everybody = {key_of(service, real) for real in service.real_servers}
        for again in (set[Any](), everybody):
            health = DirectorHealth((service,), scene.event, scene.news.set)
            health.begin(again, again=True)
            await health.farewell()
        assert scene.told() == [] and scene.events == []
        health = DirectorHealth((service,), scene.event, scene.news.set)
        health.begin(set())
        await health.farewell()
        assert scene.told() == ["up"]

    asyncio.run(main())


def test_drained_it_has_weight_0_and_counts_for_no_quorum(tmp_path: Path) -> None:
    async def acts(scene: Scene) -> None:
        a, b = scene.service.real_servers
        drained = replace(scene.service, real_servers=(replace(a, mode="drained"), b))
        scene.health.adopt((drained,))
        assert scene.table() == {"a": 0, "b": 1}
        assert scene.health.quorum(0)["weight"] == 1
        assert scene.news.is_set()
        both = tuple(replace(each, mode="disabled") for each in (a, b))
        scene.health.adopt((replace(scene.service, real_servers=both),))
        assert scene.table() == {}
        assert [event[0] for event in scene.events] == ["director.quorum_lost"]
        scene.health.adopt((scene.service,))
        assert scene.table() == {"a": 1, "b": 1}

    play(lambda: Scene(tmp_path), acts)


def test_who_stays_keeps_what_is_known_and_who_comes_is_watched(tmp_path: Path) -> None:
    async def acts(scene: Scene) -> None:
        scene.set("a", "9")
        await scene.becomes(scene.table, {"b": 1})
        a, b = scene.service.real_servers
        scene.set("c", "9")
        c = replace(b, name="c", address=IPv4Address("192.0.2.99"), checks={"f": scene.check("c")})
        scene.health.adopt((replace(scene.service, real_servers=(a, c)),))
        assert scene.table() == {"c": 1}, "a is as down as it was"
        await scene.becomes(scene.table, {})
        scene.health.adopt((replace(scene.service, real_servers=(a,)),))
        (only,) = scene.health.health(key_of(scene.service, a))["checks"]
        assert not only["up"]
        scene.set("a", "0")
        await scene.becomes(scene.table, {"a": 1})

    scene = play(lambda: Scene(tmp_path), acts)
    downs = [event[1] for event in scene.events if event[0] == "director.real_server_down"]
    assert downs == ["a", "c"]
