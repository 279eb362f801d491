"""Bytes in, bytes out, through the proxy to scripted backends."""

import hashlib
import itertools
import random
import socket
import threading

import pytest
from http_wire import OK, PATIENCE_S, Client, Message, forwarding

from trimaran.stack.http import Http, Location, Peer, ProxyPass, Upstream

BIG = random.Random(7).randbytes(10 << 20)


def echo(request: Message) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(request.body) + request.body


def test_both_connections_are_kept(backend, proxy):
    peer = backend()
    with proxy(forwarding(peer.address)).client() as client:
        for _ in range(20):
            assert client.get().body == b"ok"
    assert (peer.connections, len(peer.requests)) == (1, 20)


def test_a_peer_that_closes_is_connected_to_again(backend, proxy):
    peer = backend(lambda request: OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    with proxy(forwarding(peer.address)).client() as client:
        for _ in range(5):
            answer = client.get()
            assert (answer.body, answer.header("Connection")) == (b"ok", "keep-alive")
    assert peer.connections == 5


def test_an_idle_connection_that_died_costs_no_request(backend, proxy):
    peer = backend()
    with proxy(forwarding(peer.address)).client() as client:
        for _ in range(30):
            assert client.get().status == 200
            peer.hang_up()
    assert len(peer.requests) >= 30


def test_pipelined_requests_are_answered_in_order(backend, proxy):
    peer = backend(lambda r: echo(Message("", [], r.start.split()[1].encode())))
    with proxy(forwarding(peer.address)).client() as client:
        client.send("".join(f"GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n" for n in range(50)))
        assert [client.response().body for _ in range(50)] == [b"/%d" % n for n in range(50)]


def test_headers_are_passed_replaced_and_removed(backend, proxy):
    peer = backend()
    headers = (
        ("Host", "$host"),
        ("X-Real-IP", "$remote_addr"),
        ("X-Forwarded-For", "$proxy_add_x_forwarded_for"),
        ("Cookie", ""),
    )
    with proxy(forwarding(peer.address, headers=headers)).client() as client:
        client.send(
            "GET /a?b=c HTTP/1.1\r\nHost: Some.Host:99\r\nX-Forwarded-For: 9.9.9.9\r\nCookie: x\r\n"
            "Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\n"
            "TE: x\r\nProxy-Connection: close\r\nX_Under: 1\r\n"
            "x-real-ip: 6.6.6.6\r\nAccept: */*\r\n\r\n"
        )
        assert client.response().status == 200
    assert peer.requests[0].start == "GET /a?b=c HTTP/1.1"
    assert peer.requests[0].headers == [
        ("Host", "some.host"),
        ("X-Real-IP", "127.0.0.1"),
        ("X-Forwarded-For", "9.9.9.9, 127.0.0.1"),
        ("Accept", "*/*"),
    ]


def test_without_set_header_host_is_the_upstreams(backend, proxy):
    peer = backend()
    with proxy(forwarding(peer.address)).client() as client:
        client.get()
    assert peer.requests[0].header("Host") == "up"


def test_the_answers_head_is_ours_where_it_must_be(backend, proxy):
    peer = backend(
        lambda r: (
            b"HTTP/1.1 201 Made\r\nServer: x\r\nDate: y\r\nKeep-Alive: z\r\nA: b\r\n"
            b"Content-Length: 0\r\n\r\n"
        )
    )
    with proxy(forwarding(peer.address)).client() as client:
        answer = client.get()
    assert answer.start == "HTTP/1.1 201 Made"
    assert [name for name, _ in answer.headers] == [
        "Server",
        "Date",
        "A",
        "Content-Length",
        "Connection",
    ]
    assert answer.header("Server") == "trimaran"


def test_a_uri_replaces_what_the_location_matched(backend, proxy):
    peer = backend()
    with proxy(forwarding(peer.address, uri="/base/")).client() as client:
        client.get("/a%20b//../c?d=e")
    assert peer.requests[0].start == "GET /base/c?d=e HTTP/1.1"


def test_http_1_0_clients(backend, proxy):
    peer = backend(
        lambda r: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    )
    door = proxy(forwarding(peer.address))
    with door.client() as client:
        answer = client.send("GET / HTTP/1.0\r\n\r\n").response()
        assert (answer.body, answer.header("Transfer-Encoding")) == (b"ok", None)
        assert client.closed()
    peer.script = lambda r: OK
    with door.client() as client:
        for _ in range(3):
            client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert client.response().header("Connection") == "keep-alive"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_ten_megabytes_go_up_and_come_down_unharmed(backend, proxy, framing):
    peer = backend(echo)
    with proxy(forwarding(peer.address, client_max_body_size=0)).client() as client:
        head = "POST / HTTP/1.1\r\nHost: a\r\n"
        if framing == "length":
            request = f"{head}Content-Length: {len(BIG)}\r\n\r\n".encode() + BIG
        else:
            parts = [BIG[at : at + 99_991] for at in range(0, len(BIG), 99_991)]
            body = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(part), part) for part in parts)
            request = (
                f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + body + b"0\r\nT: x\r\n\r\n"
            )
        sender = threading.Thread(target=client.send, args=(request,))
        sender.start()
        answer = client.response()
        sender.join()
        assert hashlib.sha256(answer.body).digest() == hashlib.sha256(BIG).digest()
        assert client.get().status == 200  # and the connection goes on


