"""keepalived's notify_* scripts, FIFOs and mail; and sync groups."""

from trimaran.stack.blocks import Statement
from trimaran.stack.checks import Script
from trimaran.stack.directives import RefusedError
from trimaran.stack.keepalived_checks import CheckReader
from trimaran.stack.keepalived_directives import SYNC_GROUP
from trimaran.stack.keepalived_options import Options
from trimaran.stack.keepalived_tracking import TrackingReader
from trimaran.stack.model import SyncGroup
from trimaran.stack.notify import MailServer, Notification, Notify, NotifyFifo
from trimaran.stack.values import integer, seconds, word

_SCRIPTS = {
    "notify_master": "master", "notify_backup": "backup", "notify_fault": "fault",
    "notify_stop": "stop", "notify": "any", "notify_master_rx_lower_pri": "lower_priority",
}  # fmt: skip
LONGEST_SCRIPT_S = 300.0  # keepalived has no limit; one that hangs must not silence the rest


class NotifyReader(TrackingReader):
    """Reads all that; `checks` knows how a script is written."""

    checks: CheckReader

    def _notify(self, options: Options) -> Notify:
        found = {
            name: self._told_script(options, option)
            for option, name in _SCRIPTS.items()
            if option in options
        }
        return Notify(
            **found,
            mail=self._flag(options, "smtp_alert", "smtp_alert_vrrp"),
            priority_changes=self._flag(
                options, "notify_priority_changes", "vrrp_notify_priority_changes"
            ),
        )

    def _told_script(self, options: Options, name: str) -> Script | None:
        script = self.checks.script(options, name)
        return script and script.model_copy(update={"timeout": LONGEST_SCRIPT_S})

    def _notification(self) -> Notification:
        fifos = []
        for name in ("notify_fifo", "vrrp_notify_fifo"):
            statement = self.globals.get(name)
            if statement is None:
                continue
            script = self._told_script(self.globals, f"{name}_script")
            built = self._build(NotifyFifo, statement, path=statement.arguments[0], script=script)
            fifos += [built] if built else []
        return Notification(fifos=tuple(fifos), mail=self._mail())

    def _mail(self) -> MailServer | None:
        statement = self.globals.get("notification_email")
        to = []
        for entry in (statement.block or ()) if statement else ():
            self.walk.note(entry, "honoured")
            to += [entry.name, *entry.arguments]
        if statement is None or not to:
            return None
        server = self.globals.get("smtp_server")
        host, port = (*(server.arguments if server else ()), "127.0.0.1", "25")[:2]
        if server is not None and len(server.arguments) == 1:
            port = "25"
        try:
            number = integer(1, 65535)(port)
        except RefusedError as error:
            self.walk.refuse(server or statement, error.message, error.help)
            return None
        return self._build(
            MailServer,
            statement,
            to=tuple(to),
            sender=self._value(self.globals, "notification_email_from", word, None),
            server=host,
            port=number,
            helo=self._value(self.globals, "smtp_helo_name", word, None),
            timeout=self._value(self.globals, "smtp_connect_timeout", seconds(0.1, 3600), 30.0),
            faults="no_email_faults" not in self.globals,
        )

    def _sync_group(self, statement: Statement) -> tuple[str, SyncGroup] | None:
        name = statement.arguments[0]
        options = self._options(statement.block or (), SYNC_GROUP)
        self._again(("sync_groups", name), statement)
        if not self._required(options, "group", statement):
            return None
        members = []
        for entry in options["group"].block or ():
            self.walk.note(entry, "honoured")
            members += [entry.name, *entry.arguments]
        if not members:
            self.walk.refuse(statement, "names no instance")
            return None
        group = self._build(
            SyncGroup,
            statement,
            members=tuple(members),
            track=self._tracking(options, ""),
            notify=self._notify(options),
            weights={"global_tracking", "sync_group_tracking_weight"} & options.keys() != set(),
        )
        return None if group is None else (name, group)
