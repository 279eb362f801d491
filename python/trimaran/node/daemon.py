"""`trimaran run`: the supervisor, its API and its signals, in one event loop."""

import asyncio
import os
import signal
import socket
from collections.abc import Sequence

from trimaran.node.control import server
from trimaran.node.events import Events
from trimaran.node.keeper import RoleSpec
from trimaran.node.preflight import Finding
from trimaran.node.run_directory import RunDirectory
from trimaran.node.supervisor import Supervisor


def run(
    directory: RunDirectory, specs: Sequence[RoleSpec], warnings: Sequence[Finding] = ()
) -> None:
    """Run the node until it is told to stop. `directory` is taken already; `warnings` are what
    preflight found. Raises CannotRunError when a role cannot even be tried; everything is undone
    then."""
    asyncio.run(_run(directory, specs, warnings))


async def _run(
    directory: RunDirectory, specs: Sequence[RoleSpec], warnings: Sequence[Finding]
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
    supervisor = Supervisor(directory.node, specs, events)
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
    changes nothing, and says so."""
    stopping = asyncio.Event()

    def stop() -> None:
        if stopping.is_set():
            supervisor.hurry()
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, _refuse_to_reload, supervisor.events)
    return stopping


def _refuse_to_reload(events: Events) -> None:
    """SIGHUP asks keepalived and nginx to reload. To die of it would take the node down."""
    events.add(
        "node",
        "node.warning",
        message="the files were not read again: restart the node for that",
        cause="SIGHUP, and a reload does not exist yet",
    )


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
