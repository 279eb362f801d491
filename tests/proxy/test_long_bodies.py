"""Answers so long that they go from socket to socket by pipes."""

import random
import socket
from pathlib import Path

from http_wire import Client, Message, forwarding

MEGABYTE = 1 << 20
SEED = 6
BODY = random.Random(SEED).randbytes(5 * MEGABYTE + 12345)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_every_byte_arrives_and_both_connections_serve_again(backend, proxy):
    peer = backend(lambda request: ANSWER)
    door = proxy(forwarding(peer.address))
    with door.client() as client:
        for _ in range(3):
            answer = client.get()
            assert (answer.status, len(answer.body)) == (200, len(BODY))
            assert answer.body == BODY
    assert peer.connections == 1


def test_many_at_once_do_not_mix(backend, proxy):
    def script(request: Message) -> bytes:
        start = int(request.start.split()[1][1:])
        return (
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % MEGABYTE
            + BODY[start : start + MEGABYTE]
        )

    door = proxy(forwarding(backend(script).address))
    clients = [door.client() for _ in range(8)]
    for turn, client in enumerate(clients):
        client.send(f"GET /{turn * 1000} HTTP/1.1\r\nHost: a\r\n\r\n")
    for turn, client in enumerate(clients):
        with client:
            assert client.response().body == BODY[turn * 1000 : turn * 1000 + MEGABYTE]


def test_a_client_that_does_not_read_is_nobody_elses_trouble(backend, proxy):
    peer = backend(lambda request: ANSWER)
    door = proxy(forwarding(peer.address))
    slow = socket.create_connection(("127.0.0.1", door.port))
    with slow, door.client() as client:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert slow.recv(1)  # its answer has begun, and it reads no further
        assert client.get().body == BODY
        rest = b""
        slow.settimeout(20)
        while len(rest) < len(ANSWER) - 1 and (data := slow.recv(1 << 20)):
            rest += data
            assert len(rest) < len(ANSWER) + 1000
            if rest.endswith(BODY[-100:]):
                break
        assert rest.endswith(BODY)


def test_a_peer_that_dies_in_its_body_leaves_a_short_answer_and_no_hung_client(backend, proxy):
    whole = [False]

    def script(request: Message) -> bytes:
        if whole[0]:
            return ANSWER
        return (
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(BODY)
            + (BODY[: 3 * MEGABYTE])
        )

    door = proxy(forwarding(backend(script).address))
    with door.client() as client:
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        got = client.stream.read()
        assert got.endswith(BODY[: 3 * MEGABYTE])
    whole[0] = True
    with door.client() as client:
        assert client.get().body == BODY  # not one byte of the answer that was cut


def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(backend, proxy, eventually):
    peer = backend(lambda request: ANSWER)
    door = proxy(forwarding(peer.address))
    before = descriptors()
    for _ in range(5):
        with Client(door.port) as client:
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.stream.read(1000)
    eventually(lambda: descriptors() <= before + 2)  # one spare pipe
    with door.client() as client:
        assert client.get().body == BODY
