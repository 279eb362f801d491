"""Keeps one role in the state that is wanted: starts it, starts it again, stops it."""

import asyncio
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from trimaran.node.channel import Message
from trimaran.node.events import Events
from trimaran.node.lifecycle import (
    CRASHES_TOLERATED,
    REFUSED_STATUS,
    STEADY_S,
    State,
    Step,
    after,
    delay_s,
)
from trimaran.node.role_process import RoleError, RoleProcess, RoleRefusedError
from trimaran.system import clock

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0  # then SIGTERM, and after TERM_TIMEOUT_S SIGKILL
TERM_TIMEOUT_S = 3.0
STATUS_TIMEOUT_S = 2.0
RELOAD_TIMEOUT_S = 30.0

Listeners = list[socket.socket]
OpenListeners = Callable[[Listeners], Listeners]


@dataclass(frozen=True)
class RoleSpec:
    """What a role is made of: the module that its process runs, its settings as plain data, and
    how its listening sockets are opened (raises CannotRunError; those that are open already come
    in, and are taken over). `inherited` are descriptors that its process holds, without using
    them, until it ends. One that `reloads` takes new settings while it runs, one that `changes`
    takes what operators change (docs/decisions/0100)."""

    name: str
    module: str
    settings: Any = field(repr=False)  # may hold a secret
    listen: OpenListeners = list
    inherited: tuple[int, ...] = ()
    reloads: bool = False
    changes: bool = False


