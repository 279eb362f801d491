"""What an nginx process has to say: lines in nginx's form, in files, on stderr, by syslog."""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from socket import AF_INET, AF_INET6, AF_UNIX, SOCK_DGRAM, gethostname, socket

from trimaran.stack.nginx_main import below
from trimaran.stack.nginx_manner import LEVELS

LOCAL7, SYSLOG_PORT = 23, 514


class ErrorLog:
    """The error logs of the top level, each with the least severe level that it takes."""

    def __init__(self, prefix: str, logs: tuple[tuple[str, str], ...]) -> None:
        self._prefix = prefix
        self._logs = logs
        self._files: list[int | None] = []
        self.reopen()

    def reopen(self) -> None:
        """Open the files anew, after they were moved away."""
        for file in self._files:
            if file is not None:
                os.close(file)
        self._files = [self._open(path) for path, _ in self._logs]

    def _open(self, path: str) -> int | None:
        if path == "stderr" or path.startswith("syslog:"):
            return None
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(Path(below(self._prefix, path)), flags, 0o644)

    def write(self, level: str, message: str) -> None:
        """`level` is nginx's word."""
        now, pid = time.strftime("%Y/%m/%d %H:%M:%S"), os.getpid()
        severity = LEVELS.index(level)
        for line in message.splitlines():
            text = f"{now} [{level}] {pid}#{pid}: {line}"
            for file, (path, least) in zip(self._files, self._logs, strict=True):
                if severity <= LEVELS.index(least):
                    _write(file, path, severity, text)


def _write(file: int | None, path: str, severity: int, text: str) -> None:
    if file is not None:
        os.write(file, f"{text}\n".encode(errors="replace"))
    elif path == "stderr":
        print(text, file=sys.stderr, flush=True)
    else:
        with suppress(OSError):
            _syslog(path, severity, text)


def _syslog(path: str, severity: int, text: str) -> None:
    words = dict(word.partition("=")[::2] for word in path.removeprefix("syslog:").split(","))
    host = "" if "nohostname" in words else f"{gethostname()} "
    now = time.strftime("%b %e %H:%M:%S")
    line = f"<{LOCAL7 * 8 + severity}>{now} {host}{words.get('tag', 'nginx')}: {text}".encode()
    server = words.get("server", "")
    if server.startswith("unix:"):
        with socket(AF_UNIX, SOCK_DGRAM) as sender:
            sender.sendto(line, server.removeprefix("unix:"))
        return
    name, _, port = server.rpartition(":")
    if not port.isdigit():
        name, port = server, str(SYSLOG_PORT)
    with socket(AF_INET6 if name.startswith("[") else AF_INET, SOCK_DGRAM) as sender:
        sender.sendto(line, (name.strip("[]"), int(port)))
