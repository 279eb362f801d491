"""What a director tells of itself, whichever way the kernel forwards for it."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, Protocol

from trimaran.director.explain import Outcome
from trimaran.director.ipvs import Connection
from trimaran.director.packet import Question
from trimaran.director.plan import RealKey
from trimaran.director.settings import IPAddress, ServiceSettings
from trimaran.system.datapath import Traffic


@dataclass(frozen=True)
class Condition:
    """Whether it forwards, and why not; `attached` is why the program was attached just now, empty
    when it was in its place."""

    well: bool
    cause: str
    attached: str


@dataclass(frozen=True)
class Figures:
    """What is counted: by real server, and over all."""

    flows: Mapping[RealKey, tuple[int, int]]
    traffic: Mapping[RealKey, Traffic]
    reasons: Mapping[str, int]
    live: int
    local: Set[RealKey]


class Machine(Protocol):
    """What the director's process asks of either data plane: `director_machine`,
    `ipvs_machine`."""

    @property
    def hook(self) -> str: ...
    @property
    def hook_cause(self) -> str: ...
    @property
    def adopted(self) -> bool: ...
    def unlisted(self) -> set[RealKey]: ...
    def follow(self, services: tuple[ServiceSettings, ...], down: Set[RealKey]) -> None: ...
    def look(self) -> Condition: ...
    def carried(self) -> Set[IPAddress]: ...
    def resolved(self) -> bool: ...
    def figures(self) -> Figures: ...
    def listed(self) -> set[RealKey]: ...
    def connections(self, most: int) -> list[Connection]: ...
    def explain(self, question: Question) -> tuple[Outcome, RealKey | None]: ...
    def start_sync(self) -> None: ...
    def sync_status(self) -> dict[str, Any] | None: ...
    def close(self) -> None: ...
