"""The HTTP part of the model, in nginx's words: what nginx.conf, `proxies:` and `sites:` become.

Inheritance (http > server > location) is resolved by the reader: every location carries its own
final values.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from trimaran.stack.stream import StreamServer
from trimaran.stack.units import Seconds, Weight


class HttpModel(BaseModel):
    """Frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Peer(HttpModel):
    """One server of an upstream; `address` is 'HOST:PORT' or 'unix:PATH'. `route` is what a sticky
    client names it by ('' is a hash of its address); `drain`: only such clients get there."""

    address: str
    weight: Weight = 1
    max_fails: Annotated[int, Field(ge=0)] = 1
    fail_timeout: Seconds = 10.0
    backup: bool = False
    down: bool = False
    max_conns: Annotated[int, Field(ge=0)] = 0
    route: str = ""
    drain: bool = False
    slow_start: Seconds = 0.0


Method = Literal["", "least_conn", "least_time", "ip_hash", "hash", "consistent", "random"]


class Balance(HttpModel):
    """How a peer is chosen ('' is smooth weighted turn); `key` is what a hash is made of; `two`:
    of two drawn at random, the one with fewer connections, or the one with the least `time` (as
    for least_time: to the header or to the last byte of an answer; `inflight`: requests under way
    count as well)."""

    method: Method = ""
    key: str = ""
    two: bool = False
    time: Literal["", "header", "last_byte"] = ""
    inflight: bool = False


class StickyCookie(HttpModel):
    """The cookie that `sticky cookie` sets; `expires` in seconds, 0 is 'max', None with the
    browser's end."""

    name: str
    expires: Seconds | None = None
    domain: str = ""
    path: str = ""
    samesite: str = ""
    httponly: bool = False
    secure: bool = False


class StickyLearn(HttpModel):
    """`sticky learn`: `create` are the variables of which the first that is not empty names a new
    session; `most` sessions are remembered."""

    zone: str
    most: int
    create: tuple[str, ...]
    timeout: Seconds = 600.0
    at_head: bool = False


class Sticky(HttpModel):
    """`sticky`: `lookup` are the variables of which the first that is not empty names the session
    (or, without `learn`, the peer's route)."""

    lookup: tuple[str, ...] = ()
    cookie: StickyCookie | None = None
    learn: StickyLearn | None = None


class Queue(HttpModel):
    """How many requests may wait for a peer, and for how long."""

    most: Annotated[int, Field(ge=1)]
    timeout: Seconds = 60.0


class Upstream(HttpModel):
    """A group of peers, smooth weighted round robin. `keepalive` is the most idle connections
    kept (nginx 1.29.7 and later keep 32 unless told otherwise)."""

    name: str
    peers: Annotated[tuple[Peer, ...], Field(min_length=1)]
    keepalive: int = 32
    keepalive_timeout: Seconds = 60.0
    keepalive_requests: int = 1000
    keepalive_time: Seconds = 3600.0
    balance: Balance = Balance()
    sticky: Sticky | None = None
    queue: Queue | None = None
    retry_percent: int | None = None


class ProxyOptions(HttpModel):
    """The proxy_* directives that few locations have. `redirects` None is 'default'; `next` are
    the words of proxy_next_upstream; `cookies` are (domain, path or flags, from, to); `ignore`
    are headers of a peer's answer that change nothing; `limit_rate` in bytes per second.
    A request's body of more than `body_memory` bytes goes to a file; of an answer, up to `buffers`
    bytes in memory and then `temp_most` on disk wait for a slow client (0: none)."""

    method: str | None = None
    body: str | None = None
    pass_headers: bool = True
    pass_body: bool = True
    http_1_0: bool = False
    redirects: tuple[tuple[str, str], ...] | None = None
    hide: tuple[str, ...] = ()
    pass_: tuple[str, ...] = Field((), serialization_alias="pass")
    intercept_errors: bool = False
    next: tuple[str, ...] = ("error", "timeout")
    next_tries: int = 0
    next_timeout: Seconds = 0.0
    cookies: tuple[tuple[str, str, str], ...] = ()
    bind: str = ""
    limit_rate: int = 0
    ignore: tuple[str, ...] = ()
    request_buffering: bool = False
    body_memory: int = 16 << 10
    body_in_file: Literal["off", "on", "clean"] = "off"
    body_directory: str = ""
    buffers: int = 64 << 10
    temp_most: int = 1 << 30
    temp_directory: str = ""


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
    options: ProxyOptions = ProxyOptions()


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


