"""Another protocol on a proxied connection: Upgrade, 101, and bytes both ways."""

import contextlib
import random
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from http_wire import PATIENCE_S, forwarding

UPGRADE = (("Upgrade", "$http_upgrade"), ("Connection", "upgrade"))
ASK = (
    "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


class Speaker:
    """A backend of one connection at a time: answers a head with `answer`, then `talk` has it."""

    def __init__(self, answer: bytes, talk: Callable[[socket.socket], None]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.heads: list[bytes] = []
        self._answer, self._talk = answer, talk
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with contextlib.suppress(OSError), connection:
                    connection.settimeout(PATIENCE_S)
                    head = b""
                    while not head.endswith(b"\r\n\r\n"):
                        head += connection.recv(1)
                    self.heads.append(head)
                    connection.sendall(self._answer)
                    self._talk(connection)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def speaker() -> Iterator[Callable[..., Speaker]]:
    made: list[Speaker] = []

    def make(talk: Callable[[socket.socket], None], answer: bytes = SWITCH) -> Speaker:
        made.append(Speaker(answer, talk))
        return made[-1]

    yield make
    for each in made:
        each.close()


def echo(connection: socket.socket) -> None:
    while data := connection.recv(1 << 16):
        connection.sendall(data)


def test_bytes_go_both_ways_unchanged(speaker, proxy):
    peer = speaker(echo)
    door = proxy(forwarding(peer.address, headers=UPGRADE))
    seed = 11
    data = random.Random(seed).randbytes(3 << 20)
    with door.client() as client:
        client.send(ASK + "early")  # what comes with the head belongs to the other protocol
        answer = client.response()
        assert answer.status == 101
        assert answer.header("Upgrade") == "websocket"
        assert answer.header("Connection") == "upgrade"
        assert b"Upgrade: websocket\r\n" in peer.heads[0]
        assert b"Connection: upgrade\r\n" in peer.heads[0]
        assert client.stream.read(5) == b"early"
        sending = threading.Thread(target=client.socket.sendall, args=(data,))
        sending.start()
        assert client.stream.read(len(data)) == data, f"seed {seed}"
        sending.join()
        client.socket.shutdown(socket.SHUT_WR)
        assert client.closed()


def test_the_end_of_the_peer_is_the_clients_end_and_nothing_is_lost(speaker, proxy):
    farewell = bytes(range(256)) * 4096

    def talk(connection: socket.socket) -> None:
        assert connection.recv(100) == b"hello"
        connection.sendall(farewell)

    door = proxy(forwarding(speaker(talk).address, headers=UPGRADE))
    with door.client() as client:
        client.send(ASK)
        assert client.response().status == 101
        client.send(b"hello")
        assert client.stream.read() == farewell


def test_what_the_client_said_last_reaches_the_peer(speaker, proxy, eventually):
    heard: list[bytes] = []
    words = bytes(range(256)) * 4096

    def talk(connection: socket.socket) -> None:
        got = b""
        while data := connection.recv(1 << 16):
            got += data
        heard.append(got)

    door = proxy(forwarding(speaker(talk).address, headers=UPGRADE))
    with door.client() as client:
        client.send(ASK)
        assert client.response().status == 101
        client.send(words)
    eventually(lambda: heard == [words])


def test_silence_ends_a_tunnel_after_the_read_timeout_and_says_nothing_of_the_peer(speaker, proxy):
    peer = speaker(echo)
    door = proxy(forwarding(peer.address, headers=UPGRADE, read_timeout=2.5))
    with door.client() as client:
        client.send(ASK)
        assert client.response().status == 101
        assert client.closed()
    (upstream,) = door.engine.status()["upstreams"]
    assert upstream["peers"][0]["fails"] == 0


def test_a_switch_that_nobody_asked_for_is_a_bad_answer(speaker, proxy):
    door = proxy(forwarding(speaker(echo).address))
    with door.client() as client:
        assert client.get().status == 502


def test_a_peer_that_does_not_switch_answers_as_ever(backend, proxy):
    peer = backend()
    door = proxy(forwarding(peer.address, headers=UPGRADE))
    with door.client() as client:
        assert client.send(ASK).response().status == 200
        assert client.get().status == 200


def test_a_swap_leaves_a_tunnel_alone(speaker, proxy, backend, eventually):
    from trimaran.proxy.snapshot import snapshot

    door = proxy(forwarding(speaker(echo).address, headers=UPGRADE))
    other = backend()
    with door.client() as tunnel, door.client() as client:
        assert tunnel.send(ASK).response().status == 101
        door.engine.swap(snapshot(forwarding(other.address)(door.port)))
        eventually(lambda: client.get().status == 200 and len(other.requests) > 0)
        tunnel.send(b"still here")
        assert tunnel.stream.read(10) == b"still here"
