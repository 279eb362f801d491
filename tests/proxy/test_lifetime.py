"""What an engine does over its life: several workers, a swap, a graceful stop, the log."""

import contextlib
import re
import threading

import pytest
from http_wire import OK, Client, Message, forwarding

from trimaran.proxy.snapshot import snapshot
from trimaran.stack.http import Http, Listen, Location, Return, Server
from trimaran.system.engine import EngineError


def echo_path(request: Message) -> bytes:
    path = request.start.split()[1].encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(path) + path


class Load:
    """Clients that ask on and on, on kept connections, until theirs are closed for good. A request
    is lost when it was sent and got neither an answer nor, before its first byte, a refusal."""

    def __init__(self, port: int, clients: int) -> None:
        self.answered = self.lost = 0
        self._port, self._lock = port, threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self, number: int) -> None:
        serial = 0
        with contextlib.suppress(ConnectionRefusedError):
            while True:
                with Client(self._port) as client:
                    while True:
                        serial += 1
                        try:
                            answer = client.get(f"/{number}/{serial}")
                            assert answer.body == b"/%d/%d" % (number, serial)
                        except (AssertionError, OSError):
                            with self._lock:
                                self.lost += 1
                            return
                        with self._lock:
                            self.answered += 1
                        if answer.header("Connection") == "close":
                            break

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_graceful_stop_under_load_loses_nothing(backend, proxy, eventually, workers):
    peer = backend(echo_path)
    door = proxy(forwarding(peer.address), workers)
    load = Load(door.port, 8)
    eventually(lambda: load.answered > 200)
    door.listener.close()  # the last holder but the engine: its port closes with it
    door.engine.stop(10.0)
    load.join()
    assert load.lost == 0
    counted = door.engine.status()
    assert counted["requests"] == load.answered


def test_a_stop_finishes_what_runs_and_is_bounded(backend, proxy, eventually):
    gate = threading.Event()

    def slow(request: Message) -> bytes:
        gate.wait(30)
        return OK

    peer = backend(slow)
    door = proxy(forwarding(peer.address))
    with door.client() as client:
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually(lambda: len(peer.requests) == 1)
        stopping = threading.Thread(target=door.engine.stop, args=(20.0,))
        stopping.start()
        gate.set()
        answer = client.response()
        assert (answer.status, answer.header("Connection")) == (200, "keep-alive")
        stopping.join()
        assert client.closed()
    gate.clear()
    door = proxy(forwarding(peer.address))
    with door.client() as client:
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        eventually(lambda: len(peer.requests) == 2)
        door.engine.stop(0.2)  # returns although the peer has not answered
        assert client.closed()
    gate.set()


def test_a_swap_closes_nothing(backend, proxy, eventually):
    old, new = backend(), backend()
    door = proxy(forwarding(old.address))
    with door.client() as client:
        assert client.get().status == 200
        door.engine.swap(snapshot(forwarding(new.address)(door.port)))
        eventually(lambda: client.get().status == 200 and len(new.requests) > 0)
    assert door.engine.status()["connections"] == 1


def test_a_bad_swap_changes_nothing(backend, proxy):
    peer = backend()
    door = proxy(forwarding(peer.address))
    bad = forwarding(peer.address, headers=(("A", "$nonsense"),))(door.port)
    with pytest.raises(EngineError, match="nonsense"):
        door.engine.swap(snapshot(bad))
    with door.client() as client:
        assert client.get().status == 200


def test_a_swap_under_load_loses_nothing(backend, proxy, eventually):
    peer, other = backend(echo_path), backend(echo_path)
    door = proxy(forwarding(peer.address), 2)
    load = Load(door.port, 4)
    for count in range(1, 6):
        goal = count * 50
        eventually(lambda goal=goal: load.answered > goal)
        targets = (peer.address, other.address) if count % 2 else (other.address,)
        door.engine.swap(snapshot(forwarding(*targets)(door.port)))
    door.listener.close()
    door.engine.stop(10.0)
    load.join()
    assert load.lost == 0
    assert len(other.requests) > 0


def test_the_access_log_is_nginxs_combined(proxy, tmp_path):
    log = tmp_path / "access.log"

    def make(port: int) -> Http:
        listen = (Listen(address="127.0.0.1", port=port),)
        location = Location(path="/", action=Return(status=200, text="hello"))
        server = Server(listen=listen, locations=(location,), access_log=str(log))
        return Http(servers=(server,))

    door = proxy(make)
    with door.client() as client:
        client.get("/a?b", 'Referer: http://x/\r\nUser-Agent: me "\\\xff\t\r\n')
        client.send("nonsense\r\n\r\n").response()
    door.engine.stop(5.0)
    first, second = log.read_text().splitlines()
    when = r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"
    fields = r'127\.0\.0\.1 - - %s "%s" %d \d+ "%s" "%s"'
    agent = r"me \\x22\\x5C\\xFF"
    assert re.fullmatch(fields % (when, r"GET /a\?b HTTP/1\.1", 200, "http://x/", agent), first)
    assert re.fullmatch(fields % (when, "nonsense", 400, "-", "-"), second)