class Status(HttpModel):
    """nginx's stub_status."""

    kind: Literal["status"] = "status"


class Set(HttpModel):
    """`set $variable value`."""

    kind: Literal["set"] = "set"
    variable: str
    value: str


class Rewrite(HttpModel):
    """`rewrite pattern replacement [flag]`."""

    kind: Literal["rewrite"] = "rewrite"
    pattern: str
    replacement: str
    flag: Literal["", "last", "break", "redirect", "permanent"] = ""


class Break(HttpModel):
    """`break`."""

    kind: Literal["break"] = "break"


class If(HttpModel):
    """`if (left test right)`: `then` runs, and `location` (what else the block says, the location
    around it being inherited) takes its place."""

    kind: Literal["if"] = "if"
    test: str
    left: str
    right: str = ""
    then: tuple["Code", ...] = ()
    location: "Location | None" = None


Code = Annotated[Set | Rewrite | Break | Return | If, Field(discriminator="kind")]


class AddHeader(HttpModel):
    """`add_header name value [always]`."""

    name: str
    value: str
    always: bool = False


class Expires(HttpModel):
    """'epoch', 'max', 'off', seconds, '@' and the second of the day, or a template of these;
    `modified`: counted from Last-Modified."""

    value: str
    modified: bool = False


class Log(HttpModel):
    """One access log; `format` None is the combined one; `held`: lines may be written late."""

    path: str
    format: str | None = None
    escape: Literal["default", "json", "none"] = "default"
    condition: str | None = None
    held: bool = False


class Basic(HttpModel):
    """auth_basic and its file of passwords."""

    realm: str
    file: str


class RateLimit(HttpModel):
    """limit_req; `delay` requests of the burst are not delayed."""

    zone: str
    burst: int = 0
    delay: int = 0
    dry_run: bool = False
    level: str = "error"
    status: int = 503


class CountLimit(HttpModel):
    """limit_conn."""

    zone: str
    count: int
    dry_run: bool = False
    level: str = "error"
    status: int = 503


class RealIp(HttpModel):
    """The client's address is that of `header` where the connection is `from_` one of these."""

    from_: tuple[str, ...] = Field(serialization_alias="from")
    header: str = "X-Real-IP"
    recursive: bool = False


class Manner(HttpModel):
    """What few locations say of how they answer. `limit_rate` and its `after` are sizes or
    templates; None values are those of the server, or without limit."""

    server_tokens: str = "on"
    server_name_in_redirect: bool = False
    port_in_redirect: bool = True
    if_modified_since: Literal["exact", "before", "off"] = "exact"
    etag: bool = True
    max_ranges: int | None = None
    chunked: bool = True
    trailers: tuple[AddHeader, ...] = ()
    auth_delay: Seconds = 0.0
    limit_rate: str | None = None
    limit_rate_after: str | None = None
    keepalive_timeout: Seconds | None = None
    keepalive_header: int | None = None
    keepalive_requests: int | None = None
    keepalive_time: Seconds | None = None
    keepalive_disable: tuple[str, ...] = ()


