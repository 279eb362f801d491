"""The HTTP part of the model, in nginx's words: what nginx.conf, `proxies:` and `sites:` become.

Inheritance (http > server > location) is resolved by the reader: every location carries its own
final values.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from trimaran.stack.units import Seconds, Weight


class HttpModel(BaseModel):
    """Frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Peer(HttpModel):
    """One server of an upstream; `address` is 'HOST:PORT'."""

    address: str
    weight: Weight = 1
    max_fails: Annotated[int, Field(ge=0)] = 1
    fail_timeout: Seconds = 10.0
    backup: bool = False
    down: bool = False


class Upstream(HttpModel):
    """A group of peers, smooth weighted round robin. `keepalive` is the most idle connections
    kept (nginx 1.29.7 and later keep 32 unless told otherwise)."""

    name: str
    peers: Annotated[tuple[Peer, ...], Field(min_length=1)]
    keepalive: int = 32
    keepalive_timeout: Seconds = 60.0


class ProxyPass(HttpModel):
    """Forward to `upstream` (a name in `Http.upstreams`). `uri` None forwards the request's URI
    as it came; else it replaces the part that the location matched (nginx's proxy_pass with a
    path). `set_headers` are (name, value template with $variables); an empty value removes."""

    kind: Literal["proxy"] = "proxy"
    upstream: str
    uri: str | None = None
    set_headers: tuple[tuple[str, str], ...] = ()
    connect_timeout: Seconds = 60.0
    send_timeout: Seconds = 60.0
    read_timeout: Seconds = 60.0


class Files(HttpModel):
    """Serve files below `root`; a directory answers with the first of `index` that exists."""

    kind: Literal["files"] = "files"
    root: str
    index: tuple[str, ...] = ("index.html",)


class Return(HttpModel):
    """Answer at once: `text` is the body, or the Location of a redirect."""

    kind: Literal["return"] = "return"
    status: Annotated[int, Field(ge=100, le=999)]
    text: str = ""


class ErrorPage(HttpModel):
    """nginx's error_page: these statuses are answered by an internal redirect to `uri`;
    `answer` None keeps the status, 0 takes the status of the page, else replaces it."""

    statuses: tuple[int, ...]
    uri: str
    answer: int | None = None


class Location(HttpModel):
    """nginx's location: '=' exact, '^~' prefix that beats regexes, '' prefix."""

    match: Literal["=", "^~", ""] = ""
    path: str
    internal: bool = False
    action: Annotated[ProxyPass | Files | Return, Field(discriminator="kind")]
    error_pages: tuple[ErrorPage, ...] = ()


class Listen(HttpModel):
    """A listening address; '0.0.0.0' is every address."""

    address: str = "0.0.0.0"
    port: Annotated[int, Field(ge=1, le=65535)] = 80
    default_server: bool = False


class Server(HttpModel):
    """A virtual server, chosen by listening address and Host header."""

    listen: Annotated[tuple[Listen, ...], Field(min_length=1)] = (Listen(),)
    names: tuple[str, ...] = ()
    locations: tuple[Location, ...]
    keepalive_timeout: Seconds = 75.0
    access_log: str | None = None


class Http(HttpModel):
    """Everything one proxy process serves."""

    servers: tuple[Server, ...]
    upstreams: tuple[Upstream, ...] = ()
    types: dict[str, str] = Field(default={}, description="file extension: media type")
    default_type: str = "application/octet-stream"
    client_max_body_size: int = 1 << 20
    client_header_timeout: Seconds = 60.0
    client_body_timeout: Seconds = 60.0
    send_timeout: Seconds = 60.0
    large_client_header_buffer: int = 8192
    workers: int = 1
