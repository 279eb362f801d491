"""What a proxy process is told: plain frozen data.

`http` is `stack.http.Http.model_dump(mode="json")`, paths already absolute; the process makes the
engine's snapshot from it. The listening sockets come by the LISTEN_FDS convention, in the order of
`listeners`.
"""

from dataclasses import dataclass, field
from typing import Any

from trimaran.health.settings import CheckSettings

PeerChecks = dict[str, CheckSettings]


@dataclass(frozen=True)
class ProxySettings:
    """Everything one proxy process (role `proxy` or `site`) runs. `user` None: keep the user. By a
    peer's address: its `checks`, all of which must pass, and the user's word for it (`names`)."""

    node: str
    role: str
    name: str
    http: dict[str, Any]
    listeners: tuple[tuple[str, int], ...]
    user: str | None = "nobody"
    checks: dict[str, PeerChecks] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
