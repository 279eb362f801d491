"""A node's control API as the lab needs it: short, blocking questions over its Unix socket.

They are asked many times a second from threads without an event loop, which node/client.py needs.
"""

import http.client
import json
import socket
from pathlib import Path
from typing import Any

TIMEOUT_S = 5.0


class ControlError(Exception):
    """Nobody answers, or the daemon refused; the message says which."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def status(path: Path) -> dict[str, Any]:
    """`GET /status` (docs/decisions/0002). Raises ControlError."""
    answer: dict[str, Any] = _ask(path, "GET", "/status")
    return answer


def change_role(path: Path, role: str, verb: str) -> None:
    """Start or stop a role, and return when it has. Raises ControlError."""
    _ask(path, "POST", f"/roles/{role}/{verb}", timeout_s=30.0)


def _ask(path: Path, method: str, target: str, timeout_s: float = TIMEOUT_S) -> Any:
    connection = _Connection(path, timeout_s)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise ControlError(f"{path} does not answer: {error}") from error
    finally:
        connection.close()
    try:
        said = json.loads(body)
    except ValueError as error:
        raise ControlError(f"{path} does not speak our API: {answer.status}") from error
    if answer.status != 200:
        raise ControlError(str(said.get("detail", said)))
    return said
