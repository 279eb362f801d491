"""The lab's client: asks for a page at a fixed rate, come what may, and says how each request went.

An open loop: request n starts n/rate seconds after the first, whether or not the earlier ones have
been answered, so a slow answer never slows the next one and an outage is as long as it looks. Each
request has a TCP connection of its own and is never repeated. It fails unless status 200 and a
known page arrive within `TIMEOUT_S`. Results are JSON lines on standard output, in the order in
which the requests end.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import socket
import sys
import time
from dataclasses import asdict, dataclass

TIMEOUT_S = 1.0
MAX_ANSWER = 64 << 10  # bytes


@dataclass(frozen=True)
class Request:
    """One request. `started_s` is on the monotonic clock (one for all processes of a machine);
    `page` is the page that came, '' for none; `error` is '' when it went well."""

    started_s: float
    latency_s: float
    page: str
    error: str

    @property
    def ok(self) -> bool:
        """Answered, in time, with the right page."""
        return not self.error

    @property
    def ended_s(self) -> float:
        """When the answer (or the failure) was there."""
        return self.started_s + self.latency_s


def read(line: str | bytes) -> Request:
    """The request that a line of the client's output tells."""
    return Request(**json.loads(line))


async def ask(address: str, port: int, pages: frozenset[str]) -> Request:
    """One request, from the connection to the judgement."""
    started = time.monotonic()
    page, error = "", ""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            page = _judge(await _fetch(address, port), pages)
    except TimeoutError:
        error = f"no answer within {TIMEOUT_S:g} s"
    except (OSError, ValueError) as failure:
        error = str(failure)
    return Request(started, time.monotonic() - started, page, error)


async def _fetch(address: str, port: int) -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setblocking(False)
        await loop.sock_connect(connection, (address, port))
        question = f"GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        await loop.sock_sendall(connection, question.encode())
        answer = b""
        while data := await loop.sock_recv(connection, 1 << 14):
            answer += data
            if len(answer) > MAX_ANSWER:
                raise ValueError("the answer is too long")
        return answer


def _judge(answer: bytes, pages: frozenset[str]) -> str:
    """The page, when it is one of `pages` with status 200. Raises ValueError."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        raise ValueError("the connection ended before the answer")
    status = head.split(b"\r\n")[0].decode(errors="replace")
    if status.split(" ")[1:2] != ["200"]:
        raise ValueError(status)
    page = body.decode(errors="replace").strip()
    if page not in pages:
        raise ValueError(f"wrong page: {page[:40]!r}")
    return page


async def run(address: str, port: int, rate: float, pages: frozenset[str], count: int) -> None:
    """Ask until SIGTERM, or `count` times (0: no end), then wait for the last answers."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    running: set[asyncio.Task[None]] = set()
    started, number = time.monotonic(), 0
    while not stop.is_set() and (count == 0 or number < count):
        task = asyncio.create_task(_report(address, port, pages))
        running.add(task)  # bounded: rate * TIMEOUT_S
        task.add_done_callback(running.discard)
        number += 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, started + number / rate - time.monotonic())):
                await stop.wait()
    if running:
        await asyncio.wait(running)


async def _report(address: str, port: int, pages: frozenset[str]) -> None:
    request = await ask(address, port, pages)
    try:
        print(json.dumps(asdict(request)), flush=True)
    except BrokenPipeError:  # nobody listens any more: the lab is gone
        signal.raise_signal(signal.SIGKILL)


def main() -> None:
    """`python -m trimaran.lab.client ADDRESS:PORT --rate 100 --page web1 --page web2`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", help="ADDRESS:PORT")
    parser.add_argument("--rate", type=float, default=100.0, help="requests per second")
    parser.add_argument("--page", action="append", required=True, help="a page that is right")
    parser.add_argument("--count", type=int, default=0, help="stop after so many")
    options = parser.parse_args()
    address, _, port = options.target.partition(":")
    asyncio.run(run(address, int(port), options.rate, frozenset(options.page), options.count))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
