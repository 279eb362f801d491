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
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from http_wire import PATIENCE_S, Client, dead_address, forwarding

from trimaran.health.settings import CheckSettings, Target
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

    def configure(self, http: object, overlay: object = None, **changes: Any) -> None:
        settings = ProxySettings(
            node="node4",
            role="proxy",
            name="edge",
            http=http,  # type: ignore[arg-type]
            listeners=(("127.0.0.1", self.port),),
            **changes,
        )
        plain = to_plain(settings)
        self.channel.send({"kind": "configure", "settings": plain, "overlay": overlay})

    def ask(self, name: str, /, **arguments: Any) -> Any:
        """Its answer to a request; events that come before it are thrown away."""
        self.channel.send({"kind": "request", "id": 9, "name": name, "arguments": arguments})
        return self.wait("reply")["value"]

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


class Gate:
    """A port that is ours, and accepts or refuses."""

    def __init__(self) -> None:
        self._holder = self._bound(0)
        self.port: int = self._holder.getsockname()[1]
        self._listener: socket.socket | None = None

    @staticmethod
    def _bound(port: int) -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(("127.0.0.1", port))
        return made

    def open(self) -> None:
        self._listener = self._bound(self.port)
        self._listener.listen(128)

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def __enter__(self) -> "Gate":
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._holder.close()

    def check(self) -> CheckSettings:
        target = Target(IPv4Address("127.0.0.1"), self.port)
        return CheckSettings(target, 0.05, 5.0, 1, 0.02, 1)


@pytest.fixture
def gates() -> Iterator[tuple[Gate, Gate]]:
    with Gate() as one, Gate() as other:
        yield one, other


def test_peers_are_probed_drained_and_disabled(backend, role, gates):
    bad, _well = gates
    peers = {backend().address: gate for gate in gates}
    sick, sound = peers
    checks = {peer: {"tcp": gate.check()} for peer, gate in peers.items()}
    http = forwarding(*peers)(role.port).model_dump(mode="json")
    role.configure(http, checks=checks, names={sick: "node6"})
    role.wait("ready")

    def rows() -> dict[str, dict[str, Any]]:
        (upstream,) = role.ask("status")["upstreams"]
        return {row["address"]: row for row in upstream["peers"]}

    def gets(client: Client, peer: str) -> bool:
        """Whether that peer gets one of the next requests."""
        before = rows()[peer]["requests"]
        assert {client.get().status for _ in range(4)} == {200}
        return int(rows()[peer]["requests"]) > before

    with Client(role.port) as client:
        assert gets(client, sick) and gets(client, sound)
        bad.close()
        event = role.wait("event")
        assert (event["name"], event["subject"]) == ("proxy.peer_down", "edge")
        assert event["message"].endswith(": node6 is out")
        assert event["cause"] == "2 failed probes in a row: connection refused"
        assert not gets(client, sick), "it was told before the event went out"
        row = rows()[sick]
        assert not row["well"] and row["last_check"]["error"] == "connection refused"
        bad.open()
        event = role.wait("event")
        assert (event["name"], event["cause"]) == ("proxy.peer_up", "1 good probe in a row")
        assert gets(client, sick)

        answer = role.ask("change", verb="drain", name="node6", cause="a test")
        assert [(each["name"], each["mode"]) for each in answer["changed"]] == [
            ("node6", "drained")
        ]
        assert answer["overlay"][0]["cause"] == "a test"
        assert not gets(client, sick)
        assert rows()[sick]["mode"] == "drained" and rows()[sick]["state"] == "draining"
        role.ask("change", verb="disable", name=sound, cause="a test")
        role.ask("change", verb="enable", name="node6", cause="a test")
        assert gets(client, sick) and not gets(client, sound)
        role.ask("change", verb="reset", cause="a reload")
        assert gets(client, sound)
        assert all(row["changed"] is None for row in rows().values())


def test_what_was_changed_is_there_from_the_first_request_on(backend, role):
    peers = [backend().address, backend().address]
    http = forwarding(*peers)(role.port).model_dump(mode="json")
    (upstream,) = http["upstreams"]
    change = {"upstream": upstream["name"], "peer": peers[0], "mode": "disabled", "cause": "before"}
    role.configure(http, overlay=[change])
    role.wait("ready")
    with Client(role.port) as client:
        for _ in range(4):
            assert client.get().status == 200
    (shown,) = role.ask("status")["upstreams"]
    assert [row["requests"] for row in shown["peers"]] == [0, 4]
    role.channel.send(
        {"kind": "request", "id": 1, "name": "change",
         "arguments": {"verb": "weight", "name": peers[0], "weight": 3, "cause": ""}}
    )  # fmt: skip
    assert "keep the weight" in role.wait("reply")["error"]


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
