"""Asking a probe once, as the runner does."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from trimaran.health.probes import ask
from trimaran.health.probes.errors import ProbeError
from trimaran.health.settings import CheckSettings, Probe, Target, TcpProbe
from trimaran.health.verdict import Outcome

LOOPBACK = IPv4Address("127.0.0.1")


def check(port: int, probe: Probe | None = None, timeout_s: float = 20.0, **target: Any) -> Any:
    """A check of something on loopback."""
    where = replace(Target(LOOPBACK, port), **target)
    return CheckSettings(where, 1.0, timeout_s, 1, 0.1, 1, probe or TcpProbe())


def asked(
    server: AbstractAsyncContextManager[int] | int,
    probe: Probe | None = None,
    timeout_s: float = 20.0,
    **target: Any,
) -> Outcome | str:
    """What a probe of the server brings: its outcome, or its error in words."""

    async def run() -> Outcome | str:
        if isinstance(server, int):
            return await one(check(server, probe, timeout_s, **target))
        async with server as port:
            return await one(check(port, probe, timeout_s, **target))

    return asyncio.run(run())


async def one(settings: CheckSettings) -> Outcome | str:
    try:
        return await ask(settings)
    except ProbeError as error:
        return str(error)


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    """A coroutine in a loop of its own."""

    async def main() -> Any:
        return await work()

    return asyncio.run(main())
