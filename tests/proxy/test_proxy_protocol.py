"""What a load balancer in front says of its clients: the PROXY protocol."""

import struct

import pytest
from http_wire import nginx_conf

CONF = """server { listen 127.0.0.1:PORT proxy_protocol; set_real_ip_from 127.0.0.1;
    location / { return 200 "$remote_addr $proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_addr:$proxy_protocol_server_port"; }
    location /real { real_ip_header proxy_protocol; deny 192.0.2.9; try_files /none @real; }
    location @real { add_header X-Real "$remote_addr:$remote_port"; proxy_pass http://127.0.0.1:PEER; }
    location /tlv { return 200 "$proxy_protocol_tlv_authority $proxy_protocol_tlv_0x05 $proxy_protocol_tlv_ssl_cn"; }
    }"""  # noqa: E501 -- one directive a line
SAID = b"192.0.2.1:123 192.0.2.2:5678"


def v2(extras: bytes = b"", command: int = 1) -> bytes:
    body = bytes([192, 0, 2, 1, 192, 0, 2, 2]) + struct.pack(">HH", 123, 5678) + extras
    head = b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x20 | command, 0x11])
    return head + struct.pack(">H", len(body)) + body


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack(">BH", kind, len(value)) + value


@pytest.fixture
def served(backend, proxy):
    return proxy(nginx_conf(CONF.replace("PEER", str(backend().port))))


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r\n", SAID),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", b"2001:db8::1:1 2001:db8::2:2"),
        (b"PROXY UNKNOWN\r\n", b": :"),
        (v2(), SAID),
        (v2(command=0), b": :"),
    ],
)
def test_what_the_header_says(header, said, served):
    with served.client() as client:
        client.send(header + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.response().body == b"127.0.0.1 " + said
        assert client.get().body == b"127.0.0.1 " + said  # once for the whole connection
    with served.client() as client:
        for byte in header:
            client.send(bytes([byte]))
        assert client.get().body == b"127.0.0.1 " + said


def test_extras_of_version_2(served):
    inside = tlv(0x22, b"name")
    extras = tlv(2, b"a.example") + tlv(5, b"id") + tlv(0x20, b"\1" + struct.pack(">I", 0) + inside)
    with served.client() as client:
        client.send(v2(extras))
        assert client.get("/tlv").body == b"a.example id name"


def test_the_clients_address_is_the_one_said(served):
    with served.client() as client:
        client.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r\n")
        assert client.get("/real").header("X-Real") == "192.0.2.1:123"
    with served.client() as client:
        client.send(b"PROXY TCP4 192.0.2.9 192.0.2.2 123 5678\r\n")
        assert client.get("/real").status == 403


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"PROXY TCP4 x\r\n", v2(b"x")]
)
def test_who_does_not_speak_it_is_not_served(data, served):
    with served.client() as client:
        client.send(data)
        assert client.closed()
