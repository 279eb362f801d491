"""What a virtual router was told and what it answered, line by line; and that played again.

A recording is JSON lines: first {"settings", "held"}, then {"input", "arguments"} for each input
(its time, in monotonic seconds, among the arguments) and {"effects"} for what came of it. The
machine is pure, so the same inputs give the same effects: a recording is a test. No secret is
written.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trimaran.node.plain import from_plain, to_plain
from trimaran.vrrp.address import Address
from trimaran.vrrp.effects import Effect
from trimaran.vrrp.packet import Advert, Rejection
from trimaran.vrrp.router import Router
from trimaran.vrrp.settings import RouterSettings, Track

_NEW = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

# What each input's arguments are.
INPUTS: dict[str, tuple[Any, ...]] = {
    "start": (float, bool),
    "stop": (float,),
    "receive": (Advert, Address, float),
    "reject": (Rejection, Address, float),
    "timeout": (float,),
    "set_interface": (Address | None, str, float),
    "set_tier": (str, bool, str, float),
    "set_track": (Track, bool, str, float, int),
    "set_fault": (str, str | None, float),
    "join_masters": (str, float),
    "leave_masters": (str, float),
}


class RecordingError(Exception):
    """The file is no recording; says where and why."""


class RecordedRouter(Router):
    """A virtual router that writes down what it is told and what it wants. An input that another
    one causes is not written: it will be caused again."""

    def __init__(self, settings: RouterSettings, file: int) -> None:
        """`file` is a descriptor, open until the process ends."""
        self._file: int | None = file
        self._busy = False
        self._begun = False
        super().__init__(settings)

    def take_effects(self) -> list[Effect]:
        """What is to be done now, in order."""
        effects = super().take_effects()
        if effects:
            self._write({"effects": [_named(each) for each in effects]})
        return effects

    def _told(self, name: str, arguments: tuple[Any, ...]) -> None:
        if not self._begun:
            self._begun = True
            bare = replace(self.settings, password=None, hmac=None)
            self._write({"settings": to_plain(bare), "held": self.held})
        self._write({"input": name, "arguments": [to_plain(each) for each in arguments]})

    def _write(self, line: dict[str, Any]) -> None:
        """At once, so that a crash loses nothing. A full disk ends the recording, no more."""
        if self._file is None:
            return
        try:
            os.write(self._file, json.dumps(line, ensure_ascii=False).encode() + b"\n")
        except OSError:
            self._file = None


def _recorded(name: str) -> Callable[..., None]:
    does = getattr(Router, name)

    def tell(self: RecordedRouter, *arguments: Any) -> None:
        if self._busy:
            does(self, *arguments)
            return
        self._told(name, arguments)
        self._busy = True
        try:
            does(self, *arguments)
        finally:
            self._busy = False

    return tell


for _name in INPUTS:
    setattr(RecordedRouter, _name, _recorded(_name))


def record(settings: RouterSettings, directory: str) -> Router:
    """A router that writes DIRECTORY/NAME-1.jsonl, or the next free number. Raises OSError."""
    place = Path(directory)
    place.mkdir(parents=True, exist_ok=True)
    for number in range(1, 10_000):
        try:
            path = place / f"{settings.name}-{number}.jsonl"
            file = os.open(path, _NEW, mode=0o640)
        except FileExistsError:
            continue
        return RecordedRouter(settings, file)
    raise FileExistsError(f"{directory} has 10,000 recordings of {settings.name}; clean it up")


@dataclass(frozen=True)
class Step:
    """One input, played again: what it led to, and what it had led to."""

    input: str
    arguments: tuple[Any, ...]
    state: str
    effects: list[dict[str, Any]]
    recorded: list[dict[str, Any]]

    @property
    def same(self) -> bool:
        """Whether the same was done. How it is worded may change from version to version."""
        return _deeds(self.effects) == _deeds(self.recorded)

    @property
    def at(self) -> float:
        """Monotonic seconds."""
        return next(each for each in reversed(self.arguments) if isinstance(each, float))


def replay(lines: Iterable[str]) -> Iterator[Step]:
    """Play a recording. Raises RecordingError."""
    numbered = enumerate(lines, 1)
    try:
        _, line = next(numbered)
        head = json.loads(line)
        router = Router(from_plain(RouterSettings, head["settings"]))
        router.held = bool(head["held"])
    except (StopIteration, ValueError, KeyError, TypeError) as error:
        raise RecordingError(f"line 1: not the head of a recording ({error!r})") from error
    waiting: tuple[str, tuple[Any, ...]] | None = None
    recorded: list[dict[str, Any]] = []
    for number, line in numbered:
        try:
            said = json.loads(line)
            if "effects" in said:
                recorded += said["effects"]
                continue
            told = said["input"], _arguments(said["input"], said["arguments"])
        except (ValueError, KeyError, TypeError) as error:
            raise RecordingError(f"line {number}: {error!r}") from error
        if waiting is not None:
            yield _play(router, waiting, recorded)
        waiting, recorded = told, []
    if waiting is not None:
        yield _play(router, waiting, recorded)


def _arguments(name: str, values: list[Any]) -> tuple[Any, ...]:
    return tuple(from_plain(kind, value) for kind, value in zip(INPUTS[name], values, strict=False))


def _play(
    router: Router, told: tuple[str, tuple[Any, ...]], recorded: list[dict[str, Any]]
) -> Step:
    name, arguments = told
    getattr(router, name)(*arguments)
    effects = [_named(each) for each in router.take_effects()]
    return Step(name, arguments, router.state.value, effects, recorded)


def _deeds(effects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in effects if each["effect"] != "Event"]


def _named(effect: Effect) -> dict[str, Any]:
    return {"effect": type(effect).__name__, **to_plain(effect)}
