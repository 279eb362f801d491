"""The HTTP model in, the engine's snapshot out: one JSON text, durations in milliseconds.

The engine compiles it (rust/proxy/src/config.rs names every field) and refuses what it cannot
serve, unknown $variables included.
"""

import json
from typing import Any

from trimaran.stack.http import Files, Http, Location, ProxyPass, Return, Server, Upstream
from trimaran.stack.mime_types import BUILT_IN_TYPES


def snapshot(http: Http) -> str:
    """The snapshot of everything one proxy process serves."""
    return json.dumps(
        {
            "servers": [_server(server) for server in http.servers],
            "upstreams": [_upstream(upstream) for upstream in http.upstreams],
            "types": http.types or BUILT_IN_TYPES,
            "default_type": http.default_type,
            "limits": {
                "body_size": http.client_max_body_size,
                "header_line": http.large_client_header_buffer,
                "header_timeout_ms": _ms(http.client_header_timeout),
                "body_timeout_ms": _ms(http.client_body_timeout),
                "send_timeout_ms": _ms(http.send_timeout),
            },
        }
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _server(server: Server) -> dict[str, Any]:
    return {
        "listen": [listen.model_dump() for listen in server.listen],
        "names": server.names,
        "locations": [_location(location) for location in server.locations],
        "keepalive_timeout_ms": _ms(server.keepalive_timeout),
        "access_log": server.access_log,
    }


def _location(location: Location) -> dict[str, Any]:
    return {
        "match": location.match,
        "path": location.path,
        "internal": location.internal,
        "action": _action(location.action),
        "error_pages": [page.model_dump() for page in location.error_pages],
    }


def _action(action: ProxyPass | Files | Return) -> dict[str, Any]:
    if not isinstance(action, ProxyPass):
        return action.model_dump()
    return {
        "kind": "proxy",
        "upstream": action.upstream,
        "uri": action.uri,
        "set_headers": action.set_headers,
        "connect_timeout_ms": _ms(action.connect_timeout),
        "send_timeout_ms": _ms(action.send_timeout),
        "read_timeout_ms": _ms(action.read_timeout),
    }


def _upstream(upstream: Upstream) -> dict[str, Any]:
    return {
        "name": upstream.name,
        "keepalive": upstream.keepalive,
        "keepalive_timeout_ms": _ms(upstream.keepalive_timeout),
        "peers": [
            {
                "address": peer.address,
                "weight": peer.weight,
                "max_fails": peer.max_fails,
                "fail_timeout_ms": _ms(peer.fail_timeout),
                "backup": peer.backup,
                "down": peer.down,
            }
            for peer in upstream.peers
        ],
    }
