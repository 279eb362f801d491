"""Who is told what when a virtual router changes: keepalived's notify_*, FIFO lines and mail. Pure.

    state       a script of its own, then `any` with GROUP|INSTANCE NAME STATE PRIORITY, then the
                FIFO line of the same words, then mail (not twice for the same state)
    group       the state that all its members have; FAULT if one has it; its priority is 0
    priority    a FIFO line alone, where that is asked for
    weaker      MASTER_RX_LOWER_PRI: a weaker master was heard

A router that resigns has not stopped yet: nothing is said until it has.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from trimaran.health.settings import ScriptSettings

State = Literal["MASTER", "BACKUP", "FAULT", "STOP"]
_STATES: dict[str, State] = {
    "MASTER": "MASTER", "BACKUP": "BACKUP", "FAULT": "FAULT", "STOPPED": "STOP",
}  # fmt: skip
_MAIL = {
    "MASTER": ("Entering MASTER state", "is now owning the virtual addresses"),
    "BACKUP": ("Entering BACKUP state", "is no longer owning the virtual addresses"),
    "FAULT": ("Entering FAULT state", "is no longer owning the virtual addresses"),
    "STOP": ("Stopping", "is stopping"),
}


@dataclass(frozen=True)
class SubjectSettings:
    """Who is told of one virtual router, or of one group (`members`). `scripts` are by state, with
    'ANY' and 'LOWER' for those that no state names."""

    scripts: dict[str, ScriptSettings] = field(default_factory=dict)
    mail: bool = False
    priority_changes: bool = False
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class FifoSettings:
    """A FIFO that is written to, made if it is missing; `script` reads it, given its path."""

    path: str
    script: ScriptSettings | None = None


@dataclass(frozen=True)
class MailSettings:
    """Where mail goes. `faults`: also of FAULT."""

    to: tuple[str, ...]
    sender: str
    host: str = "127.0.0.1"
    port: int = 25
    helo: str | None = None
    timeout_s: float = 30.0
    faults: bool = True


@dataclass(frozen=True)
class NotifySettings:
    """Everybody whom one node tells."""

    node: str
    routers: dict[str, SubjectSettings] = field(default_factory=dict)
    groups: dict[str, SubjectSettings] = field(default_factory=dict)
    fifos: tuple[FifoSettings, ...] = ()
    mail: MailSettings | None = None


@dataclass(frozen=True)
class Run:
    """Run the script after the subject's earlier ones."""

    subject: str
    script: ScriptSettings
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """Write the line to every FIFO."""

    text: str


@dataclass(frozen=True)
class Mail:
    """Send the mail."""

    subject: str
    body: str


Notice = Run | Line | Mail


class Notices:
    """Events of the vrrp process in, notices out, in order."""

    def __init__(self, settings: NotifySettings) -> None:
        self._settings = settings
        self._states: dict[str, State] = {}
        self._mailed: dict[tuple[str, str], State] = {}

    def hear(self, name: str, subject: str, data: dict[str, Any], cause: str) -> list[Notice]:
        """What follows from one event."""
        own = self._settings.routers.get(subject)
        if own is None:
            return []
        priority = int(data.get("priority", 0))
        match name:
            case "vrrp.transition":
                state = _STATES.get(str(data.get("to")))
                return [] if state is None else [*self._changed(subject, state, priority, cause)]
            case "vrrp.weaker_master":
                return [*_weaker(subject, own, priority)]
            case "vrrp.priority" if own.priority_changes and subject in self._states:
                kind = "MASTER" if self._states[subject] == "MASTER" else "BACKUP"
                return [_line("INSTANCE", subject, f"{kind}_PRIORITY", priority)]
        return []

    def _changed(self, subject: str, state: State, priority: int, cause: str) -> Iterator[Notice]:
        if self._states.get(subject) == state:
            return
        before = {name: self._group_state(each) for name, each in self._settings.groups.items()}
        self._states[subject] = state
        own = self._settings.routers[subject]
        yield from self._tell("INSTANCE", subject, own, state, priority, cause)
        for name, group in self._settings.groups.items():
            now = self._group_state(group)
            if now is not None and now != before[name]:
                yield from self._tell("GROUP", name, group, now, 0, cause)

    def _group_state(self, group: SubjectSettings) -> State | None:
        """None while its members do not agree (they are about to)."""
        states = {self._states.get(member) for member in group.members}
        if "FAULT" in states:
            return "FAULT"
        return states.pop() if len(states) == 1 else None

    def _tell(
        self, kind: str, name: str, own: SubjectSettings, state: State, priority: int, cause: str
    ) -> Iterator[Notice]:
        if script := own.scripts.get(state):
            yield Run(f"{kind} {name}", script)
        if script := own.scripts.get("ANY"):
            yield Run(f"{kind} {name}", script, (kind, name, state, str(priority)))
        yield _line(kind, name, state, priority)
        mail = self._settings.mail
        wanted = own.mail and mail is not None and (mail.faults or state != "FAULT")
        if wanted and self._mailed.get((kind, name)) != state:
            self._mailed[kind, name] = state
            what = "VRRP Instance" if kind == "INSTANCE" else "VRRP Group"
            title, words = _MAIL[state]
            subject = f"[{self._settings.node}] {what} {name} - {title}"
            yield Mail(subject, f"=> {what} {words} <=\n\n{cause}\n")


def _weaker(subject: str, own: SubjectSettings, priority: int) -> Iterator[Notice]:
    if script := own.scripts.get("LOWER"):
        yield Run(f"INSTANCE {subject}", script)
    yield _line("INSTANCE", subject, "MASTER_RX_LOWER_PRI", priority)


def _line(kind: str, name: str, state: str, priority: int) -> Line:
    return Line(f'{kind} "{name}" {state} {priority}\n')
