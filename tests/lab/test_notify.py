"""A keepalived.conf with every kind of notification, run by the whole daemon beside a second
member; what was told is looked at from outside."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lan import Lan, inside, lan, wait_until

TRIMARAN = str(Path(sys.executable).parent / "trimaran")
VIP = "192.0.2.100"
CONFIGURATION = """
global_defs {{
    router_id lb1
    notification_email {{
        ops@example.org
    }}
    notification_email_from lb1@example.org
    smtp_server 127.0.0.1 2525
    vrrp_notify_fifo {fifo}
    vrrp_notify_fifo_script {reader}
}}
vrrp_instance front {{
    interface ens33
    virtual_router_id 10
    priority 150
    version 3
    advert_int 0.1
    virtual_ipaddress {{
        192.0.2.100
    }}
    notify_master "{script} master 'two words'"
    notify_backup "{script} backup"
    notify_fault "{script} fault"
    notify_stop "{script} stop"
    notify {script}
    smtp_alert
}}
"""


class MailSink:
    """Takes mail on 127.0.0.1:2525 of a machine."""

    def __init__(self, namespace: str) -> None:
        self.mails: list[str] = []
        with inside(namespace):
            self._listener = socket.create_server(("127.0.0.1", 2525))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rwb") as file, suppress(OSError):
                self._talk(file)

    def _talk(self, file: "socket.SocketIO") -> None:
        def say(line: str) -> None:
            file.write(f"{line}\r\n".encode())
            file.flush()

        say("220 sink")
        while line := file.readline():
            word = line.split()[0].upper()
            if word == b"DATA":
                say("354 go on")
                lines = []
                while (text := file.readline()) not in (b".\r\n", b""):
                    lines.append(text.decode())
                self.mails.append("".join(lines))
            say("221 bye" if word == b"QUIT" else "250 ok")

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def made() -> Iterator[Lan]:
    with lan() as made:
        made.machine("a", "192.0.2.1")
        yield made


def test_everybody_is_told_in_order(made: Lan, tmp_path: Path) -> None:
    script, reader, told = tmp_path / "tell", tmp_path / "read", tmp_path / "told"
    read = tmp_path / "read-lines"
    for place in (tmp_path, *tmp_path.parents[:2]):
        place.chmod(0o755)
    script.write_text(f'#!/bin/sh\nsleep 0.05\necho "$#:$*" >>{told}\n')
    reader.write_text(f'#!/bin/sh\nexec cat "$1" >>{read}\n')
    for each in (script, reader):
        each.chmod(0o755)
    (tmp_path / "k.conf").write_text(
        CONFIGURATION.format(fifo=tmp_path / "fifo", script=script, reader=reader)
    )
    sink = MailSink(made.namespace("a"))
    try:
        daemon = made.run(
            "a", TRIMARAN, "run", "--keepalived", str(tmp_path / "k.conf"),
            "--run-dir", str(tmp_path / "run"), stderr=subprocess.PIPE,
        )  # fmt: skip
        _play(made, daemon, sink, read)
    finally:
        sink.close()
    assert told.read_text().splitlines() == [
        "1:backup", "4:INSTANCE front BACKUP 150",
        "2:master two words", "4:INSTANCE front MASTER 150",
        "1:fault", "4:INSTANCE front FAULT 150",
        "1:backup", "4:INSTANCE front BACKUP 150",
        "2:master two words", "4:INSTANCE front MASTER 150",
        "1:stop", "4:INSTANCE front STOP 150",
    ]  # fmt: skip
    words = ["BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER", "STOP"]
    assert read.read_text().splitlines() == [f'INSTANCE "front" {word} 150' for word in words]
    assert [mail.count("[lb1] VRRP Instance front - ") for mail in sink.mails] == [1] * 6
    assert "To: ops@example.org" in sink.mails[0]
    assert "From: lb1@example.org" in sink.mails[0]
    assert "Stopping" in sink.mails[-1]
    assert not (tmp_path / "fifo").exists()


def _play(made: Lan, daemon: "subprocess.Popen[bytes]", sink: MailSink, read: Path) -> None:
    wait_until("it holds the address", lambda: made.holds("a", VIP), 60)
    asked = made.run("a", TRIMARAN, "vrrp", "dump", "--run-dir", str(read.parent / "run"),
                     stdout=subprocess.PIPE)  # fmt: skip
    (entry,) = json.loads(asked.communicate(timeout=60)[0])["vrrp"]
    assert (entry["data"]["iname"], entry["data"]["state"]) == ("front", 2)
    made.cut("a")
    wait_until("it holds it no more", lambda: not made.holds("a", VIP), 60)
    made.heal("a")
    wait_until("it holds it again", lambda: made.holds("a", VIP), 60)
    wait_until("five lines", lambda: len(read.read_text().splitlines()) >= 5, 60)
    wait_until("five mails", lambda: len(sink.mails) >= 5, 60)
    os.kill(daemon.pid, signal.SIGTERM)
    _, said = daemon.communicate(timeout=60)
    assert daemon.returncode == 0, said.decode()