@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_answers_of_every_framing(backend, proxy, framing, minor):
    body = BIG[:300_000]
    forms = {
        "length": b"Content-Length: %d\r\n\r\n" % len(body) + body,
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"7d0\r\n" + body[at : at + 2000] + b"\r\n" for at in range(0, 300_000, 2000))
        + b"0\r\n\r\n",
        "close": b"Connection: close\r\n\r\n" + body,
    }
    peer = backend(lambda r: b"HTTP/1.1 200 OK\r\n" + forms[framing])
    with proxy(forwarding(peer.address)).client() as client:
        for _ in range(2 if minor else 1):
            answer = client.send(f"GET / HTTP/1.{minor}\r\nHost: a\r\n\r\n").response()
            assert answer.body == body


def test_head_204_and_304_have_no_body(backend, proxy):
    heads = {
        "HEAD": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        "GET": b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
        "DELETE": b"HTTP/1.1 204 No Content\r\n\r\n",
    }
    peer = backend(lambda r: heads[r.start.split()[0]])
    with proxy(forwarding(peer.address)).client() as client:
        for _ in range(3):
            assert client.get(method="HEAD").header("Content-Length") == "1000"
            assert client.get().status == 304
            client.send("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.response().header("Content-Length") is None
    assert peer.connections == 1


def test_interim_answers(backend, proxy):
    peer = backend(lambda r: b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + echo(r))
    with proxy(forwarding(peer.address)).client() as client:
        client.send(
            "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        assert client.response().status == 100
        assert client.send("hello").response().body == b"hello"
    assert peer.requests[0].header("Expect") is None


def test_a_body_that_is_too_long_is_413(backend, proxy):
    peer = backend()
    door = proxy(forwarding(peer.address, client_max_body_size=1000))
    with door.client() as client:
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n")
        assert client.response().status == 413
        client.socket.shutdown(1)
        assert client.closed()
    with door.client() as client:
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"400\r\n" + bytes(1024) + b"\r\n")
        assert client.response().status == 413


def test_a_broken_chunk_is_400_and_never_reaches_the_peer_whole(backend, proxy):
    peer = backend()
    with proxy(forwarding(peer.address)).client() as client:
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX")
        assert client.response().status == 400
    assert peer.requests == []


def test_a_truncated_answer_is_not_made_whole(backend, proxy):
    peer = backend(
        lambda r: b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\nshort"
    )
    with proxy(forwarding(peer.address)).client() as client, pytest.raises(AssertionError):
        client.get()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 2\r\n\r\nok",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000,
    ],
)
def test_a_doubtful_answer_is_502(backend, proxy, answer):
    peer = backend(lambda r: answer)
    with proxy(forwarding(peer.address)).client() as client:
        assert client.get().status == 502


