"""Health checks as they are wanted: what is asked of a real server, how often, and what follows.

A check has exactly one kind of probe. What cannot work (a pattern that does not compile, a digest
of the wrong length) is an error here, where the file and line are known.
"""

import re
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from trimaran.stack.patterns import compile_pattern
from trimaran.stack.units import Port, Seconds

KINDS = ("tcp", "http", "script", "ping", "udp", "dns", "smtp", "file", "grpc")
Interface = Annotated[str, Field(pattern=r"^[^\s/:]{1,15}$")]
Scalar = str | int | float | bool | None


class Model(BaseModel):
    """Frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(Model):
    """Where a probe goes and comes from: another `address` than the real server's own, a `source`
    address, an `interface`, a firewall `mark` on what is sent."""

    address: IPv4Address | None = None
    source: IPv4Address | None = None
    interface: Interface | None = None
    mark: Annotated[int, Field(ge=1, le=0xFFFFFFFF)] | None = None


class Connection(Source):
    """The same, with ports. `port` None: the real server's own."""

    port: Port | None = None
    source_port: Port | None = None


class TcpProbe(Connection):
    """Well when a TCP connection is accepted."""


class Tls(Model):
    """TLS for a probe. Nothing is verified unless `verify` (against `ca`, or the system's
    authorities); `min_days` is how long the verified certificate must still be good for."""

    server_name: str | None = None
    verify: bool = False
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    min_days: Annotated[int, Field(ge=0, le=10000)] | None = None

    @model_validator(mode="after")
    def _only_verified(self) -> "Tls":
        if self.min_days is not None and not self.verify:
            raise ValueError("min_days needs `verify: true`: nothing else reads the certificate")
        if self.verify and self.server_name is None:
            raise ValueError("verify needs `server_name`: the name that the certificate must have")
        if self.key is not None and self.certificate is None:
            raise ValueError("key needs `certificate`")
        return self


def parse_status(value: Any) -> Any:
    """404 or '200-299' as a range. Raises ValueError."""
    match = re.fullmatch(r"([1-9][0-9]{2})(?:-([1-9][0-9]{2}))?", str(value).strip())
    if isinstance(value, (list, tuple)):
        return value
    if match is None or int(match[2] or match[1]) < int(match[1]):
        raise ValueError(f"'{value}' is no status code; write it like 200 or 200-299")
    return int(match[1]), int(match[2] or match[1])


def parse_digest(text: str) -> str:
    """MD5 in hexadecimal. Raises ValueError."""
    if not re.fullmatch(r"[0-9A-Fa-f]{32}", text):
        count = f"{len(text)} characters"
        raise ValueError(
            f"a digest is 32 hexadecimal digits, not {count}; `trimaran digest URL` prints it"
        )
    return text.lower()


def parse_hex(text: str, wildcard: bool = False) -> str:
    """Hexadecimal digits in groups, as keepalived has them: a group of odd length has a 0 before
    its last digit ('Ab12f 3' is ab120f03). X: any digit. Raises ValueError."""
    pairs: list[str] = []
    for group in text.split():
        if not re.fullmatch(r"[0-9A-Fa-fXx]+" if wildcard else r"[0-9A-Fa-f]+", group):
            raise ValueError(f"'{group}' is not hexadecimal")
        pairs += [f"{group[i : i + 2]:0>2}" for i in range(0, len(group), 2)]
    if not pairs or len(pairs) > 65507:
        raise ValueError("needs 1 to 65507 bytes in hexadecimal")
    return "".join(pairs).lower()


def _as_list(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


_CODES = [{"type": "integer"}, {"type": "string", "pattern": "^[1-9][0-9]{2}(-[1-9][0-9]{2})?$"}]
StatusRange = Annotated[
    tuple[int, int], BeforeValidator(parse_status), WithJsonSchema({"anyOf": _CODES})
]
StatusRanges = Annotated[
    tuple[StatusRange, ...],
    BeforeValidator(_as_list),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [*_CODES, {"type": "array", "items": {"anyOf": _CODES}}]}),
]
Hex = Annotated[str, AfterValidator(parse_hex)]
HexPattern = Annotated[str, AfterValidator(lambda text: parse_hex(text, wildcard=True))]
Token = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
HeaderValue = Annotated[str, Field(pattern=r"^[^\r\n\x00]*$")]


