"""The control API from outside: what the CLI and the lab ask a node."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp

from trimaran.system.errors import CannotRunError

_TIMEOUT = aiohttp.ClientTimeout(total=60)
_FOREVER = aiohttp.ClientTimeout(total=None)
_LONGEST_LINE = 1 << 20


class ControlError(Exception):
    """The node said no, and why."""


class ControlClient:
    """An async context around one node's control socket."""

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "ControlClient":
        self._session = aiohttp.ClientSession(
            "http://node",
            connector=aiohttp.UnixConnector(str(self._path)),
            timeout=_TIMEOUT,
            read_bufsize=_LONGEST_LINE,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def status(self) -> dict[str, Any]:
        """`GET /status`. Raises ControlError, CannotRunError when nobody listens."""
        return await self._json("GET", "/status")

    async def start_role(self, role: str) -> dict[str, Any]:
        """Start a role and wait until it is ready or has failed; its row of `status`."""
        return await self._json("POST", f"/roles/{role}/start")

    async def stop_role(self, role: str) -> dict[str, Any]:
        """Stop a role gracefully and wait for its end; its row of `status`."""
        return await self._json("POST", f"/roles/{role}/stop")

    async def reload(self, *, keep_changes: bool = True) -> dict[str, str]:
        """Read the node's files again; what became of each role. What was changed at run time is
        kept or dropped. Raises ControlError: nothing was changed."""
        path = f"/reload?changes={'keep' if keep_changes else 'drop'}"
        answer: dict[str, str] = (await self._json("POST", path))["roles"]
        return answer

    async def plan(self, instead: str | None) -> list[dict[str, str]]:
        """What a reload would change (node/difference.py), of the node's own files or of that one
        in their stead. Raises ControlError: it would be refused."""
        path = "/plan" if instead is None else f"/plan?instead={quote(instead)}"
        answer: list[dict[str, str]] = (await self._json("POST", path))["changes"]
        return answer

    async def change(
        self, verb: str, name: str, service: str | None = None, weight: int | None = None
    ) -> list[dict[str, Any]]:
        """Drain, disable, enable the real servers and peers of that name, or give them a weight
        (-1: the configured one); how each is now. Raises ControlError: nothing was changed."""
        body = {"verb": verb, "name": name, "service": service, "weight": weight}
        answer: list[dict[str, Any]] = (await self._json("POST", "/changes", body))["changed"]
        return answer

    async def connections(self) -> list[dict[str, Any]]:
        """The director's flows one by one. Raises ControlError."""
        rows: list[dict[str, Any]] = (await self._json("GET", "/connections"))["connections"]
        return rows

    async def ipvs(self, request: bytes) -> None:
        """A change as IPVS's netlink has it (director/ipvs_wire.py), at run time. Raises
        ControlError: nothing was changed."""
        await self._json("POST", "/ipvs", {"request": request.hex()})

    async def vrrp_dump(self) -> dict[str, Any]:
        """The virtual routers in the shape of keepalived's JSON, version 2. Raises ControlError."""
        return await self._json("GET", "/vrrp/dump")

    async def explain(self, question: dict[str, str | int]) -> dict[str, Any]:
        """What the director would do with a packet (source, source_port, address, port, protocol,
        kind): {"verdict", "reasons", "lines": [[about, words]]}. Raises ControlError."""
        return await self._json("GET", f"/explain?{urlencode(question)}")

    async def events(
        self, since: int = 0, *, follow: bool = False
    ) -> AsyncIterator[dict[str, Any]]:
        """Events later than `since`, oldest first; with `follow` until the node ends."""
        assert self._session is not None
        parameters = {"since": str(since), "follow": "1" if follow else "0"}
        try:
            async with self._session.get(
                "/events", params=parameters, timeout=_FOREVER
            ) as response:
                async for line in response.content:
                    yield json.loads(line)
        except aiohttp.ClientConnectorError as error:
            raise self._unreachable(error) from error
        except aiohttp.ClientPayloadError:
            return  # the node was killed

    async def _json(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        assert self._session is not None
        try:
            async with self._session.request(method, path, json=body) as response:
                answer: dict[str, Any] = await response.json()
                if response.status != 200:
                    raise ControlError(str(answer.get("detail", answer)))
                return answer
        except aiohttp.ClientConnectorError as error:
            raise self._unreachable(error) from error
        except aiohttp.ClientError as error:
            raise ControlError(f"the node ended before it answered: {error}") from error

    def _unreachable(self, error: aiohttp.ClientConnectorError) -> CannotRunError:
        if isinstance(error.os_error, PermissionError):
            return CannotRunError(
                f"this user may not talk to {self._path}",
                "run as root, or join the group 'trimaran'",
            )
        return CannotRunError(f"no node listens on {self._path}", "start it with `trimaran run`")
