"""A role for tests: does what its settings and requests tell it, so that the supervisor can be
watched with real processes. Run as `python -m echo_role`."""

import os
import select
import socket
import sys
import time
from pathlib import Path
from typing import Any

from trimaran.node.channel import Channel, ChannelClosedError


class Echo:
    def __init__(self) -> None:
        self.channel = Channel.inherited()
        self.settings: dict[str, Any] = {}
        self.heard: list[dict[str, Any]] = []
        self.overlay: list[dict[str, Any]] = []
        self.listeners = [
            socket.socket(fileno=3 + number)
            for number in range(int(os.environ.get("LISTEN_FDS", 0)))
        ]

    def note(self, word: str) -> None:
        with Path(self.settings["diary"]).open("a") as diary:
            diary.write(f"{word} {self.settings['name']}\n")

    def run(self) -> None:
        while True:
            ready, _, _ = select.select([self.channel, *self.listeners], [], [])
            for each in ready:
                if each is self.channel:
                    for message in self.channel.receive():
                        self.obey(message)
                else:
                    connection, _ = each.accept()
                    with connection:
                        connection.sendall(f"{os.getpid()}".encode())

    def obey(self, message: dict[str, Any]) -> None:
        kind = message["kind"]
        if kind == "configure":
            self.overlay = message["overlay"] or []
            self.configure(message["settings"])
        elif kind == "stop":
            self.note("stop")
            sys.exit(0)
        elif kind == "request" and message["name"] == "change":
            self.change(message)
        elif kind == "request":
            value: dict[str, Any] = {
                "heard": self.heard,
                "settings": [name for name in self.settings if name != "password"],
                "overlay": self.overlay,
                "listen_pid": os.environ.get("LISTEN_PID"),
            }
            self.channel.send({"kind": "reply", "id": message["id"], "value": value})
        else:
            self.heard.append(message)

    def change(self, message: dict[str, Any]) -> None:
        """Its overlay is every change since the last reset; it knows names that begin with n."""
        asked, answer = message["arguments"], {"kind": "reply", "id": message["id"]}
        if asked["verb"] == "reset":
            self.overlay = []
        elif asked["name"].startswith("n"):
            self.overlay.append(asked)
        else:
            self.channel.send({**answer, "error": f"no '{asked['name']}' here"})
            return
        value = {"overlay": self.overlay, "changed": [{"name": asked.get("name")}]}
        self.channel.send({**answer, "value": value})

    def configure(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        if "refuse" in settings:
            print(settings["refuse"], file=sys.stderr)
            sys.exit(2)
        if "crash" in settings:
            raise SystemExit(settings["crash"])
        if "hang" in settings:
            time.sleep(3600)
        self.note("start")
        for message in settings.get("say", []):
            self.channel.send(message)
        self.channel.send({"kind": "ready"})
        if "crash_when_ready" in settings:
            sys.exit(settings["crash_when_ready"])


if __name__ == "__main__":
    echo = Echo()
    try:
        echo.run()
    except ChannelClosedError:
        echo.note("orphan")
