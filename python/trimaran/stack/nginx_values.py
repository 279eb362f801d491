"""Arguments of nginx's directives to values; what is wrong with them is a RefusedError."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Literal

from trimaran.stack.directives import refuse
from trimaran.stack.http import Balance, ErrorPage, Listen, Peer, Return
from trimaran.stack.nearest import suggestion
from trimaran.stack.values import integer

_SIZE = re.compile(r"([0-9]{1,12})([kKmMgG]?)")
_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_TIME = re.compile(r"([0-9]{1,9})(ms|[smhdwMy]?)\s*")
_TIMES_S = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800,
            "M": 2592000, "y": 31536000}  # fmt: skip
Match = Literal["=", "^~", "", "~", "~*", "@"]

# rust/proxy/src/vars/names.rs has them too, and a test compares; those of _PREFIXES besides.
VARIABLES = frozenset({
    "args", "binary_remote_addr", "body_bytes_sent", "bytes_sent", "connection",
    "connection_requests", "connection_time", "connections_active", "connections_reading",
    "connections_waiting", "connections_writing", "limit_conn_status", "limit_req_status",
    "realip_remote_port", "content_length", "content_type", "document_root", "document_uri",
    "host", "hostname", "http_host", "https", "is_args", "limit_rate", "msec", "nginx_version",
    "pid", "pipe", "proxy_add_x_forwarded_for", "proxy_host", "proxy_port", "proxy_protocol_addr",
    "proxy_protocol_port", "proxy_protocol_server_addr", "proxy_protocol_server_port",
    "query_string", "realip_remote_addr", "realpath_root", "remote_addr", "remote_port",
    "remote_user", "request", "request_completion", "request_filename", "request_id",
    "request_body", "request_body_file", "request_length", "request_method", "request_time",
    "request_uri", "scheme", "server_addr",
    "server_name", "server_port", "server_protocol", "status", "time_iso8601", "time_local",
    "upstream_addr", "upstream_bytes_received", "upstream_bytes_sent",
    "upstream_connect_time", "upstream_header_time",
    "upstream_response_length", "upstream_response_time", "upstream_status", "uri",
})  # fmt: skip
STREAM_VARIABLES = frozenset({
    "bytes_received", "protocol", "session_time", "upstream_first_byte_time",
    "upstream_session_time",
})  # fmt: skip
_PREFIXES = ("http_", "arg_", "cookie_", "sent_http_", "sent_trailer_", "upstream_http_",
             "upstream_cookie_", "proxy_protocol_tlv_")  # fmt: skip
_VARIABLE = re.compile(r"\$(?:\{(\w*)\}?|([0-9]|\w*))")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})")
_LATER = "is not supported yet"
_IDLE_LISTEN = re.compile(
    r"(backlog|rcvbuf|sndbuf|so_keepalive|ipv6only|setfib|fastopen|accept_filter)=.*"
    r"|deferred|bind|reuseport|multipath"
)


def size(text: str) -> int:
    """'8k', '1m' in bytes."""
    match = _SIZE.fullmatch(text)
    if match is None:
        refuse(f"'{text}' is not a size", "write it like 8k or 1m")
    return int(match[1]) * _SIZES[match[2].lower()]


def header_buffers(words: tuple[str, ...]) -> tuple[int, int]:
    """`large_client_header_buffers NUMBER SIZE`."""
    return integer(1, 1 << 16)(words[0]), size(words[1])


def time(text: str) -> float:
    """'60', '60s', '1m30s', '500ms' in seconds."""
    parts = list(_TIME.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        refuse(f"'{text}' is not a time", "write it like 60s, 500ms or 1m30s")
    return sum(int(part[1]) * _TIMES_S[part[2]] for part in parts)


def listen(arguments: tuple[str, ...]) -> tuple[list[Listen], list[str]]:
    """The listening addresses (several for a range of ports) and the parameters that have no
    effect."""
    first, *parameters = arguments
    default, proxied, idle = False, False, []
    for parameter in parameters:
        if parameter in ("default_server", "default"):
            default = True
        elif parameter == "proxy_protocol":
            proxied = True
        elif _IDLE_LISTEN.fullmatch(parameter):
            idle.append(parameter)
        else:
            refuse(f"'{parameter}' {_LATER}")
    if first.startswith("unix:"):
        refuse(f"unix: {_LATER}")
    host, ports = _host_ports(first)
    found = [
        Listen(address=host, port=port, default_server=default, proxy_protocol=proxied)
        for port in ports
    ]
    return found, idle


def _host_ports(text: str) -> tuple[str, range]:
    host, colon, port = text.rpartition(":")
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":") or "80"
    elif not colon:
        host, port = ("", text) if text[:1].isdigit() and "." not in text else (text, "80")
    first, dash, last = port.partition("-")
    begin = integer(1, 65535)(first)
    end = integer(begin, 65535)(last) if dash else begin
    if text.startswith("["):
        try:
            address = str(IPv6Address(host))
        except AddressValueError:
            refuse(f"'{host}' is not an IPv6 address")
    else:
        address = str(ip_of("0.0.0.0" if host in ("", "*") else host))
    return address, range(begin, end + 1)


def ip_of(host: str) -> IPv4Address:
    """The address that a host is written as."""
    if host == "localhost":
        return IPv4Address("127.0.0.1")
    try:
        return IPv4Address(host)
    except AddressValueError:
        refuse(f"'{host}' is not an IPv4 address", "names are not looked up yet")


def host_port(text: str) -> str:
    """'HOST' or 'HOST:PORT' (80 if none) as 'HOST:PORT', or 'unix:PATH'; a name is looked up when
    the proxy starts, as nginx does it."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removesuffix(":")
        if not path.startswith("/"):
            refuse(f"'{text}' names no socket", "write unix: and an absolute path")
        return f"unix:{path}"
    if text.startswith("["):
        return text if text.rpartition("]")[2] else f"{text}:80"
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = text, "80"
    if not _HOST.fullmatch(host):
        refuse(f"'{host}' is neither an address nor a host's name")
    return f"{host}:{integer(1, 65535)(port)}"


