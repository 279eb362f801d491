"""Whom the notify process of a node tells. Pure."""

from trimaran.health.settings import ScriptSettings
from trimaran.node.notices import FifoSettings, MailSettings, NotifySettings, SubjectSettings
from trimaran.stack.checks import Script
from trimaran.stack.model import Stack
from trimaran.stack.notify import MailServer, Notify

_SCRIPTS = {"master": "MASTER", "backup": "BACKUP", "fault": "FAULT", "stop": "STOP",
            "any": "ANY", "lower_priority": "LOWER"}  # fmt: skip


def notify_settings(stack: Stack, node: str) -> NotifySettings | None:
    """None when there is nobody to tell."""
    here = [name for name, router in stack.virtual_routers.items() if node in router.members]
    routers = {name: _subject(stack.virtual_routers[name].notify) for name in here}
    groups = {
        name: _subject(group.notify, tuple(each for each in group.members if each in here))
        for name, group in stack.sync_groups.items()
        if set(group.members) & set(here)
    }
    told = stack.notify
    fifos = tuple(FifoSettings(each.path, _script(each.script)) for each in told.fifos)
    mails = None if told.mail is None else _mail(told.mail, node)
    subjects = [*routers.values(), *groups.values()]
    if not fifos and not any(each.scripts or (mails and each.mail) for each in subjects):
        return None
    return NotifySettings(node, routers, groups, fifos, mails)


def _mail(mail: MailServer, node: str) -> MailSettings:
    return MailSettings(
        mail.to, mail.sender or f"trimaran@{node}", mail.server, mail.port, mail.helo,
        mail.timeout, mail.faults,
    )  # fmt: skip


def _subject(notify: Notify, members: tuple[str, ...] = ()) -> SubjectSettings:
    scripts = {
        word: script
        for name, word in _SCRIPTS.items()
        if (script := _script(getattr(notify, name))) is not None
    }
    return SubjectSettings(scripts, notify.mail, notify.priority_changes, members)


def _script(script: Script | None) -> ScriptSettings | None:
    return ScriptSettings(script.command, script.user, script.timeout) if script else None
