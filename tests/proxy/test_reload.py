"""A running node reads its nginx.conf again: nobody who talks to it may notice."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from http_wire import Client, Message

TRIMARAN = str(Path(sys.executable).parent / "trimaran")
DEADLINE_S = 60.0
RELOADS = 5


def free_port() -> int:
    """One that nothing gets by itself: below the range of outgoing connections."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.sample(range(1025, low), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port is free")


class Node:
    """`trimaran run --nginx FILE` on loopback."""

    def __init__(self, directory: Path, config: str) -> None:
        self.run_dir, self.file = directory / "run", directory / "nginx.conf"
        self.write(config)
        words = ["run", "--nginx", str(self.file), "--node", "n", "--run-dir", str(self.run_dir)]
        self.process = subprocess.Popen([TRIMARAN, *words], stderr=subprocess.PIPE, text=True)
        self.until(lambda: self.status().get("state") == "running", "the role runs")

    def write(self, config: str) -> None:
        self.file.write_text(f"events {{}}\nhttp {{\n{config}\n}}\n")

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [TRIMARAN, *words, "--run-dir", str(self.run_dir)]
        return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)

    def status(self) -> dict[str, object]:
        asked = self.ask("status", "--json")
        if asked.returncode:
            return {}
        (role,) = json.loads(asked.stdout)["roles"].values()
        return dict(role)

    def pid(self) -> int:
        pid = self.status()["pid"]
        assert isinstance(pid, int)
        return pid

    def until(self, condition: Callable[[], object], what: str) -> None:
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert self.process.poll() is None, "the node ended"
            assert time.monotonic() < end, f"waited in vain: {what}"
            time.sleep(0.02)

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=DEADLINE_S)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Callable[[str], Node]]:
    made: list[Node] = []

    def make(config: str) -> Node:
        made.append(Node(tmp_path, config))
        return made[-1]

    yield make
    for each in made:
        each.close()


def config(port: int, backend: str, more: str = "") -> str:
    return f"""
        server {{ listen 127.0.0.1:{port}; keepalive_requests 1000000;
            location / {{ proxy_pass http://{backend}; }} {more} }}"""


class Asking(threading.Thread):
    """Asks until told to end: each time on a new connection, or always on the same one. An error
    ends it and is kept."""

    def __init__(self, port: int, ended: threading.Event, *, kept: bool) -> None:
        super().__init__()
        self.answered, self.error = 0, ""
        self._port, self._ended, self._kept = port, ended, kept
        self.start()

    def run(self) -> None:
        try:
            while not self._ended.is_set():
                with Client(self._port) as client:
                    self._ask(client)
                    while self._kept and not self._ended.is_set():
                        self._ask(client)
        except (AssertionError, OSError) as error:
            self.error = f"after {self.answered} answers: {error!r}"

    def _ask(self, client: Client) -> None:
        assert client.get().status == 200
        self.answered += 1


def test_reloads_under_load_lose_no_request_and_close_no_connection(backend, node) -> None:
    gate = threading.Event()

    def script(request: Message) -> bytes:
        if request.start.startswith("GET /slow"):
            assert gate.wait(DEADLINE_S)
        return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    first, second, port = backend(script), backend(script), free_port()
    running = node(config(port, first.address))
    pid, ended = running.pid(), threading.Event()
    load = [Asking(port, ended, kept=number % 2 == 0) for number in range(6)]
    with Client(port) as slow, Client(port) as idle:
        assert idle.get().status == 200
        slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        running.until(lambda: any("/slow" in it.start for it in first.requests), "the slow one")
        for turn in range(RELOADS):
            peer = (second, first)[turn % 2]
            seen = len(peer.requests)
            running.write(config(port, peer.address))
            if turn % 2:
                running.process.send_signal(signal.SIGHUP)
            else:
                asked = running.ask("reload")
                assert (asked.returncode, asked.stdout) == (0, "proxy: reloaded\n"), asked.stderr
            running.until(lambda peer=peer, seen=seen: len(peer.requests) > seen + 20, "its load")
        gate.set()
        assert slow.response().status == 200
        assert idle.get().status == 200
    ended.set()
    for each in load:
        each.join()
        assert each.error == ""
        assert each.answered > RELOADS
    assert running.pid() == pid


def test_an_invalid_file_changes_nothing_and_says_why(backend, node) -> None:
    peer, port, other = backend(), free_port(), free_port()
    running = node(config(port, peer.address))
    bad = {
        "server { listen 80;": "nginx.conf",
        config(port, peer.address, "location /x { return 200 $nonsense; }"): "nonsense",
        f"server {{ listen 127.0.0.1:{other}; }} server {{ listen 127.0.0.1:{peer.port}; }}": str(
            peer.port
        ),
    }
    with Client(port) as client:
        for text, why in bad.items():
            running.write(text)
            asked = running.ask("reload")
            assert asked.returncode == 1
            assert "nothing was changed" in asked.stderr
            assert why in asked.stderr
            assert client.get().status == 200
        with pytest.raises(ConnectionRefusedError):
            Client(other)
        running.process.send_signal(signal.SIGHUP)
        running.until(lambda: "SIGHUP" in running.ask("events").stdout, "the refusal's event")
        assert "nothing was changed" in running.ask("events").stdout
        running.write(config(port, peer.address))
        assert running.ask("reload").stdout == "proxy: unchanged\n"


def test_listeners_come_and_go_with_a_reload_and_outlive_the_process(backend, node) -> None:
    peer, port, other = backend(), free_port(), 0
    running = node(config(port, peer.address))
    other = free_port()
    running.write(config(port, peer.address) + config(other, peer.address))
    assert running.ask("reload").returncode == 0
    with Client(port) as old, Client(other) as new:
        assert old.get().status == new.get().status == 200
        running.write(config(other, peer.address))
        assert running.ask("reload").returncode == 0
        assert old.get().status == new.get().status == 200  # a door went, no connection did
        with pytest.raises(ConnectionRefusedError):
            Client(port)
    pid = running.pid()
    signal.pidfd_send_signal(process := os.pidfd_open(pid), signal.SIGKILL)
    os.close(process)
    with Client(other) as waiting:  # the supervisor holds the door open
        assert waiting.get().status == 200
    assert running.pid() != pid


def test_a_killed_process_refuses_no_connection(backend, node) -> None:
    peer, port = backend(), free_port()
    running = node(config(port, peer.address))
    ended, lock = threading.Event(), threading.Lock()
    connected, refused = 0, []

    def knock() -> None:
        nonlocal connected
        while not ended.is_set():
            try:
                with socket.create_connection(("127.0.0.1", port), DEADLINE_S):
                    pass
            except OSError as error:
                refused.append(repr(error))
            with lock:
                connected += 1

    threads = [threading.Thread(target=knock) for _ in range(4)]
    for each in threads:
        each.start()
    for _ in range(2):
        pid, before = running.pid(), connected
        running.until(lambda before=before: connected > before + 100, "the load")
        process = os.pidfd_open(pid)
        signal.pidfd_send_signal(process, signal.SIGKILL)
        os.close(process)
        running.until(lambda pid=pid: running.status().get("pid") not in (pid, None), "another")
        with Client(port) as client:
            assert client.get().status == 200
    ended.set()
    for each in threads:
        each.join()
    assert refused == []