class Regex(Model):
    """A pattern that must be found in the body (`absent`: must not be), from `min_offset` on; the
    match must start before `max_offset`."""

    pattern: Annotated[str, Field(min_length=1, max_length=4096)]
    options: tuple[str, ...] = ()
    absent: bool = False
    min_offset: Annotated[int, Field(ge=0)] = 0
    max_offset: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _compiles(self) -> "Regex":
        compile_pattern(self.pattern, self.options)
        return self


class HttpProbe(Connection):
    """Well when the answer has one of the `status` codes and, where asked for: the MD5 `digest` of
    its body, the `regex` in it, and the `json_value`s ('checks.db.0': value) of it."""

    path: Annotated[str, Field(pattern=r"^[\x21-\x7e\x80-\U0010ffff]+$")] = "/"
    method: Token = "GET"
    version: Literal["1.0", "1.0C", "1.1"] = "1.1"
    host: HeaderValue | None = None
    headers: dict[Token, HeaderValue] = {}
    body: str | None = None
    tls: Tls | None = None
    status: StatusRanges = ((200, 299),)
    digest: Annotated[str, AfterValidator(parse_digest)] | None = None
    regex: Regex | None = None
    json_value: dict[str, Scalar] = {}


class ScriptProbe(Model):
    """Well when a program exits with 0. `dynamic`: 2-255 is well too, and sets the weight to two
    less. `user` is 'name' or 'name:group'."""

    command: Annotated[str, Field(min_length=1)]
    user: str | None = None
    dynamic: bool = False


class PingProbe(Source):
    """Well when it answers an ICMP echo request."""


class UdpProbe(Connection):
    """Well when no ICMP error comes within the timeout; with `require_reply`, when a reply of that
    length comes (and begins with `reply`: hexadecimal, X for any digit)."""

    payload: Hex | None = None
    require_reply: bool = False
    reply: HexPattern | None = None
    min_length: Annotated[int, Field(ge=0, le=65535)] = 0
    max_length: Annotated[int, Field(ge=0, le=65535)] = 255


class DnsProbe(Connection):
    """Well when a name server answers a question over UDP without an error code."""

    type: Literal["A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA"] = "SOA"
    name: Annotated[str, Field(min_length=1, max_length=253)] = "."


class SmtpProbe(Connection):
    """Well when a mail server greets, and accepts `helo` and `quit`."""

    helo: HeaderValue = "trimaran"


class FileProbe(Model):
    """Well when the number in a file is 0; with a `weight`, the number times it is added to the
    real server's weight instead."""

    path: str
    weight: Annotated[int, Field(ge=-(2**31) + 1, le=2**31 - 1)] | None = None


class GrpcProbe(Connection):
    """Well when grpc.health.v1.Health/Check says SERVING for `service` (empty: the server)."""

    service: str = ""
    tls: Tls | None = None


class Check(Model):
    """How a real server's health is watched: one kind of probe (tcp where none is named) every
    `interval`. Down after 1 + `retries` failed probes in a row, the repeats `retry_delay` apart; up
    again after `rise` good ones. The first probe comes within `warmup` (None: the interval);
    `alpha`: down until it has. keepalived's delay_loop, retry, delay_before_retry."""

    tcp: TcpProbe | None = None
    http: HttpProbe | None = None
    script: ScriptProbe | None = None
    ping: PingProbe | None = None
    udp: UdpProbe | None = None
    dns: DnsProbe | None = None
    smtp: SmtpProbe | None = None
    file: FileProbe | None = None
    grpc: GrpcProbe | None = None
    interval: Annotated[Seconds, Field(gt=0)] = 3.0
    timeout: Annotated[Seconds, Field(gt=0)] = 3.0
    retries: Annotated[int, Field(ge=0, le=100)] = 1
    retry_delay: Annotated[Seconds, Field(gt=0)] = 1.0
    rise: Annotated[int, Field(ge=1, le=100)] = 1
    warmup: Seconds | None = None
    alpha: bool = False
    log_all_failures: bool = False

    @model_validator(mode="before")
    @classmethod
    def _tcp_unless_named(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        named = [kind for kind in KINDS if data.get(kind) is not None]
        if len(named) > 1:
            raise ValueError(f"a check is of one kind, not of {' and '.join(named)}: use `checks`")
        return data if named else {**data, "tcp": {}}

    @property
    def kind(self) -> str:
        """Which of KINDS it is."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)


class Script(Model):
    """A program that is told of a change; ended with its process group after `timeout`."""

    command: Annotated[str, Field(min_length=1)]
    user: str | None = None
    timeout: Annotated[Seconds, Field(gt=0, le=3600)] = 30.0

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        return {"command": data} if isinstance(data, str) else data
