"""`stream` of an nginx.conf: bytes are passed on as they come."""

import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_wire import PATIENCE_S, dead_address

from trimaran.proxy.snapshot import snapshot
from trimaran.stack.nginx import read_nginx
from trimaran.system.engine import Engine
from trimaran.system.files import DiskFiles

CONF = """
stream {{
    log_format seen $status:$bytes_received:$bytes_sent:$upstream_addr:$upstream_bytes_sent;
    map $remote_addr $who {{ default stranger; 127.0.0.1 me; }}
    geo $where {{ default away; 127.0.0.0/8 here; }}
    split_clients $remote_addr $part {{ 100% whole; }}
    limit_conn_zone $binary_remote_addr zone=one:1m;
    upstream both {{ server {first}; server {second}; }}
    upstream dead {{ server {dead}; server {first}; }}
    upstream gone {{ server {dead}; }}
    access_log {dir}/seen.log seen;
    server {{ listen 127.0.0.1:{p[0]}; set $text "$who $where $part $protocol"; return $text; }}
    server {{ listen 127.0.0.1:{p[1]}; proxy_pass both; }}
    server {{ listen 127.0.0.1:{p[2]}; proxy_pass dead; }}
    server {{ listen 127.0.0.1:{p[3]}; proxy_pass gone; }}
    server {{ listen 127.0.0.1:{p[4]}; deny all; return no; }}
    server {{ listen 127.0.0.1:{p[5]}; limit_conn one 1; proxy_pass {first}; }}
    server {{ listen 127.0.0.1:{p[6]}; proxy_half_close on; proxy_pass {first}; }}
    server {{ listen 127.0.0.1:{p[7]}; proxy_timeout 2500ms; proxy_pass {first}; }}
    server {{ listen 127.0.0.1:{p[8]}; proxy_pass $upstream_of; }}
    server {{ listen 127.0.0.1:{p[9]}; proxy_download_rate 4000; proxy_pass {first}; }}
    map $server_port $upstream_of {{ {p[8]} both; }}
}}
"""


class Echo:
    """Sends back what comes, each connection with the server's name before the first bytes; what
    ends is answered by '.' and an end."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.sendall(self.name)
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
                connection.sendall(b".")
            except OSError:
                pass  # the proxy has closed: what is to be seen is seen on its other side

    def close(self) -> None:
        self.listener.close()


class Rig:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.first, self.second = Echo(b"1"), Echo(b"2")
        self.holder, dead = dead_address()
        self.listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(10)]
        self.ports = [each.getsockname()[1] for each in self.listeners]
        text = CONF.format(
            first=self.first.address,
            second=self.second.address,
            dead=dead,
            dir=directory,
            p=self.ports,
        )
        http, _ = read_nginx(text, str(directory / "nginx.conf"), DiskFiles())
        self.engine = Engine(snapshot(http), self.listeners, 1)

    def connect(self, index: int) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.ports[index]), PATIENCE_S)

    def ask(self, index: int, data: bytes = b"", length: int | None = None) -> bytes:
        """What comes for `data`: so many bytes, or all until the end."""
        with self.connect(index) as client:
            client.sendall(data)
            return take(client, length)

    def close(self) -> None:
        self.engine.stop(0.0)
        assert self.engine.status()["panics"] == 0
        for each in (*self.listeners, self.holder):
            each.close()
        self.first.close()
        self.second.close()


def take(client: socket.socket, length: int | None = None) -> bytes:
    got = b""
    while length is None or len(got) < length:
        try:
            data = client.recv(65536)
        except ConnectionResetError:
            break
        if not data:
            break
        got += data
    return got


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    made = Rig(tmp_path_factory.mktemp("stream"))
    yield made
    made.close()


def test_return_says_its_text_and_closes(rig: Rig) -> None:
    assert rig.ask(0) == b"me here whole TCP"


def test_peers_take_turns(rig: Rig) -> None:
    assert sorted(rig.ask(1, b"x", 2) for _ in range(4)) == [b"1x", b"1x", b"2x", b"2x"]


def test_much_goes_through_whole(rig: Rig) -> None:
    data = bytes(range(256)) * 4000
    with rig.connect(1) as client:
        sender = threading.Thread(target=client.sendall, args=(data,))
        sender.start()
        got = take(client, 1 + len(data))
        sender.join()
    assert got[1:] == data


def test_a_dead_peer_is_passed_over_and_a_lone_one_ends_it(rig: Rig) -> None:
    assert [rig.ask(2, b"x", 2) for _ in range(3)] == [b"1x"] * 3
    assert rig.ask(3) == b""


def test_who_is_denied_gets_nothing(rig: Rig) -> None:
    assert rig.ask(4) == b""


def test_a_second_connection_is_one_too_many(rig: Rig) -> None:
    with rig.connect(5) as first:
        assert take(first, 1) == b"1"
        assert rig.ask(5) == b""


def test_half_a_close_leaves_the_other_half(rig: Rig) -> None:
    with rig.connect(6) as client:
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)
        assert take(client) == b"1last words."


def test_silence_ends_a_session(rig: Rig) -> None:
    with rig.connect(7) as client:
        client.settimeout(PATIENCE_S)
        assert take(client) == b"1"


def test_a_variable_names_the_upstream(rig: Rig) -> None:
    assert rig.ask(8, b"x", 2) in (b"1x", b"2x")


def test_a_rate_holds_back_and_loses_nothing(rig: Rig) -> None:
    data = b"r" * 6000
    assert rig.ask(9, data, 1 + len(data)) == b"1" + data


def test_sessions_are_logged_when_they_end(rig: Rig) -> None:
    with rig.connect(6) as client:
        client.sendall(b"logged")
        client.shutdown(socket.SHUT_WR)
        assert take(client) == b"1logged."
    wanted = f"200:6:8:{rig.first.address}:6\n"
    deadline = threading.Event()
    for _ in range(int(PATIENCE_S * 50)):
        text = (rig.directory / "seen.log").read_text()
        if wanted in text:
            break
        deadline.wait(0.02)
    assert wanted in text
    assert re.search(r"^403:0:0:-:-$", text, re.MULTILINE)
    assert re.search(r"^502:\d+:0:127.0.0.1:\d+:0$", text, re.MULTILINE)
