"""`trimaran run`: the supervisor, its API and its signals, in one event loop."""

import asyncio
import os
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress

from trimaran.node.control import server
from trimaran.node.events import Events
from trimaran.node.keeper import RoleSpec
from trimaran.node.preflight import Finding
from trimaran.node.reload import ReloadRefusedError
from trimaran.node.run_directory import RunDirectory
from trimaran.node.runtime import Runtime
from trimaran.node.supervisor import Reread, Supervisor


def run(
    directory: RunDirectory,
    specs: Sequence[RoleSpec],
    warnings: Sequence[Finding] = (),
    reread: Reread | None = None,
) -> None:
    """Run the node until it is told to stop. `directory` is taken already; `warnings` are what
    preflight found; `reread` is what a reload does. Raises CannotRunError when a role cannot even
    be tried; everything is undone then."""
    asyncio.run(_run(directory, specs, warnings, reread))


async def _run(
    directory: RunDirectory,
    specs: Sequence[RoleSpec],
    warnings: Sequence[Finding],
    reread: Reread | None,
) -> None:
    events = Events(directory.node)
    for finding in warnings:
        events.add(
            finding.role,
            "preflight.warning",
            subject=finding.role,
            message=finding.message,
            cause="found before the roles start",
            data={"mend": finding.mend},
        )
    runtime = Runtime(directory.state / "runtime.json")
    supervisor = Supervisor(directory.node, specs, events, reread, runtime)
    stopping = _stop_on_signals(supervisor)
    api = server(supervisor)
    with directory.listen() as listener:
        serving = asyncio.create_task(api.serve(sockets=[listener]))
        starting = asyncio.create_task(supervisor.start())
        told = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait([starting, told], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                notify("READY=1")
                await told
        finally:
            notify("STOPPING=1")
            starting.cancel()
            await asyncio.wait([starting])
            await supervisor.stop()
            events.close()
            api.should_exit = True
            told.cancel()
            await asyncio.wait([serving])  # an API that broke down is no reason to fail


def _stop_on_signals(supervisor: Supervisor) -> asyncio.Event:
    """The first SIGTERM or SIGINT stops gracefully; a second one cuts the grace short. SIGHUP
    reloads."""
    stopping = asyncio.Event()
    reloads: set[asyncio.Task[None]] = set()  # the loop itself holds its tasks weakly

    def stop() -> None:
        if stopping.is_set():
            supervisor.hurry()
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)

    def reload() -> None:
        task = asyncio.create_task(_reload(supervisor))
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    return stopping


async def _reload(supervisor: Supervisor) -> None:
    with suppress(ReloadRefusedError):  # an event has said why
        await supervisor.reload("SIGHUP")


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)), where it asked to be told."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.connect("\0" + address[1:] if address.startswith("@") else address)
            sender.send(state.encode())
        except OSError:
            return  # a manager that does not listen is no reason to stop
