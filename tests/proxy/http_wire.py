"""Raw HTTP over sockets for tests: a client that speaks bytes, and backends that are scripted."""

import contextlib
import io
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from trimaran.proxy.snapshot import snapshot
from trimaran.stack.http import Http, Listen, Location, Peer, ProxyPass, Server, Upstream
from trimaran.stack.nginx import read_nginx
from trimaran.system.engine import Engine, EngineError

PATIENCE_S = 30.0  # how long a test waits for what must come; never how long something takes


@dataclass
class Message:
    """One request or response. `raw` is its head's bytes."""

    start: str
    headers: list[tuple[str, str]]
    body: bytes
    raw: bytes = b""

    @property
    def status(self) -> int:
        return int(self.start.split()[1])

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(found) <= 1, f"{name} came {len(found)} times"
        return found[0] if found else None


def read_message(stream: io.BufferedReader, *, to_head: bool = False) -> Message | None:
    """The next message, or None at the end of the stream before its first byte."""
    raw = b""
    while not raw.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            assert not raw, f"ended within a head: {raw!r}"
            return None
        raw += line
    start, *lines = raw.decode("latin-1").split("\r\n")[:-2]
    message = Message(start, [tuple(line.split(": ", 1)) for line in lines], b"", raw)  # type: ignore[misc]
    response = start.startswith("HTTP/")
    bodiless = response and (to_head or message.status < 200 or message.status in (204, 304))
    if bodiless:
        return message
    length, coding = message.header("Content-Length"), message.header("Transfer-Encoding")
    if coding == "chunked":
        message.body = b"".join(iter(lambda: read_chunk(stream), b""))
    elif length is not None:
        message.body = stream.read(int(length))
        assert len(message.body) == int(length), "ended within a body"
    elif response:
        message.body = stream.read()
    return message


def read_chunk(stream: io.BufferedReader) -> bytes:
    line = stream.readline()
    assert line.endswith(b"\r\n"), "ended within a chunk"
    size = int(line.split(b";")[0], 16)
    data = stream.read(size)
    assert len(data) == size and stream.readline() == b"\r\n"
    return data


class Client:
    """A connection to the proxy."""

    def __init__(self, port: int, receive: int | None = None) -> None:
        """`receive`: how much the kernel holds of what is not read (else as much as it likes)."""
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE_S)
        if receive is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.stream = self.socket.makefile("rb")

    def send(self, data: str | bytes) -> "Client":
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)
        return self

    def response(self, *, to_head: bool = False) -> Message:
        message = read_message(self.stream, to_head=to_head)
        assert message is not None, "the proxy closed instead of answering"
        return message

    def get(self, path: str = "/", headers: str = "", method: str = "GET") -> Message:
        self.send(f"{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n")
        return self.response(to_head=method == "HEAD")

    def closed(self) -> bool:
        """Whether the proxy ended the connection, nothing more having been said."""
        try:
            return self.stream.read() == b""
        except ConnectionResetError:
            return True

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        self.socket.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Script = Callable[[Message], bytes | None]


@dataclass
class Backend:
    """Answers each request by `script` (None: close without a word) on connections it keeps."""

    script: Script = lambda request: OK
    requests: list[Message] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._open: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, AssertionError), connection:
            stream = connection.makefile("rb")
            while (request := read_message(stream)) is not None:
                self.requests.append(request)
                answer = self.script(request)
                if answer is None:
                    return
                connection.sendall(answer)
                if b"connection: close" in answer.split(b"\r\n\r\n")[0].lower():
                    return

    def hang_up(self) -> None:
        """Close every connection, go on listening."""
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()


def dead_address() -> tuple[socket.socket, str]:
    """An address that refuses connections as long as the socket lives."""
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    return holder, f"127.0.0.1:{holder.getsockname()[1]}"


def mute_address() -> tuple[list[socket.socket], str]:
    """An address that never completes a connection: its queue is full (SYNs are dropped)."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    held = [listener]
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            filler.connect(listener.getsockname())
        held.append(filler)
    return held, f"127.0.0.1:{listener.getsockname()[1]}"


class Proxy:
    """An engine on a port of its own, serving `http`."""

    def __init__(self, make_http: Callable[[int], Http], workers: int = 1) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self.listener.getsockname()[1]
        self.make_http = make_http
        try:
            self.engine = Engine(snapshot(make_http(self.port)), [self.listener], workers)
        except EngineError:
            self.listener.close()
            raise

    def client(self) -> Client:
        return Client(self.port)

    def reload(self, make_http: Callable[[int], Http] | None = None) -> None:
        """Serve by the same configuration, or another one, from the next request on."""
        self.make_http = make_http or self.make_http
        self.engine.swap(snapshot(self.make_http(self.port)))

    def close(self) -> None:
        self.engine.stop(0.0)
        self.listener.close()
        assert self.engine.status()["panics"] == 0


def forwarding(
    *peers: str | Peer, headers: tuple[tuple[str, str], ...] = (), **options: float | str | None
) -> Callable[[int], Http]:
    """An Http that forwards everything to `peers`. Options go where they belong by name."""
    action = {key: value for key, value in options.items() if key in ProxyPass.model_fields}
    server = {key: value for key, value in options.items() if key in Server.model_fields}
    whole = {key: value for key, value in options.items() if key in Http.model_fields}
    assert action.keys() | server.keys() | whole.keys() == options.keys()

    def make(port: int) -> Http:
        forward = ProxyPass.model_validate({"upstream": "up", "set_headers": headers, **action})
        listen = (Listen(address="127.0.0.1", port=port),)
        locations = (Location(path="/", action=forward),)
        members = tuple(
            peer if isinstance(peer, Peer) else Peer(address=peer, max_fails=1) for peer in peers
        )
        return Http.model_validate(
            {
                "servers": (
                    Server.model_validate({"listen": listen, "locations": locations, **server}),
                ),
                "upstreams": (Upstream(name="up", peers=members),),
                **whole,
            }
        )

    return make


def nginx_conf(text: str) -> Callable[[int], Http]:
    """The Http of what stands in an nginx.conf's http block; PORT is the proxy's own."""

    def make(port: int) -> Http:
        whole = f"http {{ access_log off; {text.replace('PORT', str(port))} }}"
        return read_nginx(whole, "/nowhere/nginx.conf")[0]

    return make
