"""gRPC health checks: against grpcio's own server, and against those that speak something else."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import h2.config
import h2.connection
import pytest
from asking import asked
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from servers import Talk, closing, dripping, endless, free_port, resetting, saying, serving, silent

from trimaran.health.settings import GrpcProbe, Tls
from trimaran.health.verdict import Outcome

STATES = health_pb2.HealthCheckResponse
SETTINGS = b"\0\0\0\4\0\0\0\0\0"  # an empty SETTINGS frame: a server's preface (RFC 9113 §3.4)
LONG = "x" * 300  # its length takes two bytes of a varint


def test_the_health_service_of_grpcio() -> None:
    server = grpc.server(ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    servicer.set("", STATES.SERVING)
    servicer.set("web", STATES.NOT_SERVING)
    servicer.set(LONG, STATES.SERVING)
    servicer.set("new", STATES.UNKNOWN)
    server.start()
    try:
        cases = [("", Outcome()), ("web", "NOT_SERVING"), (LONG, Outcome()), ("new", "UNKNOWN")]
        for service, expected in cases:
            assert asked(port, GrpcProbe(service)) == expected, service
        assert str(asked(port, GrpcProbe("other"))).startswith("gRPC status 5: ")
    finally:
        server.stop(0).wait()


def test_a_server_without_the_health_service() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        assert str(asked(port, GrpcProbe())).startswith("gRPC status 12: ")
    finally:
        server.stop(0).wait()


def http2(status: str, data: bytes, trailers: list[tuple[str, str]]) -> Talk:
    """Any HTTP/2 answer to the first request."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    preface = connection.data_to_send()
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    client.send_headers(1, [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "x")], True)  # fmt: skip # noqa: E501
    connection.receive_data(client.data_to_send())
    connection.send_headers(1, [(":status", status)])
    connection.send_data(1, data)
    connection.send_headers(1, trailers, end_stream=True)
    return saying(preface + connection.data_to_send())


WELL = [("grpc-status", "0")]


@pytest.mark.parametrize(
    ("talk", "expected"),
    [
        (http2("200", b"\0\0\0\0\2\x08\x01", WELL), Outcome()),
        (http2("200", b"\0\0\0\0\0", WELL), "UNKNOWN"),
        (http2("200", b"\0\0\0\0\2\x08\x09", WELL), "9"),
        (http2("404", b"", WELL), "status 404, not 200"),
        (http2("200", b"", WELL), "the answer is no plain gRPC message"),
        (http2("200", b"\1\0\0\0\2\x08\x01", WELL), "the answer is no plain gRPC message"),
        (http2("200", b"\0\0\0\0\3abc", WELL), "the answer is no HealthCheckResponse"),
        (http2("200", b"", [("grpc-status", "14"), ("grpc-message", "a%20b")]),
         "gRPC status 14: a b"),
        (saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "the connection ended within the call"),
        (saying(SETTINGS + b"\0\0\1\0\0\0\0\0\0x"), "no HTTP/2: "),
        (saying(SETTINGS + b"\0\0\4\x03\0\0\0\0\1\0\0\0\2"), "the server ended the call (2)"),
        (saying(SETTINGS), "the connection ended within the call"),
        (closing, "the connection ended within the call"),
        (silent, "no answer within 0.5 s"),
        (dripping(SETTINGS), "no answer within 0.5 s"),
        (endless(b"", SETTINGS * 100), "the answer is longer than 65536 bytes"),
        (resetting, "connection reset by peer"),
    ],
)  # fmt: skip
def test_everybody_else(talk: Talk, expected: object) -> None:
    said = asked(serving(talk), GrpcProbe(), 0.5)
    if isinstance(expected, str):
        assert isinstance(said, str) and said.startswith(expected)
    else:
        assert said == expected


def test_nobody_there() -> None:
    assert asked(free_port(), GrpcProbe()) == "connection refused"
    assert "no answer" in str(asked(serving(silent), GrpcProbe(tls=Tls()), 0.3))