class Location(HttpModel):
    """nginx's location: '=' exact, '^~' prefix that beats regexes, '' prefix, '~' and '~*' regular
    expression, '@' by name. `root` with `alias` is the location's own path's place; None values
    are those of the server or of `Http`. `access` is (allowed, network), the first counts;
    `alias_skip` is how much of a path alias replaces (None: all); `except_` are the methods that
    limit_except lets pass and what holds for the others; `errors` are (path, level); `auth` is
    auth_request's path, `auth_sets` (variable, value) of auth_request_set."""

    match: Literal["=", "^~", "", "~", "~*", "@"] = ""
    path: str
    internal: bool = False
    action: Annotated[ProxyPass | Files | Return | Status, Field(discriminator="kind")]
    error_pages: tuple[ErrorPage, ...] = ()
    recursive_error_pages: bool = False
    locations: tuple["Location", ...] = ()
    rewrite: tuple[Code, ...] = ()
    headers: tuple[AddHeader, ...] = ()
    expires: Expires | None = None
    logs: tuple[Log, ...] | None = None
    body_size: int | None = None
    default_type: str | None = None
    types: dict[str, str] | None = None
    access: tuple[tuple[bool, str], ...] = ()
    basic: Basic | None = None
    satisfy_any: bool = False
    rates: tuple[RateLimit, ...] = ()
    counts: tuple[CountLimit, ...] = ()
    try_files: tuple[str, ...] = ()
    root: str | None = None
    alias: bool = False
    alias_skip: int | None = None
    real_ip: RealIp | None = None
    absolute_redirect: bool | None = None
    manner: Manner = Manner()
    except_: tuple[tuple[str, ...], "Location"] | None = None
    errors: tuple[tuple[str, str], ...] | None = None
    log_not_found: bool = True
    body_timeout: Seconds | None = None
    send_timeout: Seconds | None = None
    auth: str | None = None
    auth_sets: tuple[tuple[str, str], ...] = ()
    mirrors: tuple[str, ...] = ()
    mirror_body: bool = True


class Listen(HttpModel):
    """A listening address; '0.0.0.0' is every address."""

    address: str = "0.0.0.0"
    port: Annotated[int, Field(ge=1, le=65535)] = 80
    default_server: bool = False
    proxy_protocol: bool = False


class Limits(HttpModel):
    """What heads are held to: `header_line` bytes a line, `header_buffers` times that in all."""

    header_timeout: Seconds = 60.0
    header_line: int = 8192
    header_buffers: int = 4
    max_headers: int = 1000
    merge_slashes: bool = True
    ignore_invalid_headers: bool = True
    underscores_in_headers: bool = False


class Server(HttpModel):
    """A virtual server, chosen by listening address and Host header. `limits` None are those of
    `Http`; those of an address's default server count."""

    limits: Limits | None = None

    listen: Annotated[tuple[Listen, ...], Field(min_length=1)] = (Listen(),)
    names: tuple[str, ...] = ()
    locations: tuple[Location, ...]
    keepalive_timeout: Seconds = 75.0
    access_log: str | None = None
    rewrite: tuple[Code, ...] = ()
    rest: Location | None = None


class Map(HttpModel):
    """A variable made of another one: map, geo, or split_clients ('split', whose keys are
    hundredths of a percent)."""

    variable: str
    kind: Literal["map", "geo", "split"]
    source: str
    entries: tuple[tuple[str, str], ...] = ()
    default: str = ""
    hostnames: bool = False
    volatile: bool = False
    ranges: bool = False
    trusted: tuple[str, ...] = ()
    recursive: bool = False


class RateZone(HttpModel):
    """limit_req_zone: `rate` in requests per 1000 seconds, `most` keys."""

    name: str
    key: str
    rate: int
    most: int


class CountZone(HttpModel):
    """limit_conn_zone."""

    name: str
    key: str
    most: int


class Http(HttpModel):
    """Everything one proxy process serves. `directory` (ending in '/') is where relative paths
    begin that requests name; `product` is what answers call us, without and with a version;
    `shutdown_timeout` is how long connections from before a reload may go on."""

    servers: tuple[Server, ...]
    upstreams: tuple[Upstream, ...] = ()
    types: dict[str, str] = Field(default={}, description="file extension: media type")
    default_type: str = "application/octet-stream"
    client_max_body_size: int = 1 << 20
    client_body_timeout: Seconds = 60.0
    send_timeout: Seconds = 60.0
    limits: Limits = Limits()
    stream: tuple[StreamServer, ...] = ()
    shutdown_timeout: Seconds | None = None
    directory: str = ""
    errors: tuple[tuple[str, str], ...] = ()
    product: tuple[str, str] = ("trimaran", "trimaran")
    workers: int = 1
    variables: tuple[str, ...] = ()
    maps: tuple[Map, ...] = ()
    rate_zones: tuple[RateZone, ...] = ()
    count_zones: tuple[CountZone, ...] = ()
