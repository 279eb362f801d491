"""Peers that refuse, die, stall or lie; clients that stall."""

import threading

import pytest
from http_wire import OK, Message, dead_address, forwarding, mute_address

from trimaran.stack.http import ErrorPage, Http, Limits, Location, Peer, Return


def stall(gate: threading.Event):
    def script(request: Message) -> bytes | None:
        gate.wait(30)
        return None

    return script


def test_a_dead_peers_requests_go_to_the_next(backend, proxy):
    holder, dead = dead_address()
    peer = backend()
    door = proxy(forwarding(dead, peer.address))
    with holder, door.client() as client:
        for _ in range(6):
            assert client.get().body == b"ok"
        (events,) = door.engine.events()
        assert (events["name"], events["peer"]) == ("proxy.peer_down", dead)
        assert "refused" in events["cause"]
        upstream = door.engine.status()["upstreams"][0]
        assert [each["well"] for each in upstream["peers"]] == [False, True]
        assert [each["requests"] for each in upstream["peers"]] == [1, 6]


def test_a_peer_is_back_after_its_time(backend, proxy, eventually):
    fine, shaky = backend(), backend(lambda r: None)
    peers = (
        Peer(address=shaky.address, max_fails=1, fail_timeout=0.2),
        Peer(address=fine.address),
    )
    door = proxy(forwarding(*peers))
    names = []

    def events() -> list[str]:
        names.extend(event["name"] for event in door.engine.events())
        return names

    with door.client() as client:
        assert client.get().status == 200
        assert events() == ["proxy.peer_down"]
        shaky.script = lambda r: OK
        eventually(lambda: client.get().status == 200 and "proxy.peer_up" in events())


def test_all_dead_is_502(proxy):
    (one, first), (two, second) = dead_address(), dead_address()
    with one, two, proxy(forwarding(first, second)).client() as client:
        for _ in range(3):
            answer = client.get()
            assert answer.status == 502
            assert b"502 Bad Gateway" in answer.body and b"trimaran" in answer.body


def test_a_get_is_sent_again_and_a_post_is_not(backend, proxy):
    broken, fine = backend(lambda r: None), backend()
    with proxy(forwarding(broken.address, fine.address)).client() as client:
        assert client.get(method="PUT").status == 200
        assert (len(broken.requests), len(fine.requests)) == (1, 1)
    broken, fine = backend(lambda r: None), backend()
    with proxy(forwarding(broken.address, fine.address)).client() as client:
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        assert client.response().status == 502
        assert (len(broken.requests), len(fine.requests)) == (1, 0)


def test_a_post_that_was_not_sent_goes_to_the_next(backend, proxy):
    holder, dead = dead_address()
    peer = backend()
    with holder, proxy(forwarding(dead, peer.address)).client() as client:
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        assert client.response().status == 200
    assert peer.requests[0].body == b"hi"


def test_weights_are_kept(backend, proxy):
    heavy, light = backend(), backend()
    peers = (Peer(address=heavy.address, weight=3), Peer(address=light.address, weight=1))
    with proxy(forwarding(*peers)).client() as client:
        for _ in range(40):
            client.get()
    assert (len(heavy.requests), len(light.requests)) == (30, 10)


def test_backup_and_down(backend, proxy):
    holder, dead = dead_address()
    spare, out = backend(), backend()
    peers = (
        Peer(address=dead),
        Peer(address=spare.address, backup=True),
        Peer(address=out.address, down=True),
    )
    with holder, proxy(forwarding(*peers)).client() as client:
        for _ in range(3):
            assert client.get().status == 200
    assert (len(spare.requests), len(out.requests)) == (3, 0)


def test_a_peer_that_does_not_answer_is_504(backend, proxy):
    gate = threading.Event()
    peer = backend(stall(gate))
    door = proxy(forwarding(peer.address, read_timeout=0.3))
    with door.client() as client:
        assert client.get().status == 504
        assert client.get().status == 504  # and the client's connection goes on
    gate.set()
    assert "timed out" in door.engine.events()[0]["cause"]


def test_a_peer_that_does_not_accept_is_504(proxy):
    held, mute = mute_address()
    with proxy(forwarding(mute, connect_timeout=0.3)).client() as client:
        assert client.get().status == 504
    for each in held:
        each.close()


def test_a_stalled_peers_request_goes_to_the_next(backend, proxy):
    gate = threading.Event()
    slow, fine = backend(stall(gate)), backend()
    with proxy(forwarding(slow.address, fine.address, read_timeout=3.0)).client() as client:
        assert client.get().body == b"ok"
    gate.set()
    assert (len(slow.requests), len(fine.requests)) == (1, 1)


def test_a_peer_that_stalls_within_its_answer_ends_the_connection(backend, proxy):
    peer = backend(lambda r: b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    door = proxy(forwarding(peer.address, read_timeout=0.3))
    with door.client() as client, pytest.raises(AssertionError, match="within a body"):
        client.get()


def test_slow_heads_are_408(backend, proxy):
    peer = backend()
    door = proxy(forwarding(peer.address, limits=Limits(header_timeout=2.5)))
    with door.client() as client:
        client.send("GET / HTTP/1.1\r\nHost: a\r\n")
        assert client.response().status == 408
    with door.client() as client:
        assert client.closed()  # not a byte came: nothing to answer


def test_trickling_does_not_buy_time(backend, proxy):
    peer = backend()
    door = proxy(forwarding(peer.address, limits=Limits(header_timeout=2.5)))
    with door.client() as client:
        client.send("GET / HTTP/1.1\r\nHost: a\r\n")
        client.socket.settimeout(0.05)
        for _ in range(1000):
            try:
                client.send("A: b\r\n")
                if client.socket.recv(4096):
                    return  # 408 came
            except TimeoutError:
                continue
        pytest.fail("a head that trickles in for ever is waited for")


def test_slow_bodies_are_408(backend, proxy):
    peer = backend()
    with proxy(forwarding(peer.address, client_body_timeout=0.3)).client() as client:
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        assert client.response().status == 408


def test_idle_connections_end(backend, proxy):
    peer = backend()
    with proxy(forwarding(peer.address, keepalive_timeout=0.3)).client() as client:
        assert client.get().status == 200
        assert client.closed()


def test_a_client_that_leaves_frees_the_peer(backend, proxy, eventually):
    gate = threading.Event()
    peer = backend(stall(gate))
    door = proxy(forwarding(peer.address))
    with door.client() as client:
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually(lambda: len(peer.requests) == 1)
    eventually(lambda: door.engine.status()["responses"] == {"4xx": 1})
    gate.set()


def test_error_pages(backend, proxy):
    holder, dead = dead_address()
    pages = {
        "kept": (None, 502),
        "replaced": (503, 503),
        "from the page": (0, 200),
    }
    for answer, status in pages.values():

        def make(port: int, answer: int | None = answer) -> Http:
            http = forwarding(dead)(port)
            page = ErrorPage(statuses=(502, 504), uri="/50x", answer=answer)
            (server,) = http.servers
            forward = server.locations[0].model_copy(update={"error_pages": (page,)})
            text = Return(status=200, text="sorry")
            fifty = Location(match="=", path="/50x", internal=True, action=text)
            server = server.model_copy(update={"locations": (forward, fifty)})
            return http.model_copy(update={"servers": (server,)})

        with proxy(make).client() as client:
            got = client.get()
            assert (got.status, got.body) == (status, b"sorry")
            assert client.get("/50x").status == 404  # internal
    holder.close()
