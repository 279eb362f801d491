"""The notify process: scripts, FIFOs and mail about what the vrrp process did.

It is no part of the vrrp process, which must not be late for a script. The supervisor passes the
vrrp process's events on, in order. See docs/decisions/0111.
"""

import asyncio
import select
import sys
from contextlib import suppress
from dataclasses import replace
from email.message import EmailMessage
from typing import NoReturn

import aiosmtplib

from trimaran.health.settings import ScriptSettings
from trimaran.node.channel import Channel, ChannelClosedError, Message
from trimaran.node.notices import Line, Mail, MailSettings, Notices, NotifySettings, Run
from trimaran.node.plain import from_plain
from trimaran.node.script_queue import ScriptQueue
from trimaran.system.fifo import Fifo

LAST_WORDS_S = 15.0  # for scripts, and then for mail, when the node stops
FOR_EVER_S = 1e9  # a FIFO's reader ends with the FIFO
READERS_END_S = 5.0
WAITING = 64  # scripts of one subject, and mails
MAIL_RETRIES_S = (1.0, 5.0, 25.0)


class NotifyRole:
    """Carries out notices, in order: scripts of one subject one at a time."""

    def __init__(self, channel: Channel, settings: NotifySettings) -> None:
        self._channel = channel
        self._settings = settings
        self._notices = Notices(settings)
        self._scripts = ScriptQueue(self._script_failed, WAITING)
        self._fifos = [Fifo(each.path) for each in settings.fifos]
        self._readers = ScriptQueue(self._script_failed, 1)
        self._mails: asyncio.Queue[Mail] = asyncio.Queue(WAITING)
        self._stopping = asyncio.Event()
        self._counts = {"scripts": 0, "lines": 0, "lines_dropped": 0, "mails": 0}

    async def run(self) -> None:
        """Until told to stop; then it finishes what is under way."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel.fileno(), self._hear)
        for fifo, wanted in zip(self._fifos, self._settings.fifos, strict=True):
            fifo.open()
            if wanted.script is not None:
                script = replace(wanted.script, timeout_s=FOR_EVER_S)
                self._readers.tell(fifo.path, script, (fifo.path,))
        mailer = asyncio.create_task(self._send_mails())
        self._say({"kind": "ready"})
        await self._stopping.wait()
        await self._scripts.finish(LAST_WORDS_S)
        await self._finish_mails(mailer)
        for fifo in self._fifos:
            fifo.close()
        await self._readers.finish(READERS_END_S)

    def _hear(self) -> None:
        try:
            messages = self._channel.receive()
        except ChannelClosedError:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self._stopping.set()
            return
        for message in messages:
            match message["kind"]:
                case "stop":
                    self._stopping.set()
                case "told":
                    self._told(message)
                case "request":
                    status = {**self._counts, "mails_waiting": self._mails.qsize()}
                    self._say({"kind": "reply", "id": message["id"], "value": status})

    def _told(self, message: Message) -> None:
        data, cause = message.get("data") or {}, str(message.get("cause", ""))
        for notice in self._notices.hear(message["name"], message["subject"], data, cause):
            match notice:
                case Run(subject, script, arguments):
                    self._counts["scripts"] += 1
                    self._scripts.tell(subject, script, arguments)
                case Line(text):
                    self._write(text)
                case Mail():
                    self._post(notice)

    def _write(self, text: str) -> None:
        for fifo in self._fifos:
            try:
                fifo.write(text)
                self._counts["lines"] += 1
            except OSError as error:
                self._counts["lines_dropped"] += 1
                self._warn(fifo.path, f"a line for {fifo.path} was dropped", str(error))

    # -- mail

    def _post(self, mail: Mail) -> None:
        try:
            self._mails.put_nowait(mail)
        except asyncio.QueueFull:
            self._warn("mail", f"a mail was dropped: {mail.subject}", f"{WAITING} wait already")

    async def _send_mails(self) -> None:
        where = self._settings.mail
        while where is not None:
            await self._deliver(where, await self._mails.get())
            self._mails.task_done()

    async def _deliver(self, where: MailSettings, mail: Mail) -> None:
        why = ""
        for wait_s in (0.0, *MAIL_RETRIES_S):
            await asyncio.sleep(wait_s)
            try:
                await _send(where, mail)
            except (OSError, aiosmtplib.SMTPException) as error:
                why = str(error) or type(error).__name__
            else:
                self._counts["mails"] += 1
                return
        self._warn("mail", f"a mail was not sent: {mail.subject}", f"{where.host}: {why}")

    async def _finish_mails(self, mailer: "asyncio.Task[None]") -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._mails.join()
        mailer.cancel()
        await asyncio.gather(mailer, return_exceptions=True)

    # -- what it says

    def _script_failed(self, script: ScriptSettings, why: str) -> None:
        self._warn("script", f"{script.command}: {why}", "a notify script")

    def _warn(self, subject: str, message: str, cause: str) -> None:
        self._say({"kind": "event", "name": "notify.failed", "subject": subject,
                   "message": message, "cause": cause, "data": {}})  # fmt: skip

    def _say(self, message: Message) -> None:
        with suppress(ChannelClosedError):  # seen, and obeyed, where it is read
            self._channel.send(message)


async def _send(where: MailSettings, mail: Mail) -> None:
    message = EmailMessage()
    message["From"], message["To"] = where.sender, ", ".join(where.to)
    message["Subject"] = mail.subject
    message.set_content(mail.body)
    await aiosmtplib.send(
        message, hostname=where.host, port=where.port, local_hostname=where.helo,
        timeout=where.timeout_s, start_tls=None,
    )  # fmt: skip


def _refuse(why: str) -> NoReturn:
    print(f"trimaran: the notify role cannot start: {why}", file=sys.stderr)
    sys.exit(2)


async def _live(channel: Channel, settings: NotifySettings) -> None:
    role = NotifyRole(channel, settings)
    await role.run()


def main() -> None:
    """The process. Exits 2 with one sentence when it cannot start."""
    channel = Channel.inherited()
    messages: list[Message] = []
    while not messages:
        select.select([channel], [], [])
        try:
            messages = channel.receive()
        except ChannelClosedError:
            return
    try:
        settings = from_plain(NotifySettings, messages[0]["settings"])
        asyncio.run(_live(channel, settings))
    except (OSError, ValueError) as error:
        _refuse(str(error))


if __name__ == "__main__":
    main()
