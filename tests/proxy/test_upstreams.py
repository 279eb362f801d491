"""Peers: who is chosen, who sticks to whom, who waits, and what the probes say."""

import socket
import threading
import time

import pytest
from http_wire import OK, Client, Message, dead_address, nginx_conf

from trimaran.system.engine import EngineError


def named(name: bytes, cookie: str = ""):
    """A backend's script: it answers with its name, and starts a session if it is asked to."""
    line = f"Set-Cookie: {cookie}\r\n".encode() if cookie else b""

    def answer(request: Message) -> bytes:
        head = b"HTTP/1.1 200 OK\r\n" + line
        return head + b"Content-Length: %d\r\n\r\n" % len(name) + name

    return answer


CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na"


def served_by(client: Client, count: int, headers: str = "", path: str = "/") -> str:
    return "".join(client.get(path, headers).body.decode() for _ in range(count))


def two(backend, proxy, upstream: str, location: str = "", how: str = ""):
    """(proxy, a, b): an upstream of two peers, that answer 'a' and 'b'."""
    a, b = backend(named(b"a")), backend(named(b"b"))
    text = f"""upstream up {{ {upstream} server {a.address} {how}; server {b.address} {how}; }}
        server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://up; {location} }} }}"""
    return proxy(nginx_conf(text)), a, b


def test_failures_add_up_although_others_succeed(backend, proxy):
    answers = iter([True, True, False] * 40)
    flaky = backend(lambda request: CLOSING if next(answers) else None)
    steady = backend(named(b"b"))
    text = f"""upstream up {{ server {flaky.address} max_fails=3 fail_timeout=1h;
                              server {steady.address} max_fails=3 fail_timeout=1h; }}
        server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://up; }} }}"""
    with proxy(nginx_conf(text)).client() as client:
        assert served_by(client, 30).count("a") == 6  # its 3rd, 6th and 9th fail: then it is out


def test_what_the_probes_say_holds_through_a_reload(backend, proxy):
    served, a, _ = two(backend, proxy, "", how="max_fails=0")
    with served.client() as client:
        served.engine.set_peer("up", a.address, "down")
        assert served_by(client, 4) == "bbbb"
        served.reload()
        assert served_by(client, 4) == "bbbb"
        peers = served.engine.status()["upstreams"][0]["peers"]
        assert [peer["state"] for peer in peers] == ["unhealthy", "up"]
        served.engine.set_peer("up", a.address, "drain")
        assert served_by(client, 4) == "bbbb"
        served.engine.set_peer("up", a.address, "up")
        assert sorted(served_by(client, 4)) == list("aabb")
    with pytest.raises(EngineError, match="no peer 'nobody'"):
        served.engine.set_peer("up", "nobody", "up")
    causes = [(event["name"], event["cause"]) for event in served.engine.events()]
    assert causes == [
        ("proxy.peer_down", "its probes say so"),
        ("proxy.peer_up", "its probes say so"),
    ]


def test_a_cookie_of_ours_names_the_peer(backend, proxy):
    served, _, _ = two(backend, proxy, "sticky cookie peer expires=1h path=/ httponly;")
    with served.client() as client:
        answer = client.get()
        cookie = answer.header("Set-Cookie")
        assert cookie and cookie.startswith("peer=") and "; httponly; path=/" in cookie
        mine = cookie.partition(";")[0]
        assert served_by(client, 5, f"Cookie: {mine}\r\n") == answer.body.decode() * 5
        assert sorted(served_by(client, 4)) == list("aabb")


def test_a_route_names_the_peer_even_while_it_drains(backend, proxy):
    a, b = backend(named(b"a")), backend(named(b"b"))
    text = f"""upstream up {{ server {a.address} route=x drain; server {b.address} route=y;
                              sticky route $arg_to; }}
        server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://up; }} }}"""
    with proxy(nginx_conf(text)).client() as client:
        assert served_by(client, 3) == "bbb"
        assert served_by(client, 3, path="/?to=x") == "aaa"


def test_sessions_are_learnt_and_survive_a_reload(backend, proxy):
    a, b = backend(named(b"a", "sid=1")), backend(named(b"b", "sid=2"))
    text = f"""upstream up {{ server {a.address}; server {b.address};
            sticky learn zone=z:1m create=$upstream_cookie_sid lookup=$cookie_sid; }}
        server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://up; }} }}"""
    served = proxy(nginx_conf(text))
    with served.client() as client:
        assert sorted(served_by(client, 2)) == ["a", "b"]
        assert served_by(client, 4, "Cookie: sid=2\r\n") == "bbbb"
        served.reload()
        assert served_by(client, 4, "Cookie: sid=1\r\n") == "aaaa"


def test_a_request_waits_in_the_queue_for_a_peer(backend, proxy):
    may_answer = threading.Event()

    def slow(request: Message) -> bytes:
        may_answer.wait(10)
        return OK

    peer = backend(slow)
    text = f"""upstream up {{ server {peer.address} max_conns=1; queue 2 timeout=1h; }}
        server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://up; }} }}"""
    served = proxy(nginx_conf(text), workers=2)
    clients = [served.client() for _ in range(4)]
    for client in clients:
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    # One is served, two wait, one is one too many.
    refused = _first_answered(clients)
    assert refused.response().status == 502
    may_answer.set()
    for client in clients:
        if client is not refused:
            assert client.response().status == 200
    for client in clients:
        client.socket.close()