def test_bytes_behind_an_answer_reach_nobody(backend, proxy):
    peer = backend(lambda r: OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    with proxy(forwarding(peer.address)).client() as client:
        for _ in range(5):
            assert client.get().body == b"ok"
    assert peer.connections == 5


def test_any_split_of_the_bytes_gives_the_same_answers(backend, proxy):
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    peer = backend(echo)
    door = proxy(forwarding(peer.address))
    stream = (
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        b"POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        b"GET /c HTTP/1.1\r\nHost: a\r\n\r\n"
    )

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.integers(1, len(stream) - 1), max_size=12))
    def check(cuts: list[int]) -> None:
        edges = [0, *sorted(set(cuts)), len(stream)]
        with Client(door.port) as client:
            client.socket.setsockopt(6, 1, 1)  # TCP_NODELAY: each piece its own segment
            for start, end in itertools.pairwise(edges):
                client.send(stream[start:end])
            assert [client.response().body for _ in range(3)] == [b"hello", b"abcde", b""]

    check()


def test_curl_agrees(backend, proxy, tmp_path):
    import subprocess

    peer = backend(echo)
    door = proxy(forwarding(peer.address, client_max_body_size=0))
    source, target = tmp_path / "up", tmp_path / "down"
    source.write_bytes(BIG[:3_000_000])
    url = f"http://127.0.0.1:{door.port}/"
    command = ["curl", "-sS", "--fail", "--noproxy", "*", "-m", str(int(PATIENCE_S) * 3)]
    command += ["--data-binary", f"@{source}", "-H", "Expect: 100-continue", "-o", str(target), url]
    subprocess.run(command, check=True)
    assert target.read_bytes() == source.read_bytes()


def test_connection_headers_may_be_several(backend, proxy):
    peer = backend()
    with proxy(forwarding(peer.address)).client() as client:
        answer = client.get(
            "/", "Connection: X-One\r\nX-One: 1\r\nConnection: X-Two\r\nX-Two: 2\r\n"
        )
        assert answer.status == 200
        answer = client.get("/", "Connection: close\r\nConnection: keep-alive\r\n")
        assert answer.header("Connection") == "close"
    assert peer.requests[0].headers == [("Host", "up")]


def test_an_early_answer_is_heard_while_the_body_still_comes(proxy):
    """A peer that refuses a body, answers and closes: the answer arrives, not a 502."""
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        with listener.accept()[0] as connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 413 Too Big\r\nContent-Length: 3\r\n\r\nbig")
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(PATIENCE_S)
            while connection.recv(1 << 16):
                pass

    thread = threading.Thread(target=refuse)
    thread.start()
    door = proxy(forwarding(f"127.0.0.1:{listener.getsockname()[1]}", client_max_body_size=0))
    with door.client() as client:
        client.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        client.send(BIG[:200_000])
        answer = client.response()
        assert (answer.status, answer.body) == (413, b"big")
        assert answer.header("Connection") == "close"
    thread.join()
    listener.close()


def test_an_endless_answer_does_not_hold_up_the_others(backend, proxy):
    """One worker; a stream that never pauses, taken as fast as it comes: others are served."""
    enough = threading.Event()
    source = socket.create_server(("127.0.0.1", 0))

    def pour() -> None:
        with source.accept()[0] as connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while not enough.is_set():
                connection.sendall(BIG[: 1 << 20])

    def take() -> None:
        with door.client() as client:
            client.send("GET /stream HTTP/1.0\r\n\r\n")
            while client.socket.recv(1 << 20):
                pass

    def make(port: int) -> Http:
        http = forwarding(backend().address)(port)
        address = f"127.0.0.1:{source.getsockname()[1]}"
        stream = Location(path="/stream", action=ProxyPass(upstream="source"))
        server = http.servers[0]
        server = server.model_copy(update={"locations": (*server.locations, stream)})
        upstreams = (*http.upstreams, Upstream(name="source", peers=(Peer(address=address),)))
        return http.model_copy(update={"servers": (server,), "upstreams": upstreams})

    door = proxy(make)
    threads = [threading.Thread(target=pour), threading.Thread(target=take)]
    for thread in threads:
        thread.start()
    try:
        with door.client() as client:
            for _ in range(50):
                assert client.get("/small").status == 200
    finally:
        enough.set()
    for thread in threads:
        thread.join()
    source.close()