def variable_names(text: str, known: frozenset[str] = frozenset()) -> str:
    """Text with $variables that the engine knows, or that the file makes (`known`)."""
    for match in _VARIABLE.finditer(text):
        name = match[1] or match[2] or ""
        prefixed = any(name.startswith(each) and name != each for each in _PREFIXES)
        prefixed |= name == "arg_"
        if not (name in VARIABLES or name in known or name.isdigit() or prefixed):
            refuse(f"the variable '{match[0]}' is not known", suggestion(name, VARIABLES | known))
    return text


def peer(arguments: tuple[str, ...]) -> Peer:
    """`server ADDRESS [weight=N] …` of an upstream."""
    values: dict[str, int | float | bool | str] = {}
    for parameter in arguments[1:]:
        name, _, value = parameter.partition("=")
        if parameter in ("backup", "down", "drain"):
            values[parameter] = True
        elif name == "weight":
            values[name] = integer(1, 65535)(value)
        elif name == "max_fails" or name == "max_conns":
            values[name] = integer(0, 1 << 30)(value)
        elif name in ("fail_timeout", "slow_start"):
            values[name] = time(value)
        elif name == "route":
            values[name] = _route(value)
        else:
            refuse(f"'{parameter}' {_LATER}")
    return Peer.model_validate({"address": host_port(arguments[0]), **values})


def balance(name: str, words: tuple[str, ...], known: frozenset[str]) -> Balance:
    """least_conn, ip_hash, `hash KEY [consistent]`, `random [two [least_conn]]`."""
    if name == "hash":
        key = variable_names(words[0], known)
        if words[1:] not in ((), ("consistent",)):
            refuse(f"'{words[1]}' is not possible", "write nothing, or consistent")
        return Balance(method="consistent" if words[1:] else "hash", key=key)
    if name == "random":
        kind = words[1] if words[1:] else "least_conn"
        if words[:1] not in ((), ("two",)) or kind not in _RANDOM:
            refuse(f"'{' '.join(words)}' is not possible", "write random, or random two")
        return Balance(method="random", two=bool(words), time=_RANDOM[kind])
    if name == "least_time":
        if words[0] not in ("header", "last_byte") or words[1:] not in ((), ("inflight",)):
            refuse(f"'{' '.join(words)}' is not possible", "write header or last_byte [inflight]")
        time_of = _RANDOM[f"least_time={words[0]}"]
        return Balance(method="least_time", time=time_of, inflight=bool(words[1:]))
    return Balance(method="least_conn" if name == "least_conn" else "ip_hash")


