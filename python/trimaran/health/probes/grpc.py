"""Well when gRPC's health service says SERVING (grpc.health.v1.Health/Check), over HTTP/2."""

from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from trimaran.health.probes.errors import ProbeError
from trimaran.health.probes.streams import stream
from trimaran.health.settings import CheckSettings, GrpcProbe

LONGEST = 65536  # bytes of an answer
STATES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


async def probe(check: CheckSettings, asked: GrpcProbe) -> None:
    """One call. Raises ProbeError."""
    call = _Call(check, asked)
    size = 0
    async with stream(check.target, asked.tls, ("h2",)) as (reader, writer):
        writer.write(call.begin())
        while not call.ended:
            data = await reader.read(LONGEST)
            size += len(data)
            if not data:
                raise ProbeError("the connection ended within the call")
            if size > LONGEST:
                raise ProbeError(f"the answer is longer than {LONGEST} bytes")
            try:
                call.receive(data)
            except h2.exceptions.ProtocolError as error:
                raise ProbeError(f"no HTTP/2: {error}") from error
            writer.write(call.to_send())
    call.judge()


class _Call:
    def __init__(self, check: CheckSettings, asked: GrpcProbe) -> None:
        configuration = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self._connection = h2.connection.H2Connection(configuration)
        self._authority = f"{check.target.address}:{check.target.port}"
        self._asked = asked
        self._headers: dict[str, str] = {}
        self._data = b""
        self.ended = False

    def begin(self) -> bytes:
        """The preface and the request."""
        service = self._asked.service.encode()
        message = b"\x0a" + _varint(len(service)) + service if service else b""
        self._connection.initiate_connection()
        headers = [
            (":method", "POST"),
            (":scheme", "https" if self._asked.tls else "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", self._authority),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ]
        self._connection.send_headers(1, headers)
        framed = b"\0" + len(message).to_bytes(4, "big") + message
        self._connection.send_data(1, framed, end_stream=True)
        return self.to_send()

    def to_send(self) -> bytes:
        """What the protocol answers."""
        return self._connection.data_to_send()

    def receive(self, data: bytes) -> None:
        """Bytes of the server's. Raises ProtocolError, ProbeError."""
        for event in self._connection.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                self._headers |= {str(name): str(value) for name, value in event.headers}
            elif isinstance(event, h2.events.DataReceived):
                self._data += event.data
            elif isinstance(event, h2.events.StreamEnded):
                self.ended = True
            elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                raise ProbeError(f"the server ended the call ({event.error_code})")

    def judge(self) -> None:
        """Raises ProbeError unless it serves."""
        if self._headers.get(":status") != "200":
            raise ProbeError(f"status {self._headers.get(':status')}, not 200")
        status = self._headers.get("grpc-status")
        if status != "0":
            reason = unquote(self._headers.get("grpc-message", ""))[:60]
            raise ProbeError(f"gRPC status {status}: {reason}")
        state = _state(self._data)
        if state != 1:
            raise ProbeError(STATES.get(state, str(state)))


def _state(data: bytes) -> int:
    """HealthCheckResponse {status = 1: enum}. Raises ProbeError."""
    if len(data) < 5 or data[0] != 0 or len(data) != 5 + int.from_bytes(data[1:5], "big"):
        raise ProbeError("the answer is no plain gRPC message")
    message = data[5:]
    if not message:
        return 0
    if len(message) != 2 or message[0] != 0x08:
        raise ProbeError("the answer is no HealthCheckResponse")
    return message[1]


def _varint(number: int) -> bytes:
    found = b""
    while number > 0x7F:
        found += bytes([number & 0x7F | 0x80])
        number >>= 7
    return found + bytes([number])
