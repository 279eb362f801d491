"""What a backend might read differently than we do is refused, and the connection ends."""

import pytest
from http_wire import forwarding

REFUSED = {
    "length and coding": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "same length twice": "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "list of lengths": "Content-Length: 5, 5\r\n\r\nhello",
    "signed length": "Content-Length: +5\r\n\r\nhello",
    "negative length": "Content-Length: -5\r\n\r\n",
    "hexadecimal length": "Content-Length: 0x5\r\n\r\nhello",
    "empty length": "Content-Length: \r\n\r\n",
    "endless length": "Content-Length: 99999999999999999999\r\n\r\n",
    "other coding": "Transfer-Encoding: gzip\r\n\r\n",
    "coding list": "Transfer-Encoding: gzip, chunked\r\n\r\n",
    "identity": "Transfer-Encoding: identity\r\n\r\n",
    "coding with a vertical tab": "Transfer-Encoding: \x0bchunked\r\n\r\n",
    "two codings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "folded line": "A: b\r\n c\r\n\r\n",
    "space before the colon": "Content-Length : 5\r\n\r\nhello",
    "no colon": "Nonsense\r\n\r\n",
    "empty name": ": x\r\n\r\n",
    "bare CR": "A: b\rContent-Length: 5\r\n\r\n",
    "NUL": "A: b\0c\r\n\r\n",
    "control in a name": "A\x01: b\r\n\r\n",
    "two hosts": "Host: b\r\n\r\n",
    "too many headers": "A: b\r\n" * 1001 + "\r\n",
    "line too long": "A: " + "x" * 9000 + "\r\n\r\n",
}

LINES = {
    "no host": ("GET / HTTP/1.1\r\n\r\n", 400),
    "empty line of words": ("\r\nGET\r\n\r\n", 400),
    "no version": ("GET /\r\nHost: a\r\n\r\n", 400),
    "unknown version": ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    "two spaces": ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "space in the target": ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "control in the target": ("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "relative target": ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "asterisk": ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "above the root": ("GET /../a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "encoded NUL": ("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "connect": ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "trace": ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "target too long": ("GET /" + "x" * 9000 + " HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "host with a slash": ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    "host with a bad port": ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
    "coding in 1.0": ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "TLS": ("\x16\x03\x01\x02\0\x01\0", 400),
}


@pytest.mark.parametrize("name", REFUSED)
def test_smuggling_shapes_are_refused(backend, proxy, name):
    peer = backend()
    with proxy(forwarding(peer.address)).client() as client:
        client.send(f"POST / HTTP/1.1\r\nHost: a\r\n{REFUSED[name]}")
        client.send("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = client.response()
        assert (answer.status, answer.header("Connection")) == (400, "close")
        client.socket.shutdown(1)
        assert client.closed()
    assert peer.requests == []


@pytest.mark.parametrize("name", LINES)
def test_bad_request_lines_are_refused(backend, proxy, name):
    peer = backend()
    text, status = LINES[name]
    with proxy(forwarding(peer.address)).client() as client:
        client.send(text)
        assert client.response().status == status
        client.socket.shutdown(1)
        assert client.closed()
    assert peer.requests == []


@pytest.mark.parametrize(
    "chunks", ["x\r\n", "5\nhello", "5\r\nhelloXX", "-1\r\n", "5 \r\n", "\r\n"]
)
def test_bad_chunks_are_refused(backend, proxy, chunks):
    peer = backend()
    with proxy(forwarding(peer.address)).client() as client:
        client.send(f"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
        assert client.response().status == 400
    assert peer.requests == []


def test_a_bare_lf_ends_a_line_of_a_head(backend, proxy):
    peer = backend()
    with proxy(forwarding(peer.address)).client() as client:
        assert client.send("GET / HTTP/1.1\nHost: a\n\n").response().status == 200


def test_the_absolute_form_names_the_host(backend, proxy):
    peer = backend()
    with proxy(forwarding(peer.address, headers=(("Host", "$host"),))).client() as client:
        client.send("GET http://Real/x HTTP/1.1\r\nHost: other\r\n\r\n")
        assert client.response().status == 200
    assert peer.requests[0].start == "GET /x HTTP/1.1"
    assert peer.requests[0].header("Host") == "real"
