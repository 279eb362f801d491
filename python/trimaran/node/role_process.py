"""One role's process: spawned, told its settings, spoken to, and waited for. No policy here."""

import asyncio
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from trimaran.node.channel import CHANNEL_VARIABLE, Channel, ChannelClosedError, Message
from trimaran.node.listen import LISTEN_VARIABLE

_KEPT_LINES = 20
_LONGEST_LINE = 1 << 16  # bytes


class RoleError(Exception):
    """A role did not answer, or answered with an error."""


class RoleRefusedError(RoleError):
    """A role said no."""


class RoleProcess:
    """A child process and the channel to it; lives in the supervisor's event loop.

    `on_message` gets every message but replies; `on_line` every line that it writes.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        channel: Channel,
        on_message: Callable[[Message], None],
        on_line: Callable[[str], None],
    ) -> None:
        self._process = process
        self._channel = channel
        self._on_message = on_message
        self._on_line = on_line
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._next_id = 1
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        asyncio.get_running_loop().add_reader(channel.fileno(), self._readable)
        self._output = asyncio.create_task(self._read_output())

    @classmethod
    async def spawn(
        cls,
        module: str,
        settings: Any,
        overlay: Any,
        on_message: Callable[[Message], None],
        on_line: Callable[[str], None],
        *,
        listeners: Sequence[socket.socket] = (),
        inherited: Sequence[int] = (),
    ) -> "RoleProcess":
        """Start `python -m MODULE` and configure it; `overlay` is what was changed while an earlier
        process ran. A process group of its own, so that Ctrl-C in
        a terminal reaches the supervisor alone, which stops the roles in order."""
        channel, theirs = Channel.pair()
        descriptors = [each.fileno() for each in listeners]
        environment = {**os.environ, CHANNEL_VARIABLE: str(theirs.fileno())}
        environment.pop("NOTIFY_SOCKET", None)
        command = ["-m", module]
        if descriptors:
            environment[LISTEN_VARIABLE] = ",".join(map(str, descriptors))
            command = ["-m", "trimaran.node.listen", module]
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=[theirs.fileno(), *descriptors, *inherited],
                env=environment,
                process_group=0,
                limit=_LONGEST_LINE,
            )
        role = cls(process, channel, on_message, on_line)
        with suppress(ChannelClosedError):  # gone already: wait() says so
            # In a thread: a big configuration fills the socket until the role reads it.
            message = {"kind": "configure", "settings": settings, "overlay": overlay}
            await asyncio.to_thread(channel.send, message)
        return role

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def busy(self) -> bool:
        """True while a request is unanswered: asking again would only fill its channel."""
        return bool(self._waiting)

    def send(self, message: Message) -> None:
        """Send a small message; a role that is gone hears nothing."""
        try:
            self._channel.send(message)
        except ChannelClosedError:
            return

    async def request(
        self,
        name: str,
        arguments: dict[str, Any],
        timeout_s: float,
        descriptors: Sequence[int] = (),
    ) -> Any:
        """The role's answer. Raises RoleError when it says no, ends, or is too slow."""
        number, self._next_id = self._next_id, self._next_id + 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        message = {"kind": "request", "id": number, "name": name, "arguments": arguments}
        with suppress(ChannelClosedError):  # _hang_up settles it
            # In a thread: a big message fills the socket until the role reads it.
            await asyncio.to_thread(self._channel.send, message, descriptors)
        try:
            return await asyncio.wait_for(asyncio.shield(future), timeout_s)
        except TimeoutError:
            # The future stays until the late answer comes, so that `busy` is true meanwhile.
            future.add_done_callback(lambda done: done.exception())
            raise RoleError(f"no answer to '{name}' within {timeout_s:g} s") from None

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def wait(self) -> int:
        """Wait for its end: the exit status, negative for a signal. Everything it said has been
        delivered by then."""
        status = await self._process.wait()
        # A grandchild may hold the pipe open: do not wait for its end for ever.
        await asyncio.wait([self._output], timeout=1.0)
        self._output.cancel()
        self._readable()
        self._hang_up()
        return status

    async def _read_output(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than the limit: dropped
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self.lines.append(text)
            self._on_line(text)

    def _readable(self) -> None:
        if self._channel.fileno() < 0:
            return
        try:
            messages = self._channel.receive()
        except (ChannelClosedError, ValueError):  # ValueError: not JSON
            self._hang_up()
            return
        for message in messages:
            if message.get("kind") == "reply":
                self._settle(message)
            else:
                self._on_message(message)

    def _settle(self, message: Message) -> None:
        future = self._waiting.pop(message.get("id", 0), None)
        if future is None or future.done():
            return
        if "error" in message:
            future.set_exception(RoleRefusedError(str(message["error"])))
        else:
            future.set_result(message.get("value"))

    def _hang_up(self) -> None:
        if self._channel.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self._channel.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(RoleError("the role ended before it answered"))
                future.exception()  # somebody may have stopped waiting
        self._waiting.clear()
