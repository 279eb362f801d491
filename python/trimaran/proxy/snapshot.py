"""The HTTP model in, the engine's snapshot out: one JSON text, durations in milliseconds.

The engine compiles it (rust/proxy/src/config names every field) and refuses what it cannot
serve, unknown $variables included.
"""

import json
from typing import Any

from trimaran.stack.http import (
    Break,
    Files,
    Http,
    If,
    Limits,
    Location,
    Manner,
    ProxyPass,
    Return,
    Rewrite,
    Server,
    Set,
    Status,
    Sticky,
    Upstream,
)
from trimaran.stack.mime_types import BUILT_IN_TYPES
from trimaran.stack.stream import StreamPass, StreamServer


def snapshot(http: Http) -> str:
    """The snapshot of everything one proxy process serves."""
    return json.dumps(
        {
            "servers": [_server(server, http) for server in http.servers],
            "upstreams": [_upstream(upstream) for upstream in http.upstreams],
            "types": http.types or BUILT_IN_TYPES,
            "default_type": http.default_type,
            "limits": _limits(http.limits, http),
            "stream": {"servers": [_stream_server(each) for each in http.stream]},
            "shutdown_timeout_ms": _optional_ms(http.shutdown_timeout),
            "directory": http.directory,
            "errors": http.errors,
            "product": http.product,
            "variables": http.variables,
            "maps": [each.model_dump() for each in http.maps],
            "rate_zones": [each.model_dump() for each in http.rate_zones],
            "count_zones": [each.model_dump() for each in http.count_zones],
        }
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _optional_ms(seconds: float | None) -> int | None:
    return None if seconds is None else _ms(seconds)


def _limits(limits: Limits, http: Http) -> dict[str, Any]:
    return {
        **limits.model_dump(exclude={"header_timeout"}),
        "header_timeout_ms": _ms(limits.header_timeout),
        "body_size": http.client_max_body_size,
        "body_timeout_ms": _ms(http.client_body_timeout),
        "send_timeout_ms": _ms(http.send_timeout),
    }


def _server(server: Server, http: Http) -> dict[str, Any]:
    return {
        "limits": _limits(server.limits, http) if server.limits else None,
        "listen": [listen.model_dump() for listen in server.listen],
        "names": server.names,
        "locations": [_location(location) for location in server.locations],
        "keepalive_timeout_ms": _ms(server.keepalive_timeout),
        "access_log": server.access_log,
        "rewrite": [_code(code) for code in server.rewrite],
        "rest": _location(server.rest) if server.rest else None,
    }


_PLAIN = {"internal", "path", "recursive_error_pages", "headers", "expires", "logs", "body_size",
          "default_type", "types", "access", "basic", "satisfy_any", "rates", "counts", "try_files",
          "root", "alias", "alias_skip", "real_ip", "absolute_redirect", "errors",
          "log_not_found", "auth", "auth_sets", "mirrors", "mirror_body"}  # fmt: skip


def _location(location: Location) -> dict[str, Any]:
    return {
        **location.model_dump(include=_PLAIN, by_alias=True),
        "match": location.match,
        "manner": _manner(location.manner),
        "except": (location.except_[0], _location(location.except_[1]))
        if location.except_
        else None,
        "body_timeout_ms": _optional_ms(location.body_timeout),
        "send_timeout_ms": _optional_ms(location.send_timeout),
        "action": _action(location.action),
        "error_pages": [page.model_dump() for page in location.error_pages],
        "locations": [_location(each) for each in location.locations],
        "rewrite": [_code(code) for code in location.rewrite],
    }


_TIMES = ("auth_delay", "keepalive_timeout", "keepalive_time")


def _manner(manner: Manner) -> dict[str, Any]:
    times = {f"{name}_ms": _optional_ms(getattr(manner, name)) for name in _TIMES}
    return {**manner.model_dump(exclude=set(_TIMES)), **times}


_STREAM_TIMES = ("connect_timeout", "timeout", "next_timeout")


def _stream_server(server: StreamServer) -> dict[str, Any]:
    made = server.model_dump()
    if isinstance(server.action, StreamPass):
        times = {f"{name}_ms": _ms(getattr(server.action, name)) for name in _STREAM_TIMES}
        made["action"] = {**server.action.model_dump(exclude=set(_STREAM_TIMES)), **times}
    return made


def _code(code: Set | Rewrite | Break | Return | If) -> dict[str, Any]:
    if not isinstance(code, If):
        return code.model_dump()
    return {
        **code.model_dump(include={"kind", "test", "left", "right"}),
        "then": [_code(each) for each in code.then],
        "location": _location(code.location) if code.location else None,
    }


def _action(action: ProxyPass | Files | Return | Status) -> dict[str, Any]:
    if not isinstance(action, ProxyPass):
        return action.model_dump()
    options = action.options.model_dump(exclude={"next_timeout"}, by_alias=True)
    return {
        "kind": "proxy",
        "upstream": action.upstream,
        "uri": action.uri,
        "set_headers": action.set_headers,
        "connect_timeout_ms": _ms(action.connect_timeout),
        "send_timeout_ms": _ms(action.send_timeout),
        "read_timeout_ms": _ms(action.read_timeout),
        "options": {**options, "next_timeout_ms": _ms(action.options.next_timeout)},
    }


def _upstream(upstream: Upstream) -> dict[str, Any]:
    return {
        "name": upstream.name,
        "balance": upstream.balance.model_dump(),
        "keepalive": upstream.keepalive,
        "keepalive_timeout_ms": _ms(upstream.keepalive_timeout),
        "keepalive_requests": upstream.keepalive_requests,
        "keepalive_time_ms": _ms(upstream.keepalive_time),
        "sticky": _sticky(upstream.sticky),
        "retry_percent": upstream.retry_percent,
        "queue": upstream.queue and (upstream.queue.most, _ms(upstream.queue.timeout)),
        "peers": [
            {
                "address": peer.address,
                "weight": peer.weight,
                "max_fails": peer.max_fails,
                "fail_timeout_ms": _ms(peer.fail_timeout),
                "backup": peer.backup,
                "down": peer.down,
                "max_conns": peer.max_conns,
                "route": peer.route,
                "drain": peer.drain,
                "slow_start_ms": _ms(peer.slow_start),
            }
            for peer in upstream.peers
        ],
    }


def _sticky(sticky: Sticky | None) -> dict[str, Any] | None:
    if sticky is None:
        return None
    cookie, learn = sticky.cookie, sticky.learn
    made = sticky.model_dump()
    if cookie is not None and cookie.expires is not None:
        made["cookie"]["expires"] = round(cookie.expires) or _FOR_EVER
    if learn is not None:
        del made["learn"]["timeout"]
        made["learn"]["timeout_ms"] = _ms(learn.timeout)
    return made


_FOR_EVER = (1 << 64) - 1