class Keeper:
    """One role. `on_message(name, message)` gets what the role says that is not for the keeper;
    `on_state(name)` is called after every change of state."""

    def __init__(
        self,
        spec: RoleSpec,
        events: Events,
        on_message: Callable[[str, Message], None],
        on_state: Callable[[str], None],
    ) -> None:
        self.spec = spec
        self.overlay: Any = None  # what was changed at run time, for its next process
        self.state = State.STOPPED
        self.cause = ""
        self.restarts = 0
        self.crashes = 0  # in a row
        self._events = events
        self._on_message = on_message
        self._on_state = on_state
        self._process: RoleProcess | None = None
        self._listeners: Listeners = []
        self._ready = asyncio.Event()
        self._settled = asyncio.Event()  # start() need not wait on
        self._hurry = asyncio.Event()
        self._changing = asyncio.Lock()  # one start or stop at a time
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, while there is a process."""
        return self._process.pid if self._process else None

    @property
    def _stopping(self) -> bool:
        return self.state is State.STOPPING

    async def start(self, cause: str) -> bool:
        """Start and wait until it is ready (True), or has failed, keeps crashing, or takes too
        long. Raises CannotRunError when its listening sockets cannot be had."""
        async with self._changing:
            if self._task is None or self._task.done():
                self._listeners = self.open_listeners(self.spec)
                self.crashes = 0
                self._hurry.clear()
                self._settled.clear()
                self._step(Step.START, cause)
                self._task = asyncio.create_task(self._keep(), name=f"keep {self.spec.name}")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), READY_TIMEOUT_S)
        return self.state is State.RUNNING

    async def stop(self, cause: str) -> None:
        """Stop gracefully; the listening sockets close at once, so that checks see it."""
        async with self._changing:
            await self._stop(cause)

    async def _stop(self, cause: str) -> None:
        if self.state in (State.STOPPED, State.FAILED):
            self._close_listeners()
            self._step(Step.STOP, cause)
            return
        self._step(Step.STOP, cause)
        self._close_listeners()
        if self._process is not None:
            self._process.send({"kind": "stop"})
        self._ready.set()  # ends a wait for readiness, or the wait between two attempts
        if self._task is not None:
            await self._end(self._task)
        self._step(Step.ENDED, cause)
        self._report("role.stopped", "stopped", cause)

    def hurry(self) -> None:
        """Cut the grace of a stop short."""
        self._hurry.set()

    def tell(self, message: Message) -> None:
        """Send a message to the role, if it runs."""
        if self._process is not None:
            self._process.send(message)

    async def ask(
        self,
        name: str,
        arguments: dict[str, Any],
        timeout_s: float,
        descriptors: Sequence[int] = (),
    ) -> Any:
        """The role's answer to a request. Raises RoleError."""
        process = self._process
        if process is None or self.state is not State.RUNNING:
            raise RoleError(f"it is {self.state}")
        return await process.request(name, arguments, timeout_s, descriptors)

    def open_listeners(self, spec: RoleSpec) -> Listeners:
        """The sockets for `spec`, in its order: those that are open, and new ones. Nothing is
        opened when it raises CannotRunError."""
        return spec.listen(self._listeners)

    def discard(self, listeners: Listeners) -> None:
        """Close those that `open_listeners` opened."""
        for each in listeners:
            if each not in self._listeners:
                each.close()

    async def adopt(self, spec: RoleSpec, listeners: Listeners) -> None:
        """Change the running role to `spec` and the sockets that were opened for it. Raises
        RoleError; unless the role refused, its next process is of the new spec all the same."""
        async with self._changing:
            before = self.spec, self._listeners
            new = [each.fileno() for each in listeners if each not in self._listeners]
            self.spec, self._listeners = spec, listeners
            try:
                await self.ask("reload", {"settings": spec.settings}, RELOAD_TIMEOUT_S, new)
            except RoleRefusedError:
                self.spec, self._listeners = before
                self.discard(listeners)
                raise
            finally:
                for each in before[1]:
                    if each not in self._listeners:
                        each.close()

    async def status(self) -> dict[str, Any]:
        """This role's row of `status`, with the role's own answer."""
        row: dict[str, Any] = {
            "state": str(self.state),
            "pid": self.pid,
            "restarts": self.restarts,
            "cause": self.cause,
            "status": None,
        }
        process = self._process
        if process is None or self.state not in (State.RUNNING, State.STOPPING):
            return row
        if process.busy:
            return {**row, "error": "the role has not answered the last request yet"}
        try:
            row["status"] = await process.request("status", {}, STATUS_TIMEOUT_S)
        except RoleError as error:
            row["error"] = str(error)
        return row

    async def _keep(self) -> None:
        """Run the role until it is stopped or refuses."""
        while self.state is State.STARTING:
            self._ready.clear()
            started = clock.now()
            status, slow = await self._run_once()
            if self._stopping:
                return
            cause = "it was not ready in time" if slow else self._why(status)
            data = {"status": status}
            self._process = None
            if status == REFUSED_STATUS and not slow:
                self._step(Step.REFUSED, cause)
                self._report("role.exited", "failed: it cannot run here", cause, data)
                return
            self.crashes = 1 if clock.now() - started > STEADY_S else self.crashes + 1
            self.restarts += 1
            self._step(Step.CRASHED, cause)
            if self.crashes > CRASHES_TOLERATED:
                self._settled.set()  # the roles after it need not wait any longer
            wait_s = delay_s(self.crashes)
            self._report("role.exited", f"crashed; starts again in {wait_s:g} s", cause, data)
            self._ready.clear()  # it was set if the role had become ready; stop() sets it too
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ready.wait(), wait_s)

    async def _run_once(self) -> tuple[int, bool]:
        """One process from birth to end: its exit status, and whether it was too slow."""
        process = await RoleProcess.spawn(
            self.spec.module,
            self.spec.settings,
            self.overlay,
            self._heard,
            self._said,
            listeners=self._listeners,
            inherited=self.spec.inherited,
        )
        self._process = process
        if self._stopping:  # stop came while the process was being made
            process.send({"kind": "stop"})
        ended = asyncio.create_task(process.wait())
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait(
            [ended, ready], timeout=READY_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
        )
        slow = not ended.done() and not ready.done()
        if slow:
            process.signal(signal.SIGKILL)
        ready.cancel()
        return await ended, slow

    async def _end(self, task: asyncio.Task[None]) -> None:
        """Wait for the task's end; ask louder when it takes too long."""
        for number, grace_s in ((signal.SIGTERM, STOP_TIMEOUT_S), (signal.SIGKILL, TERM_TIMEOUT_S)):
            hurry = asyncio.create_task(self._hurry.wait())
            await asyncio.wait([task, hurry], timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
            hurry.cancel()
            if task.done():
                break
            if self._process is not None:
                self._process.signal(number)
            self._hurry.clear()
        await task
        self._process = None

    def _heard(self, message: Message) -> None:
        if message.get("kind") == "ready":
            self._ready.set()
            if self.state is State.STARTING:
                self._step(Step.READY, self.cause)
                self._report("role.started", "started", self.cause, {"pid": self.pid})
            return
        self._on_message(self.spec.name, message)

    def _said(self, line: str) -> None:
        self._events.pass_on(self.spec.name, line)

    def _why(self, status: int) -> str:
        """Its last words, or how it ended."""
        assert self._process is not None
        words = next((line for line in reversed(self._process.lines) if line.strip()), "")
        if status < 0:
            how = f"ended by signal {signal.Signals(-status).name}"
        else:
            how = f"ended with status {status}"
        return f"{words} ({how})" if words else how

    def _step(self, step: Step, cause: str) -> None:
        self.state = after(self.state, step)
        self.cause = cause
        if self.state in (State.RUNNING, State.FAILED, State.STOPPED, State.STOPPING):
            self._settled.set()
        self._on_state(self.spec.name)

    def _report(
        self, name: str, message: str, cause: str, data: dict[str, Any] | None = None
    ) -> None:
        self._events.add(
            self.spec.name,
            name,
            subject=self.spec.name,
            message=f"{self.spec.name}: {message}",
            cause=cause,
            data=data,
        )

    def _close_listeners(self) -> None:
        for each in self._listeners:
            each.close()
        self._listeners = []