def _route(text: str) -> str:
    if not 0 < len(text) <= 32:
        refuse(f"route={text} must have 1 to 32 characters")
    return text


_RANDOM: dict[str, Literal["", "header", "last_byte"]] = {
    "least_conn": "",
    "least_time=header": "header",
    "least_time=last_byte": "last_byte",
}


def upstream_of(url: str) -> tuple[str, str | None]:
    """(what stands for the host, the URI or None) of a proxy_pass."""
    if url.startswith("$"):
        return url, None
    if "$" in url and url.lower().startswith("http:/"):
        return url, None
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() != "http":
        refuse(f"'{url}' {_LATER}", "only http:// upstreams are spoken to")
    if rest.startswith("unix:"):
        path, _, uri = rest.removeprefix("unix:").partition(":")
        return f"unix:{path}", uri or None
    end = next((index for index, each in enumerate(rest) if each in "/?"), len(rest))
    if not rest[:end]:
        refuse(f"'{url}' names no upstream")
    return rest[:end], rest[end:] or None


def location_match(arguments: tuple[str, ...]) -> tuple[Match, str]:
    """How and what a location matches; `= /x` and `=/x` are the same."""
    first = arguments[0]
    if len(arguments) == 1:
        modifier = next(
            (each for each in ("^~", "=", "~*", "~", "@") if first.startswith(each)), ""
        )
        path = first.removeprefix(modifier)
    else:
        modifier, path = first, arguments[1]
    if modifier == "@":
        return "@", path
    if modifier not in ("=", "^~", "", "~", "~*"):
        refuse(f"'{modifier}' is not possible", "allowed: =, ^~, ~, ~*, @, or nothing for a prefix")
    if not path.startswith("/") and modifier not in ("~", "~*"):
        refuse(f"'{path}' does not start with '/'")
    return _MODIFIERS[modifier], path


_MODIFIERS: dict[str, Match] = {"=": "=", "^~": "^~", "": "", "~": "~", "~*": "~*", "@": "@"}


def returned(arguments: tuple[str, ...], known: frozenset[str] = frozenset()) -> Return:
    """`return STATUS [TEXT]`, or `return URL`, which is 302."""
    first = arguments[0]
    if len(arguments) == 1 and not first.isdigit():
        if not first.startswith(("http://", "https://", "$", "/")):
            refuse(f"'{first}' is neither a status nor a URL")
        return Return(status=302, text=variable_names(first, known))
    status = integer(0, 999)(first)
    if status < 200:
        refuse(f"{status} is no final status")
    text = variable_names(arguments[1], known) if arguments[1:] else ""
    return Return(status=status, text=text)


def error_page(arguments: tuple[str, ...], known: frozenset[str] = frozenset()) -> ErrorPage:
    """`error_page STATUS … [=[STATUS]] URI`."""
    *words, uri = arguments
    answer: int | None = None
    if words and words[-1].startswith("="):
        text = words.pop()[1:]
        answer = integer(200, 599)(text) if text else 0
    if not words:
        refuse("needs a status before the URI")
    variable_names(uri, known)
    return ErrorPage(statuses=tuple(map(integer(300, 599), words)), uri=uri, answer=answer)


def server_names(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """The names of a server, in lower case: exact, '*.name', '.name' or 'name.*'."""
    for name in arguments:
        if name.startswith("~"):
            continue
        if "$" in name:
            refuse(f"'{name}': variables are not supported yet")
        middle = name.removeprefix("*.") if name.startswith("*.") else name.removesuffix(".*")
        if "*" in middle:
            refuse(f"'{name}': a wildcard is the first or the last part of a name")
    return tuple(name if name.startswith("~") else name.lower() for name in arguments)