def _first_answered(clients: list[Client]) -> Client:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for client in clients:
            client.socket.settimeout(0.02)
            try:
                if client.socket.recv(1, socket.MSG_PEEK):
                    client.socket.settimeout(10)
                    return client
            except TimeoutError:
                pass
            client.socket.settimeout(10)
    raise AssertionError("nobody was answered")


def test_the_queue_is_left_when_its_time_is_up(backend, proxy):
    held = threading.Event()
    peer = backend(lambda request: OK if held.wait(10) else None)
    text = f"""upstream up {{ server {peer.address} max_conns=1; queue 2 timeout=50ms; }}
        server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://up; }} }}"""
    served = proxy(nginx_conf(text))
    with served.client() as first, served.client() as second:
        first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        while not peer.requests:
            time.sleep(0.005)
        assert second.get().status == 502
        held.set()
        assert first.response().status == 200


def test_a_connection_is_worn_out_by_its_requests(backend, proxy):
    peer = backend()
    text = f"""upstream up {{ server {peer.address}; keepalive_requests 3; }}
        server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://up; }} }}"""
    with proxy(nginx_conf(text)).client() as client:
        for _ in range(7):
            client.get()
    assert peer.connections == 3


def test_a_unix_socket_is_a_peer(tmp_path, proxy):
    path = str(tmp_path / "peer.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        text = f"""server {{ listen 127.0.0.1:PORT;
            location / {{ proxy_pass http://unix:{path}:/x; }} }}"""
        with proxy(nginx_conf(text)).client() as client:
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(4096).startswith(b"GET /x HTTP/1.1\r\nHost: localhost\r\n")
                connection.sendall(OK)
                assert client.response().body == b"ok"


def test_proxy_bind_chooses_our_end(proxy):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        text = f"""server {{ listen 127.0.0.1:PORT; location / {{
            proxy_bind $arg_from; proxy_pass http://127.0.0.1:{port}; }} }}"""
        with proxy(nginx_conf(text)).client() as client:
            client.send("GET /?from=127.0.0.7 HTTP/1.1\r\nHost: a\r\n\r\n")
            connection, address = listener.accept()
            with connection:
                assert address[0] == "127.0.0.7"
                connection.recv(4096)
                connection.sendall(OK)
                assert client.response().status == 200


def test_the_peer_says_where_the_answer_is(backend, proxy):
    def elsewhere(request: Message) -> bytes:
        target = request.start.partition("to=")[2].split()[0]
        return OK.replace(
            b"\r\n\r\n",
            f"\r\nX-Accel-Redirect: {target}\r\nSet-Cookie: a=b\r\nX-Other: 1\r\n\r\n".encode(),
        )

    peer = backend(elsewhere)
    text = f"""server {{ listen 127.0.0.1:PORT;
        location / {{ proxy_pass http://{peer.address}; }}
        location /ignored {{ proxy_ignore_headers X-Accel-Redirect;
                             proxy_pass http://{peer.address}; }}
        location /inner {{ internal; return 200 "inner $uri"; }} }}"""
    with proxy(nginx_conf(text)).client() as client:
        answer = client.get("/?to=/inner/a%20b")
        assert (answer.body, answer.header("Set-Cookie")) == (b"inner /inner/a b", "a=b")
        assert answer.header("X-Other") is None
        assert client.get("/inner/a").status == 404
        assert client.get("/?to=/inner/%2e%2e/etc").status == 404
        assert client.get("/ignored?to=/inner").body == b"ok"


def test_cookies_get_flags(backend, proxy):
    peer = backend(lambda request: OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: a=b; Secure\r\n\r\n"))
    text = f"""server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://{peer.address};
        proxy_cookie_flags ~^a$ nosecure httponly samesite=lax; }} }}"""
    with proxy(nginx_conf(text)).client() as client:
        assert client.get().header("Set-Cookie") == "a=b; HttpOnly; SameSite=Lax"


def test_nobody_is_left(backend, proxy):
    holder, dead = dead_address()
    text = f"""log_format tries $upstream_addr;
        upstream up {{ server {dead} max_fails=1; server {dead} max_fails=1; }}
        server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://up;
            add_header X-Tried $upstream_addr always; }} }}"""
    with holder, proxy(nginx_conf(text)).client() as client:
        assert client.get().header("X-Tried") == f"{dead}, {dead}"
        assert client.get().header("X-Tried") == "up"  # all are out: the group has nobody


def test_retries_are_a_share_of_the_requests(backend, proxy):
    failing, steady = backend(lambda request: None), backend()
    text = f"""upstream up {{ retry_budget 10%; server {failing.address} max_fails=0;
                              server {steady.address} max_fails=0; }}
        server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://up; }} }}"""
    with proxy(nginx_conf(text)).client() as client:
        statuses = [client.get().status for _ in range(100)]
    # Ten are saved up, and a hundred requests give ten more; the rest of the failures stay.
    assert set(statuses) == {200, 502}
    retries = len(steady.requests) - (100 - len(failing.requests))
    assert 15 <= retries <= 21, retries


def test_what_a_peer_is_read_at(backend, proxy):
    body = b"x" * 30_000
    peer = backend(lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n" + body)
    text = f"""server {{ listen 127.0.0.1:PORT; location / {{ proxy_pass http://{peer.address};
        proxy_limit_rate 10k; }} }}"""
    with proxy(nginx_conf(text)).client() as client:
        begin = time.monotonic()
        assert client.get().body == body
        assert time.monotonic() - begin > 1.5  # 10 KB at once and 10 KB a second from then on
