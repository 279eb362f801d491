"""Who is told when a virtual router, or a sync group, changes."""

from typing import Annotated

from pydantic import Field

from trimaran.stack.checks import Model, Script
from trimaran.stack.units import Port, Seconds


class Notify(Model):
    """Scripts by the state that was entered; `any` is run for each, with GROUP or INSTANCE, name,
    state and priority as arguments; `lower_priority` when a weaker master was heard. They run in
    order, one at a time. `mail`: tell by mail, too; `priority_changes`: the FIFOs as well."""

    master: Script | None = None
    backup: Script | None = None
    fault: Script | None = None
    stop: Script | None = None
    any: Script | None = None
    lower_priority: Script | None = None
    mail: bool = False
    priority_changes: bool = False


class NotifyFifo(Model):
    """A FIFO that gets a line for every change: `INSTANCE "front" MASTER 100`. `script` is started
    with its path, to read it."""

    path: Annotated[str, Field(pattern="^/")]
    script: Script | None = None


class MailServer(Model):
    """How mail is sent, by SMTP. `faults`: also of faults."""

    to: Annotated[tuple[str, ...], Field(min_length=1)]
    sender: str | None = None
    server: str = "127.0.0.1"
    port: Port = 25
    helo: str | None = None
    timeout: Annotated[Seconds, Field(gt=0, le=3600)] = 30.0
    faults: bool = True


class Notification(Model):
    """What all virtual routers have in common."""

    fifos: tuple[NotifyFifo, ...] = ()
    mail: MailServer | None = None
