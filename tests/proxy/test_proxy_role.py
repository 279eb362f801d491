"""The role process as the supervisor starts it: channel, inherited sockets, stop."""

import contextlib
import os
import re
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_wire import PATIENCE_S, Client, dead_address, forwarding

from trimaran.node.channel import CHANNEL_VARIABLE, Channel, ChannelClosedError, Message
from trimaran.node.plain import to_plain
from trimaran.proxy.settings import ProxySettings


class Role:
    """A proxy process and our end of its channel."""

    def __init__(self, **environment: str) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self.listener.getsockname()[1]
        self.channel, theirs = Channel.pair()
        code = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = "
            "str(os.getpid()); os.execv(sys.executable, [sys.executable, '-m', "
            "'trimaran.node.proxy_role'])"
        )
        # The channel must not lie where the listening sockets go: 3 and up.
        high = os.dup2(theirs.fileno(), 500)
        passed = os.dup2(self.listener.fileno(), 501)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(passed)],
            pass_fds=(high, passed),
            env={**os.environ, "LISTEN_FDS": "1", CHANNEL_VARIABLE: str(high), **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(high)
        os.close(passed)
        theirs.close()

    def configure(self, http: object) -> None:
        settings = ProxySettings(
            node="node4",
            role="proxy",
            name="edge",
            http=http,  # type: ignore[arg-type]
            listeners=(("127.0.0.1", self.port),),
        )
        self.channel.send({"kind": "configure", "settings": to_plain(settings)})

    def wait(self, kind: str) -> Message:
        deadline = time.monotonic() + 3 * PATIENCE_S
        while time.monotonic() < deadline:
            select.select([self.channel.fileno()], [], [], 1.0)
            with contextlib.suppress(BlockingIOError):
                for message in self.channel.receive():
                    if message["kind"] == kind:
                        return message
        pytest.fail(f"no '{kind}' came")

    def exit_code(self) -> int:
        return self.process.wait(3 * PATIENCE_S)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.channel.close()
        self.listener.close()


@pytest.fixture
def role() -> Iterator[Role]:
    made = Role()
    yield made
    made.close()


def test_it_serves_reports_and_stops(backend, role, eventually):
    peer = backend()
    holder, dead = dead_address()
    role.configure(forwarding(dead, peer.address)(role.port).model_dump(mode="json"))
    role.wait("ready")
    with holder, Client(role.port) as client:
        for _ in range(4):
            assert client.get().status == 200
        event = role.wait("event")
        assert (event["name"], event["subject"]) == ("proxy.peer_down", "edge")
        assert dead in event["message"] and event["cause"]

        def requests() -> int:
            role.channel.send({"kind": "request", "id": 7, "name": "status", "arguments": {}})
            reply = role.wait("reply")
            assert reply["id"] == 7
            return int(reply["value"]["requests"])

        eventually(lambda: requests() == 4)  # an answer is counted once it is out
        role.channel.send({"kind": "request", "id": 8, "name": "dance", "arguments": {}})
        assert "dance" in role.wait("reply")["error"]
        if os.geteuid() == 0:
            with open(f"/proc/{role.process.pid}/status") as status:  # noqa: PTH123
                uids = {line.split()[0]: line.split()[1:] for line in status if line.strip()}
            assert "0" not in uids["Uid:"] and "0" not in uids["Gid:"]
            assert uids["Groups:"] == []
        role.channel.send({"kind": "stop"})
        eventually(lambda: client.get().header("Connection") == "close")
    assert role.exit_code() == 0


def test_it_takes_all_descriptors_it_may_have_and_warns_of_few(backend, role):
    resource.prlimit(role.process.pid, resource.RLIMIT_NOFILE, (256, 1024))
    role.configure(forwarding(backend().address)(role.port).model_dump(mode="json"))
    event = role.wait("event")
    assert event["name"] == "proxy.warning"
    assert "1024" in event["message"] and "LimitNOFILE" in event["data"]["mend"]
    limits = Path(f"/proc/{role.process.pid}/limits").read_text()
    assert re.search(r"^Max open files +1024 +1024 ", limits, re.MULTILINE)


def test_the_end_of_the_channel_is_a_stop(backend, role):
    role.configure(forwarding(backend().address)(role.port).model_dump(mode="json"))
    role.wait("ready")
    role.channel.close()
    assert role.exit_code() == 0


def test_what_it_cannot_serve_is_one_sentence_and_exit_2(backend, role):
    http = forwarding(backend().address, headers=(("A", "$nonsense"),))(role.port)
    role.configure(http.model_dump(mode="json"))
    assert role.exit_code() == 2
    assert "unknown variable '$nonsense'" in role.process.stderr.read()
    with pytest.raises(ChannelClosedError):
        role.wait("ready")
