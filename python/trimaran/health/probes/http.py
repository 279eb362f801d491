"""Well when an HTTP answer has the status, the digest, the text or the value that is wanted.

A request is a few lines, written here as keepalived writes them (HTTP/1.0 too, which clients do not
offer any more); the answer is parsed by llhttp.
"""

import hashlib
import json
from typing import Any

import httptools

from trimaran.health.probes.errors import ProbeError
from trimaran.health.probes.patterns import found
from trimaran.health.probes.streams import stream
from trimaran.health.settings import CheckSettings, HttpProbe

LONGEST = 4 << 20  # bytes of an answer
PIECE = 65536


async def probe(check: CheckSettings, asked: HttpProbe) -> None:
    """Ask, read the whole answer, compare. Raises ProbeError."""
    status, body = await fetch(check, asked)
    if not any(low <= status <= high for low, high in asked.status):
        raise ProbeError(f"status {status}, not {_ranges(asked)}")
    if asked.digest is not None:
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        if digest != asked.digest:
            raise ProbeError(f"digest {digest}, not {asked.digest}")
    if asked.regex is not None:
        there = found(asked.regex, body)
        if there == asked.regex.absent:
            word = "is" if there else "is not"
            raise ProbeError(f"'{asked.regex.pattern}' {word} in the body")
    if asked.json_value:
        _compare(body, asked)


async def fetch(check: CheckSettings, asked: HttpProbe) -> tuple[int, bytes]:
    """The status, and the body as it is without its transfer coding. Raises ProbeError."""
    async with stream(check.target, asked.tls) as (reader, writer):
        writer.write(request(check, asked))
        answer = _Answer()
        while not answer.complete:
            data = await reader.read(PIECE)
            if not data:
                answer.ended()
                break
            answer.feed(data)
    return answer.status, bytes(answer.body)


def request(check: CheckSettings, asked: HttpProbe) -> bytes:
    """The bytes of the request."""
    port = check.target.port
    usual = port == (443 if asked.tls else 80)
    host = asked.host or (str(check.target.address) if usual else f"{check.target.address}:{port}")
    headers = {"User-Agent": "Trimaran", "Host": host, "Accept": "*/*"}
    if asked.version != "1.0":
        headers["Connection"] = "close"
    body = asked.body.encode() if asked.body is not None else b""
    if asked.body is not None or asked.method in ("POST", "PUT", "PATCH"):
        headers["Content-Length"] = str(len(body))
    given = {name.lower() for name, _ in asked.headers}
    lines = [f"{asked.method} {asked.path} HTTP/{asked.version[:3]}"]
    lines += [f"{name}: {value}" for name, value in headers.items() if name.lower() not in given]
    lines += [f"{name}: {value}" for name, value in asked.headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Answer:
    """One final answer, however many interim ones (1xx) come before it."""

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()
        self.complete = False
        self._size = 0
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """More bytes. Raises ProbeError."""
        self._size += len(data)
        if self._size > LONGEST:
            raise ProbeError(f"the answer is longer than {LONGEST >> 20} MiB")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.complete = True
        except httptools.HttpParserError as error:
            if not self.complete:  # what comes after the answer is not asked for
                raise ProbeError(f"no HTTP: {str(error).lower()}") from error

    def ended(self) -> None:
        """The server closed: the end of a body without a length, or too early. Raises
        ProbeError."""
        if not self._size:
            raise ProbeError("closed without an answer")
        if self.status == 0 or not self._until_end:
            raise ProbeError("closed within the answer")

    _until_end = False

    # what httptools calls

    def on_message_begin(self) -> None:
        self._until_end = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._has_length = True

    _has_length = False

    def on_headers_complete(self) -> None:
        if not self.complete:
            self.status = self._parser.get_status_code()
            self._until_end = not self._has_length
            self._has_length = False

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self.body += data

    def on_message_complete(self) -> None:
        self.complete = self.complete or self.status >= 200


def _ranges(asked: HttpProbe) -> str:
    return " ".join(str(low) if low == high else f"{low}-{high}" for low, high in asked.status)


def _compare(body: bytes, asked: HttpProbe) -> None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProbeError(f"the body is no JSON: {error}") from error
    for path, wanted in asked.json_value:
        value = _at(document, path)
        if (type(value) is not type(wanted) and not _numbers(value, wanted)) or value != wanted:
            raise ProbeError(f"{path} is {_shown(value)}, not {json.dumps(wanted)}")


def _numbers(value: Any, wanted: Any) -> bool:
    return all(type(each) in (int, float) for each in (value, wanted))


def _at(document: Any, path: str) -> Any:
    """'checks.0.state' of a document. Raises ProbeError."""
    for part in path.split("."):
        try:
            document = document[int(part)] if isinstance(document, list) else document[part]
        except (LookupError, TypeError, ValueError):
            raise ProbeError(f"the body has no {path}") from None
    return document


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
