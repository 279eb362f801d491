"""HTTP checks: against servers that behave, and against those that do not."""
# ruff: noqa: E501 - golden texts stay on one line

import asyncio
import hashlib
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from asking import asked, check
from servers import (
    Talk,
    closing,
    dripping,
    endless,
    free_port,
    resetting,
    saying,
    serving,
    silent,
)

from trimaran.health.probes.http import LONGEST, request
from trimaran.health.settings import HttpProbe, Regex, Tls
from trimaran.health.verdict import Outcome

GOOD = Outcome()
PAGE = b"<html>all is well, 42 of 42</html>\n"


def answer(body: bytes = PAGE, status: str = "200 OK", head: str = "") -> bytes:
    length = f"Content-Length: {len(body)}\r\n"
    return f"HTTP/1.1 {status}\r\n{length}{head}\r\n".encode() + body


def page(**options: object) -> Talk:
    return saying(answer(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("version", ["1.0", "1.0C", "1.1"])
def test_a_page_is_well(version: str) -> None:
    assert asked(serving(page()), HttpProbe(version=version)) == GOOD


def test_the_request_is_keepalived_s_in_its_three_versions() -> None:
    def lines(**options: object) -> list[str]:
        probe = HttpProbe(**options)  # type: ignore[arg-type]
        return request(check(8080, probe), probe).decode().split("\r\n")

    assert lines(version="1.0", path="/a", host="www.example") == [
        "GET /a HTTP/1.0", "User-Agent: Trimaran", "Host: www.example", "Accept: */*", "", "",
    ]  # fmt: skip
    assert lines(version="1.0C")[0::4][:2] == ["GET / HTTP/1.0", "Connection: close"]
    assert lines()[2] == "Host: 127.0.0.1:8080"
    given = lines(method="POST", body="hé", headers=(("host", "x"), ("X-A", "b")))
    assert given[0] == "POST / HTTP/1.1" and "Host: 127.0.0.1:8080" not in given
    assert given[-5:] == ["Content-Length: 3", "host: x", "X-A: b", "", "hé"]


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            b"abcde",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"after"), b"after"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
def test_every_form_of_a_body_is_read(raw: bytes, body: bytes) -> None:
    digest = hashlib.md5(body).hexdigest()
    assert asked(serving(saying(raw)), HttpProbe(digest=digest)) == GOOD


CONTENT = [
    (HttpProbe(status=((200, 200), (301, 302))), answer(status="302 Found"), GOOD),
    (HttpProbe(), answer(status="503 Busy"), "status 503, not 200-299"),
    (HttpProbe(status=((200, 204), (404, 404))), answer(status="500 No"), "status 500, not 200-204 404"),
    (HttpProbe(digest="0" * 32), answer(b"x"), f"digest {hashlib.md5(b'x').hexdigest()}, not {'0' * 32}"),
    (HttpProbe(regex=Regex(r"(\d+) of \1")), answer(), GOOD),
    (HttpProbe(regex=Regex("ALL IS", ("caseless",))), answer(), GOOD),
    (HttpProbe(regex=Regex("all.*html", ("dotall",))), answer(b"all\nhtml"), GOOD),
    (HttpProbe(regex=Regex("broken")), answer(), "'broken' is not in the body"),
    (HttpProbe(regex=Regex("well", absent=True)), answer(), "'well' is in the body"),
    (HttpProbe(regex=Regex("well", min_offset=20)), answer(), "'well' is not in the body"),
    (HttpProbe(regex=Regex("well", max_offset=5)), answer(), "'well' is not in the body"),
    (HttpProbe(json_value=(("a.1.b", True), ("n", 2))), answer(b'{"a":[0,{"b":true}],"n":2.0}'), GOOD),
    (HttpProbe(json_value=(("a", 1),)), answer(b'{"a":true}'), "a is true, not 1"),
    (HttpProbe(json_value=(("a.b", 1),)), answer(b'{"a":[]}'), "the body has no a.b"),
    (HttpProbe(json_value=(("a", 1),)), answer(b"<html>"), "the body is no JSON: Expecting value: line 1 column 1 (char 0)"),
]  # fmt: skip


@pytest.mark.parametrize(("probe", "raw", "expected"), CONTENT)
def test_what_the_answer_must_have(probe: HttpProbe, raw: bytes, expected: object) -> None:
    assert asked(serving(saying(raw)), probe) == expected


HOSTILE = [
    (silent, "no answer within 0.4 s"),
    (closing, "closed without an answer"),
    (resetting, "connection reset by peer"),
    (dripping(b"HTTP/1.1 200 OK\r\n"), "no answer within 0.4 s"),
    (dripping(answer()), "no answer within 0.4 s"),
    (saying(b"SSH-2.0-OpenSSH_9\r\n"), "no HTTP: "),
    (saying(bytes(range(256))), "no HTTP: "),
    (saying(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort"), "closed within the answer"),
    (saying(b"HTTP/1.1 200 OK\r\nContent-Le"), "closed within the answer"),
    (saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "no HTTP: invalid"),
]  # fmt: skip


@pytest.mark.parametrize(("talk", "expected"), HOSTILE, ids=[each for _, each in HOSTILE])
def test_hostile_servers_fail_in_time(talk: Talk, expected: str) -> None:
    said = asked(serving(talk), HttpProbe(), 0.4)
    assert isinstance(said, str) and said.startswith(expected)


@pytest.mark.parametrize(
    "first", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n"]
)
def test_an_answer_for_ever_is_bounded_in_bytes(first: bytes) -> None:
    piece = b"a" * 65536 if first.endswith((b"\n\r\n", b" ")) else b"A: b\r\n" * 10000
    assert asked(serving(endless(first, piece)), HttpProbe(), 20) == (
        f"the answer is longer than {LONGEST >> 20} MiB"
    )


def test_a_pattern_without_end_is_stopped() -> None:
    probe = HttpProbe(regex=Regex(r"(a|aa)+$"))
    said = asked(serving(page(body=b"a" * 5000 + b"b")), probe)
    assert said == "searching for '(a|aa)+$' took more than 100 ms"


def test_nobody_there() -> None:
    assert asked(free_port(), HttpProbe()) == "connection refused"


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "9", "-subj", "/CN=www.example", "-addext",
         "subjectAltName=DNS:www.example", "-keyout", place, "-out", f"{place}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    place.write_text(place.read_text() + Path(f"{place}.crt").read_text())
    return place


def tls_server(certificate: Path, names: list[str | None] | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if names is not None:
        context.sni_callback = lambda connection, name, _context: names.append(name)
    return context


def test_tls_verifies_only_when_asked(certificate: Path) -> None:
    own = f"{certificate}.crt"
    cases: list[tuple[Tls, object]] = [
        (Tls(), GOOD),
        (Tls(server_name="www.example", verify=True, ca=own), GOOD),
        (Tls(server_name="www.example", verify=True, ca=own, min_days=5), GOOD),
        (Tls(server_name="www.example", verify=True), "self-signed certificate"),
        (Tls(server_name="other.example", verify=True, ca=own), "Hostname mismatch"),
        (Tls(server_name="www.example", verify=True, ca=own, min_days=30), "the certificate ends in"),
        (Tls(verify=False, ca="/nonexistent"), "no such file or directory"),
    ]  # fmt: skip
    for tls, expected in cases:
        said = asked(serving(page(), ssl=tls_server(certificate)), HttpProbe(tls=tls))
        assert said == expected if expected == GOOD else str(expected) in str(said), tls


def test_the_server_name_is_sent_when_it_is_there(certificate: Path) -> None:
    names: list[str | None] = []
    server = tls_server(certificate, names)
    for name in ("www.example", None):
        probe = HttpProbe(tls=Tls(server_name=name))
        assert asked(serving(page(), ssl=server), probe) == GOOD
    assert names == ["www.example", None]


def test_tls_with_somebody_who_speaks_none() -> None:
    probe = HttpProbe(tls=Tls())
    assert "wrong version number" in str(asked(serving(page()), probe))
    assert asked(serving(silent), probe, 0.4) == "no answer within 0.4 s"
    assert asked(serving(closing), probe) == "the connection ended too early"


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found"])
def test_our_digest_tool_and_keepalived_s_agree(status: str) -> None:
    """Both tools, of the same page."""

    async def said_by(*command: str) -> str:
        tool = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await tool.communicate()
        return said.decode()

    async def both() -> tuple[str, str]:
        raw = f"HTTP/1.0 {status}\r\nServer: x\r\n\r\n".encode() + PAGE
        async with serving(saying(raw)) as port:
            ours = await said_by(
                sys.executable, "-c", "from trimaran.cli.main import main; main()",
                "digest", f"http://127.0.0.1:{port}/page?x", "--version", "1.0",
            )  # fmt: skip
            theirs = await said_by("genhash", "-s", "127.0.0.1", "-p", str(port), "-u", "/page?x")
        return ours, theirs

    ours, theirs = asyncio.run(both())
    digest = hashlib.md5(PAGE).hexdigest()
    assert ours.split("\n")[:2] == [digest, f"status {status[:3]}, {len(PAGE)} bytes"]
    assert digest in theirs
