"""Other people's programs: run for a bounded time, each in a process group of its own, and ended
with that whole group."""

import asyncio
import grp
import os
import pwd
import shlex
import signal
import stat
import subprocess
from contextlib import suppress
from pathlib import Path

from trimaran.stack.files import Refusal

GRACE_S = 0.5  # between SIGTERM and SIGKILL
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C"}


class ScriptError(Exception):
    """It could not be run; the message says why."""


async def run(command: str, user: str | None = None, arguments: tuple[str, ...] = ()) -> int:
    """Run it to its end and return its exit status (negative: the signal that ended it). When the
    caller's deadline cancels this, the whole process group is ended before this returns. Raises
    ScriptError."""
    process = _start([*_words(command), *arguments], user)
    ended = False
    descriptor = os.pidfd_open(process.pid)
    try:
        await _readable(descriptor)
        ended = True
        return process.wait()
    finally:
        if not ended:
            await _end(process, descriptor)
        os.close(descriptor)


def _start(words: list[str], user: str | None) -> subprocess.Popen[bytes]:
    number, group = _identity(user)
    try:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,
            user=number,
            group=group,
            extra_groups=None if number is None else [],
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ScriptError(f"cannot run '{words[0]}': {reason.lower()}") from error


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ScriptError(f"cannot understand '{command}': {error}") from None
    if not words:
        raise ScriptError("the command is empty")
    return words


def _identity(user: str | None) -> tuple[int | None, int | None]:
    if user is None:
        return None, None
    name, _, group = user.partition(":")
    try:
        entry = pwd.getpwnam(name)
        return entry.pw_uid, grp.getgrnam(group).gr_gid if group else entry.pw_gid
    except KeyError as error:
        raise ScriptError(str(error.args[0])) from None


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)


async def _end(process: subprocess.Popen[bytes], descriptor: int) -> None:
    """Its group keeps its number for as long as the process is not waited for."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        if number == signal.SIGTERM:
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE_S):
                    await _readable(descriptor)
    await _readable(descriptor)
    process.wait()


def refusal(command: str) -> Refusal | None:
    """What is wrong with a command on this machine; None when it can be run. A program that others
    than root may write to is refused: it runs with our rights."""
    try:
        path = Path(_words(command)[0])
    except ScriptError as error:
        return Refusal(str(error))
    if not path.is_absolute():
        return Refusal(f"'{path}' is not an absolute path", "write the program's whole path")
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return Refusal(f"'{path}' is not on this machine", error.strerror or "", fatal=False)
    if not stat.S_ISREG(mode):
        return Refusal(f"'{path}' is no file")
    if not mode & 0o111:
        return Refusal(f"'{path}' is not executable", f"chmod +x {path}")
    for place in (path, *path.parents):
        found = place.stat()
        writable = found.st_mode & (0o002 if found.st_gid == 0 else 0o022)
        if writable and not (place != path and found.st_mode & stat.S_ISVTX):
            return Refusal(f"others than root may write to '{place}'", f"chmod go-w {place}")
        if found.st_uid not in (0, os.geteuid()):
            owner = f"'{place}' belongs to user {found.st_uid}, not root"
            return Refusal(owner, f"chown root {place}")
    return None


def exit_words(status: int) -> str:
    """What an exit status means, in words."""
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    return f"exit status {status}"
