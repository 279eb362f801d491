"""The runner: checks that flip, that are shared, that are spread, that break."""

import asyncio
import socket
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from asking import LOOPBACK, check
from servers import serving

from trimaran.health import probes
from trimaran.health.runner import Runner, first_delay
from trimaran.health.settings import CheckSettings, FileProbe, Target, TcpProbe


def quick(settings: CheckSettings) -> CheckSettings:
    return replace(settings, interval_s=0.05, retry_delay_s=0.02)


async def until(runner: Runner, said: asyncio.Queue[CheckSettings], wanted: list[bool]) -> None:
    """Run it until the only check has said so."""
    task = asyncio.create_task(runner.run())
    for up in wanted:
        flipped = await asyncio.wait_for(said.get(), 20)
        assert runner.watched[flipped].verdict.up == up
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_it_says_when_one_goes_down_and_comes_up() -> None:
    async def watch() -> None:
        said: asyncio.Queue[CheckSettings] = asyncio.Queue()
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind((str(LOOPBACK), 0))
            settings = quick(check(taken.getsockname()[1]))
            runner = Runner([settings], said.put_nowait)
            await until(runner, said, [False])
            last = runner.watched[settings].last
            assert last is not None and last.error == "connection refused"
            assert runner.watched[settings].verdict.error == "connection refused"
            taken.listen()
            await until(runner, said, [True])
            last = runner.watched[settings].last
            assert last is not None and last.error == "" and last.latency_s < 5
            assert runner.watched[settings].verdict.error == "connection refused"

    asyncio.run(watch())


def test_equal_checks_are_one() -> None:
    async def watch() -> int:
        arrived: asyncio.Queue[int] = asyncio.Queue()

        async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            arrived.put_nowait(1)
            await reader.read()

        async with serving(count) as port:
            runner = Runner([check(port), check(port), check(port)], lambda _check: None)
            assert len(runner.watched) == 1
            task = asyncio.create_task(runner.run())
            first = await asyncio.wait_for(arrived.get(), 20)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return first + arrived.qsize()

    assert asyncio.run(watch()) == 1


def test_a_new_weight_is_a_change(tmp_path: Path) -> None:
    async def watch() -> None:
        place = tmp_path / "weight"
        place.write_text("3")
        said: asyncio.Queue[CheckSettings] = asyncio.Queue()
        settings = quick(check(1, FileProbe(str(place), 2)))
        runner = Runner([settings], said.put_nowait)
        task = asyncio.create_task(runner.run())
        for text, change in (("5", 6), ("5", 10)):
            await asyncio.wait_for(said.get(), 20)
            assert runner.watched[settings].outcome.change == change
            place.write_text(text)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(watch())


def test_a_probe_that_breaks_is_a_failure_with_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect in one kind must not end the others: such a defect is put in."""

    async def broken(settings: CheckSettings, asked: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setitem(probes._PROBES, TcpProbe, broken)

    async def watch() -> str:
        said: asyncio.Queue[CheckSettings] = asyncio.Queue()
        runner = Runner([quick(check(1))], said.put_nowait)
        await until(runner, said, [False])
        return next(iter(runner.watched.values())).verdict.error

    assert asyncio.run(watch()) == "the probe broke: RuntimeError: a defect"


def test_the_start_is_spread() -> None:
    settings = CheckSettings(Target(LOOPBACK, 80), 3.0, 1.0, 1, 1.0, 1)
    delays = [first_delay(settings, place, 2000) for place in range(2000)]
    assert delays[0] == 0 and delays[-1] < 3.0
    gaps = [after - before for before, after in pairwise(delays)]
    assert max(gaps) == pytest.approx(min(gaps)) == pytest.approx(0.0015)
    assert first_delay(replace(settings, warmup_s=0.0), 1999, 2000) == 0
    assert first_delay(replace(settings, warmup_s=1.0), 1000, 2000) == 0.5


def test_the_bench_runs() -> None:
    bench = Path(__file__).parents[2] / "bench" / "health" / "checks.py"
    said = subprocess.run(
        [sys.executable, bench, "--servers", "50", "--interval", "0.5", "--seconds", "1"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert "servers 50, every 0.5 s" in said and "failed 0" in said
