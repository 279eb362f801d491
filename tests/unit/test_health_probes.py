"""The TCP probe and its runner, against real sockets on loopback."""

import asyncio
import socket
from ipaddress import IPv4Address

import pytest

from trimaran.health.probes.tcp import ProbeError, probe
from trimaran.health.runner import Runner
from trimaran.health.settings import CheckSettings
from trimaran.health.verdict import Verdict

LOOPBACK = IPv4Address("127.0.0.1")


def test_a_listener_is_well_and_sees_an_orderly_end() -> None:
    async def dialogue() -> bytes:
        with socket.create_server((str(LOOPBACK), 0)) as server:
            await probe(LOOPBACK, server.getsockname()[1], 5.0)
            connection, _ = server.accept()
            with connection:
                return connection.recv(1)

    assert asyncio.run(dialogue()) == b"", "an RST would have raised"


def test_a_closed_port_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind((str(LOOPBACK), 0))  # bound, so nobody else has it, and not listening
        with pytest.raises(ProbeError, match="connection refused"):
            asyncio.run(probe(LOOPBACK, taken.getsockname()[1], 5.0))


def test_no_answer_is_a_timeout() -> None:
    """A full backlog: the kernel drops further SYNs."""
    with socket.create_server((str(LOOPBACK), 0), backlog=0) as server:
        port = server.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex((str(LOOPBACK), port))
            with pytest.raises(ProbeError, match=r"no answer within 0\.2 s"):
                asyncio.run(probe(LOOPBACK, port, 0.2))
        finally:
            for filler in fillers:
                filler.close()


def test_the_runner_says_when_one_goes_down_and_comes_up() -> None:
    async def watch() -> list[tuple[str, bool]]:
        said: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind((str(LOOPBACK), 0))
            check = CheckSettings(LOOPBACK, taken.getsockname()[1], 0.05, 5.0, 1, 0.02, 1)

            def changed(key: str, verdict: Verdict) -> None:
                said.put_nowait((key, verdict.up))

            runner = Runner({"web": check}, changed)
            task = asyncio.create_task(runner.run())
            heard = [await asyncio.wait_for(said.get(), 20)]
            assert runner.last["web"].error == "connection refused"
            taken.listen()
            heard.append(await asyncio.wait_for(said.get(), 20))
            assert runner.last["web"].error == ""
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return heard

    assert asyncio.run(watch()) == [("web", False), ("web", True)]
