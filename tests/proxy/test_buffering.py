"""Bodies that wait: requests until they are whole, answers for slow clients."""

import hashlib
import random
import socket
import threading
from pathlib import Path

import pytest
from http_wire import OK, Client, Message, nginx_conf

BIG = random.Random(11).randbytes(3 << 20)


def echo(request: Message) -> bytes:
    digest = hashlib.sha256(request.body).hexdigest().encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + digest


def forwards(address: str, location: str = "", directory: Path | str = "/nowhere"):
    return nginx_conf(f"""client_max_body_size 0; client_body_temp_path {directory};
        proxy_temp_path {directory};
        server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://{address}; {location} }} }}
        """)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [0, 1, 10_000, 20_000, 100_000, len(BIG)])
def test_a_request_is_whole_before_a_peer_is_asked(size, framing, backend, proxy, tmp_path):
    peer = backend(echo)
    body = BIG[:size]
    head = b"POST / HTTP/1.1\r\nHost: a\r\n"
    if framing == "length":
        data = head + b"Content-Length: %d\r\n\r\n" % size + body
    else:
        chunks = [body[at : at + 4000] for at in range(0, size, 4000)]
        coded = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
        data = head + b"Transfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n"
    with proxy(forwards(peer.address, directory=tmp_path / "body")).client() as client:
        client.send(data[:-1])
        if size:
            assert not peer.requests
        client.send(data[-1:])
        assert client.response().body == hashlib.sha256(body).hexdigest().encode()
        assert client.get().status == 200  # the connection goes on
    assert peer.requests[0].header("Content-Length") == str(size)
    assert not any((tmp_path / "body").iterdir()) if (tmp_path / "body").exists() else True


def test_a_long_body_goes_to_the_next_peer_too(backend, proxy, tmp_path):
    first, second = backend(lambda request: None), backend(echo)
    text = f"""client_max_body_size 0; client_body_temp_path {tmp_path}/body;
        upstream up {{ server {first.address}; server {second.address} backup; }}
        server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://up; }} }}"""
    with proxy(nginx_conf(text)).client() as client:
        client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(BIG) + BIG)
        assert client.response().body == hashlib.sha256(BIG).hexdigest().encode()
    assert [len(each.requests) for each in (first, second)] == [1, 1]


def test_without_buffering_the_body_goes_on_as_it_comes(backend, proxy):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        served = proxy(forwards(address, "proxy_request_buffering off;"))
        with served.client() as client:
            client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234")
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(10)
                got = b""
                while not got.endswith(b"01234"):
                    got += connection.recv(4096)
                client.send("56789")
                while not got.endswith(b"56789"):
                    got += connection.recv(4096)
                connection.sendall(OK)
                assert client.response().status == 200


def test_the_body_as_a_variable(backend, proxy, tmp_path):
    peer = backend()
    directives = """client_body_buffer_size 1k; add_header X-Body "$request_body";
        add_header X-File "$request_body_file";"""
    with proxy(forwards(peer.address, directives, tmp_path / "body")).client() as client:
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        assert client.response().header("X-Body") == "hello"
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n" + "x" * 2000)
        answer = client.response()
        assert answer.header("X-Body") is None
        assert (answer.header("X-File") or "").startswith(f"{tmp_path}/body/")


def test_a_body_too_long_in_chunks_is_refused_and_asks_no_peer(backend, proxy):
    peer = backend()
    text = f"""client_max_body_size 1k;
        server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://{peer.address}; }} }}"""
    with proxy(nginx_conf(text)).client() as client:
        chunk = b"400\r\n" + b"x" * 0x400 + b"\r\n"
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 3)
        assert client.response().status == 413
    assert not peer.requests


def slow_client(served, path: str = "/") -> Client:
    """One that asks and does not read."""
    client = Client(served.port, receive=1 << 16)
    client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
    return client


LONG = BIG * 8  # more than the kernel holds between us and a client with a small window


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_slow_client_does_not_hold_the_peer(framing, proxy, tmp_path):
    finished = threading.Event()
    head = {
        "length": b"Content-Length: %d\r\n" % len(LONG),
        "chunked": b"Transfer-Encoding: chunked\r\n",
        "close": b"",
    }[framing]
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
                if framing == "chunked":
                    for at in range(0, len(LONG), 65536):
                        piece = LONG[at : at + 65536]
                        connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
                    connection.sendall(b"0\r\n\r\n")
                else:
                    connection.sendall(LONG)
                finished.set()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        served = proxy(forwards(address, directory=tmp_path / "spool"))
        with slow_client(served) as client:
            assert finished.wait(30), "the peer waits for the client"
            client.socket.settimeout(30)
            answer = client.response()
            assert hashlib.sha256(answer.body).digest() == hashlib.sha256(LONG).digest()
        thread.join(10)
    assert not any((tmp_path / "spool").iterdir())


def test_without_buffering_the_peer_waits_for_the_client(proxy):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        served = proxy(forwards(address, "proxy_buffering off;"))
        with slow_client(served) as client:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.settimeout(1.0)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
                with pytest.raises(TimeoutError):  # the kernel's buffers are full, at last
                    for _ in range(1_000_000_000 // len(BIG)):
                        connection.sendall(BIG)
                client.socket.close()


def test_events_are_passed_on_one_by_one(proxy):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with slow_client(proxy(forwards(address))) as client:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n"
                )
                for number in range(5):
                    event = b"data: %d\n\n" % number
                    connection.sendall(b"%x\r\n%s\r\n" % (len(event), event))
                    got = b""
                    while event not in got:
                        got += client.socket.recv(4096)


def test_a_client_that_never_reads_is_given_up(backend, proxy, eventually):
    peer = backend(lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 25165824\r\n\r\n" + LONG)
    text = f"""send_timeout 3s; proxy_max_temp_file_size 1m;
        server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://{peer.address}; }} }}"""
    served = proxy(nginx_conf(text))
    with slow_client(served):
        eventually(lambda: served.engine.status()["upstreams"][0]["peers"][0]["active"] == 1)
        eventually(lambda: served.engine.status()["upstreams"][0]["peers"][0]["active"] == 0)
