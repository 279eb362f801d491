"""The control API: HTTP on a Unix socket. Reading is for the socket's group; changing is for root
and the daemon's own user, as the kernel (SO_PEERCRED) says who calls."""

import asyncio
import json
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Self

import pydantic
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import IPvAnyAddress
from uvicorn.protocols.http.h11_impl import H11Protocol

from trimaran import __version__
from trimaran.node.reload import ReloadRefusedError
from trimaran.node.role_process import RoleError
from trimaran.node.supervisor import ChangeRefusedError
from trimaran.system.errors import CannotRunError

if TYPE_CHECKING:
    from trimaran.node.supervisor import Supervisor

_UCRED = struct.Struct("3i")  # struct ucred: pid, uid, gid


class Peer(NamedTuple):
    """Who calls; stands as scope["client"], where a TCP server has host and port."""

    uid: int
    pid: int


Port = Annotated[int, Query(ge=1, le=65535)]


class Change(pydantic.BaseModel, extra="forbid"):
    """A change of real servers or peers while the node runs. `weight` -1: the configured one."""

    verb: Literal["drain", "weight", "enable", "disable"]
    name: str
    service: str | None = None
    weight: int | None = pydantic.Field(None, ge=-1, le=65535)

    @pydantic.model_validator(mode="after")
    def _has_its_weight(self) -> Self:
        if (self.weight is not None) is not (self.verb == "weight"):
            raise ValueError("'weight' needs a weight, and no other verb takes one")
        return self


class IpvsChange(pydantic.BaseModel, extra="forbid"):
    """A change as IPVS's generic netlink has it, in hexadecimal digits."""

    request: str = pydantic.Field(pattern="^([0-9a-f]{2})+$", max_length=4096)


class PeerProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, knowing the caller's credentials."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note who calls."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        pid, uid, _gid = _UCRED.unpack(data)
        self.client = Peer(uid, pid)  # type: ignore[assignment]


class ControlServer(uvicorn.Server):
    """uvicorn inside the supervisor's loop; signals are the supervisor's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def server(supervisor: "Supervisor") -> ControlServer:
    """The server; run it with `serve(sockets=[…])`, end it with `should_exit = True`."""
    config = uvicorn.Config(
        application(supervisor),
        http=PeerProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # who calls is what the kernel says, no header
        timeout_graceful_shutdown=2,
        limit_concurrency=256,
    )
    return ControlServer(config)


def _may_change(request: Request) -> Peer:
    peer: Peer = request.scope["client"]
    if peer.uid not in (0, os.geteuid()):
        raise HTTPException(
            403, f"uid {peer.uid} may look but not change; call as root or as the daemon's user"
        )
    return peer


def application(supervisor: "Supervisor") -> FastAPI:
    """The routes."""
    app = FastAPI(title="Trimaran node", version=__version__, docs_url=None, redoc_url=None)

    @app.get("/healthz")
    async def healthz() -> dict[str, bool]:
        return {"ok": True}

    @app.get("/status")
    async def status() -> dict[str, Any]:
        return await supervisor.status()

    @app.get("/events")
    async def events(
        since: Annotated[int, Query(ge=0)] = 0, follow: bool = False
    ) -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            if follow:
                async for event in supervisor.events.follow(since):
                    yield json.dumps(event.as_dict(), ensure_ascii=False) + "\n"
            else:
                for event in supervisor.events.since(since):
                    yield json.dumps(event.as_dict(), ensure_ascii=False) + "\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    @app.get("/explain")
    async def explain(
        source: IPvAnyAddress,
        source_port: Port,
        address: IPvAnyAddress,
        port: Port,
        protocol: Literal["tcp", "udp"] = "tcp",
        kind: Literal["syn", "ack", "fin", "rst"] = "syn",
    ) -> dict[str, Any]:
        if source.version != address.version:
            raise HTTPException(422, f"{source} and {address} are not of one IP version")
        question = {
            "source": str(source), "source_port": source_port,
            "address": str(address), "port": port, "protocol": protocol, "kind": kind,
        }  # fmt: skip
        try:
            return await supervisor.explain(question)
        except RoleError as error:
            raise HTTPException(409, str(error)) from error

    @app.get("/vrrp/dump")
    async def vrrp_dump() -> dict[str, Any]:
        try:
            return {"vrrp": await supervisor.vrrp_dump()}
        except RoleError as error:
            raise HTTPException(409, str(error)) from error

    @app.post("/reload")
    async def reload(
        peer: Annotated[Peer, Depends(_may_change)], changes: Literal["keep", "drop"] = "keep"
    ) -> dict[str, dict[str, str]]:
        try:
            cause = f"reload asked for by uid {peer.uid} (pid {peer.pid})"
            keep = changes == "keep"
            return {"roles": await supervisor.reload(cause, keep_changes=keep)}
        except ReloadRefusedError as error:
            raise HTTPException(409, f"nothing was changed: {error}") from error

    @app.post("/plan")
    async def plan(
        peer: Annotated[Peer, Depends(_may_change)], instead: str | None = None
    ) -> dict[str, list[dict[str, str]]]:
        try:
            return {"changes": [each.plain() for each in await supervisor.plan(instead)]}
        except ReloadRefusedError as error:
            raise HTTPException(409, f"it would be refused: {error}") from error

    @app.post("/changes")
    async def change_servers(
        wanted: Change, peer: Annotated[Peer, Depends(_may_change)]
    ) -> dict[str, list[dict[str, Any]]]:
        cause = f"{wanted.verb} asked for by uid {peer.uid} (pid {peer.pid})"
        try:
            return {"changed": await supervisor.change({**wanted.model_dump(), "cause": cause})}
        except ChangeRefusedError as error:
            raise HTTPException(409, str(error)) from error

    @app.get("/connections")
    async def connections() -> dict[str, list[dict[str, Any]]]:
        try:
            return {"connections": await supervisor.connections()}
        except ChangeRefusedError as error:
            raise HTTPException(409, str(error)) from error

    @app.post("/ipvs")
    async def change_as_ipvs(
        wanted: IpvsChange, peer: Annotated[Peer, Depends(_may_change)]
    ) -> dict[str, list[dict[str, Any]]]:
        cause = f"ipvsadm, asked for by uid {peer.uid} (pid {peer.pid})"
        asked = {"verb": "ipvs", "request": wanted.request, "cause": cause}
        try:
            return {"changed": await supervisor.change(asked, only="director")}
        except ChangeRefusedError as error:
            raise HTTPException(409, str(error)) from error

    @app.post("/roles/{role}/{verb}")
    async def change(
        role: str, verb: str, peer: Annotated[Peer, Depends(_may_change)]
    ) -> dict[str, Any]:
        cause = f"{verb} asked for by uid {peer.uid} (pid {peer.pid})"
        actions = {"start": supervisor.start_role, "stop": supervisor.stop_role}
        if verb not in actions:
            raise HTTPException(404, f"no such action: {verb}; there are start and stop")
        if role not in supervisor.keepers:
            there_are = ", ".join(supervisor.keepers)
            raise HTTPException(404, f"no role {role} on this node; there are {there_are}")
        try:
            return await actions[verb](role, cause)
        except CannotRunError as error:
            raise HTTPException(409, str(error)) from error

    return app
