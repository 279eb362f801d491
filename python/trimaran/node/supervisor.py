"""All roles of a node: started in order, stopped in the reverse one, told about each other."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from trimaran import __version__
from trimaran.node.channel import Message
from trimaran.node.difference import Change, difference
from trimaran.node.events import Events
from trimaran.node.keeper import Keeper, RoleSpec
from trimaran.node.lifecycle import CRASHES_TOLERATED, State
from trimaran.node.reload import UNCHANGED, ReloadRefusedError, reload
from trimaran.node.role_process import RoleError, RoleRefusedError
from trimaran.node.runtime import Runtime
from trimaran.stack.errors import StackError
from trimaran.system.errors import CannotRunError


class Reread(Protocol):
    """Reads the node's files again, or those that `instead` begins with. Raises StackError,
    CannotRunError."""

    def __call__(self, instead: str | None = None) -> list[RoleSpec]: ...


CHANGE_TIMEOUT_S = 30.0


class ChangeRefusedError(Exception):
    """Nothing was changed; says why."""


class Supervisor:
    """Runs in one event loop, with the control API beside it. `reread` reads the node's files again
    (raises StackError, CannotRunError); `runtime` keeps what is changed meanwhile."""

    def __init__(
        self,
        node: str,
        specs: Sequence[RoleSpec],
        events: Events,
        reread: Reread | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self.node = node
        self._reread = reread
        self._reloading = asyncio.Lock()
        self._runtime = runtime or Runtime()
        self._changing = asyncio.Lock()
        self.events = events
        self.keepers = {
            spec.name: Keeper(spec, events, self._heard, self._state_changed) for spec in specs
        }
        for name, keeper in self.keepers.items():
            keeper.overlay = self._runtime.of(name)
        if self._runtime.trouble:
            self._say(
                "node.changes_lost", "what was changed at run time is lost", self._runtime.trouble
            )
        self._said: tuple[bool, str] | None = None  # the director's own word on its health
        self._told = (True, "")  # what vrrp was told last
        self._quorums: dict[str, Message] = {}  # what the director said of each virtual service

    async def start(self) -> None:
        """Start every role, each after the one before is ready or has failed.
        Raises CannotRunError when a listening socket cannot be had."""
        for keeper in self.keepers.values():
            await keeper.start("the node starts")

    async def stop(self) -> None:
        """Stop every role, the last started first: vrrp resigns while the director forwards."""
        for keeper in reversed(self.keepers.values()):
            await keeper.stop("the node stops")

    def hurry(self) -> None:
        """Cut every grace short."""
        for keeper in self.keepers.values():
            keeper.hurry()

    async def start_role(self, role: str, cause: str) -> dict[str, Any]:
        """Start one role; answers its row of `status`. Raises CannotRunError."""
        await self.keepers[role].start(cause)
        return await self.keepers[role].status()

    async def stop_role(self, role: str, cause: str) -> dict[str, Any]:
        """Stop one role; answers its row of `status`."""
        await self.keepers[role].stop(cause)
        return await self.keepers[role].status()

    async def change(self, asked: dict[str, Any], only: str = "") -> list[dict[str, Any]]:
        """Tell every role that takes changes (or that one); how what was changed is now. A role
        that starts again will have it too. Raises ChangeRefusedError, and then nothing has
        changed."""
        takers = {
            name: each
            for name, each in self.keepers.items()
            if each.spec.changes and only in ("", name)
        }
        if not takers:
            raise ChangeRefusedError("no role of this node takes changes while it runs")
        rows, refusals = [], []
        async with self._changing:
            for name, keeper in takers.items():
                try:
                    value = await keeper.ask("change", asked, CHANGE_TIMEOUT_S)
                except RoleRefusedError as error:
                    refusals.append(str(error))
                    continue
                except RoleError as error:
                    raise ChangeRefusedError(f"{name} cannot be changed: {error}") from error
                keeper.overlay = value["overlay"]
                await asyncio.to_thread(self._runtime.keep, name, value["overlay"])
                rows += [{"role": name, **row} for row in value["changed"]]
        if len(refusals) == len(takers):
            raise ChangeRefusedError("; ".join(refusals))
        return rows

    async def vrrp_dump(self) -> list[dict[str, Any]]:
        """The virtual routers in the shape of keepalived's JSON. Raises RoleError."""
        vrrp = self.keepers.get("vrrp")
        if vrrp is None:
            raise RoleError("this node is no member of a virtual router")
        answer: list[dict[str, Any]] = await vrrp.ask("dump", {}, CHANGE_TIMEOUT_S)
        return answer

    async def explain(self, question: dict[str, Any]) -> dict[str, Any]:
        """What the director would do with a packet. Raises RoleError."""
        director = self.keepers.get("director")
        if director is None:
            raise RoleError("this node is no director: ask one that carries the address")
        answer: dict[str, Any] = await director.ask("explain", question, CHANGE_TIMEOUT_S)
        return answer

    async def _forget_changes(self, cause: str) -> None:
        """The configuration alone counts again, also for roles that do not run."""
        with suppress(ChangeRefusedError):
            await self.change({"verb": "reset", "cause": cause})
        for keeper in self.keepers.values():
            keeper.overlay = None
        await asyncio.to_thread(self._runtime.drop)

    async def reload(self, cause: str, *, keep_changes: bool = True) -> dict[str, str]:
        """Read the files again and change what runs; what became of each role. What was changed at
        run time stays unless it is not to be kept. Raises ReloadRefusedError, and then nothing has
        changed."""
        try:
            async with self._reloading:
                outcome = await self._reload()
                if not keep_changes:
                    await self._forget_changes(cause)
        except ReloadRefusedError as refusal:
            said = f"not reloaded, nothing was changed: {refusal}"
            self._say("node.reload_refused", said, cause)
            raise
        changed = {name: said for name, said in outcome.items() if said != UNCHANGED}
        said = "; ".join(f"{name}: {said}" for name, said in changed.items())
        self._say("node.reloaded", said or "nothing had changed", cause, dict(outcome))
        return outcome

    async def plan(self, instead: str | None) -> list[Change]:
        """What a reload of the node's files, or of those in their stead, would change. Nothing is
        changed. Raises ReloadRefusedError: they are wrong."""
        specs = await self._read(instead)
        live = frozenset(spec.name for spec in specs if spec.reloads)
        before = {name: keeper.spec.settings for name, keeper in self.keepers.items()}
        return difference(before, {spec.name: spec.settings for spec in specs}, live)

    async def _reload(self) -> dict[str, str]:
        return await reload(self.keepers, await self._read())

    async def _read(self, instead: str | None = None) -> list[RoleSpec]:
        if self._reread is None:
            raise ReloadRefusedError("this node was not started from files")
        try:
            return await asyncio.to_thread(self._reread, instead)
        except (StackError, CannotRunError) as error:
            raise ReloadRefusedError(str(error)) from error

    def _say(self, name: str, message: str, cause: str, data: dict[str, Any] | None = None) -> None:
        self.events.add("node", name, subject=self.node, message=message, cause=cause, data=data)

    async def status(self) -> dict[str, Any]:
        """docs/decisions/0002."""
        rows = await asyncio.gather(*(keeper.status() for keeper in self.keepers.values()))
        return {
            "node": self.node,
            "version": __version__,
            "roles": dict(zip(self.keepers, rows, strict=True)),
        }

    async def connections(self) -> list[dict[str, Any]]:
        """The director's flows one by one. Raises ChangeRefusedError where there is none."""
        director = self.keepers.get("director")
        if director is None:
            raise ChangeRefusedError("no director runs on this node")
        try:
            rows: list[dict[str, Any]] = await director.ask("connections", {}, CHANGE_TIMEOUT_S)
        except RoleError as error:
            raise ChangeRefusedError(f"the director does not answer: {error}") from error
        return rows

    def _heard(self, role: str, message: Message) -> None:
        kind = message.get("kind")
        if kind == "event":
            self.events.add(
                role,
                str(message.get("name", "")),
                subject=str(message.get("subject", "")),
                message=str(message.get("message", "")),
                cause=str(message.get("cause", "")),
                data=message.get("data") or {},
            )
            if role == "vrrp" and (notify := self.keepers.get("notify")):
                notify.tell({**message, "kind": "told"})
        elif kind == "well" and role == "director":
            self._said = (bool(message.get("well")), str(message.get("cause", "")))
            self._tell_vrrp()
        elif kind == "quorum" and role == "director":
            self._quorums[str(message.get("service", ""))] = message
            if vrrp := self.keepers.get("vrrp"):
                vrrp.tell(message)

    def _state_changed(self, role: str) -> None:
        if role == "director":
            if self.keepers[role].state is State.STARTING:
                self._said = None
            self._tell_vrrp()
        if role == "vrrp" and self.keepers[role].state is State.RUNNING:
            self._tell_vrrp(again=True)
            for message in self._quorums.values():
                self.keepers[role].tell(message)

    def _tell_vrrp(self, *, again: bool = False) -> None:
        """Mastership dies with the data plane: tell vrrp whether the director can forward."""
        director, vrrp = self.keepers.get("director"), self.keepers.get("vrrp")
        if director is None or vrrp is None:
            return
        verdict = forwards(director.state, director.crashes, self._said, self._told)
        if verdict != self._told or again:
            self._told = verdict
            well, cause = verdict
            vrrp.tell({"kind": "tier", "tier": "director", "well": well, "cause": cause})


def forwards(
    state: State, crashes: int, said: tuple[bool, str] | None, before: tuple[bool, str]
) -> tuple[bool, str]:
    """Whether a director in this state forwards, and why not.

    A running one knows best. A crash or two change nothing: the attached program goes on
    forwarding while the process restarts. One that does not come back is not watched over any
    more: health checks are missing, so it must not lead.
    """
    if state is State.RUNNING:
        return said or (True, "")
    if state is State.STARTING and 0 < crashes <= CRASHES_TOLERATED:
        return before
    if state is State.STARTING and crashes:
        return False, f"the director crashed {crashes} times in a row"
    return False, f"the director is {state}"
