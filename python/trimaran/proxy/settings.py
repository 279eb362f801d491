"""What a proxy process is told: plain frozen data.

`http` is `stack.http.Http.model_dump(mode="json")`, paths already absolute; the process makes the
engine's snapshot from it. The listening sockets come by the LISTEN_FDS convention, in the order of
`listeners`.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ProxySettings:
    """Everything one proxy process (role `proxy` or `site`) runs. `user` None: keep the user."""

    node: str
    role: str
    name: str
    http: dict[str, Any]
    listeners: tuple[tuple[str, int], ...]
    user: str | None = "nobody"
