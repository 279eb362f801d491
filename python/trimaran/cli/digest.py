"""`trimaran digest`: what a digest check would compare (keepalived's genhash)."""

import asyncio
import hashlib
import socket
import sys
from ipaddress import IPv4Address
from urllib.parse import urlsplit

from trimaran.health.probes.errors import ProbeError
from trimaran.health.probes.http import fetch
from trimaran.health.settings import CheckSettings, HttpProbe, Target, Tls
from trimaran.system.errors import CannotRunError


def print_digest(url: str, host: str | None, version: str, timeout_s: float) -> None:
    """Fetch a page as a check would and print the MD5 of its body; the status to stderr. Raises
    CannotRunError."""
    try:
        check, probe = _check(url, host, version, timeout_s)
        status, body = asyncio.run(_fetch(check, probe))
    except (ProbeError, ValueError) as error:
        raise CannotRunError(f"{url}: {error}") from error
    except TimeoutError:
        raise CannotRunError(f"{url}: no answer within {timeout_s:g} s") from None
    print(hashlib.md5(body, usedforsecurity=False).hexdigest())
    print(f"status {status}, {len(body)} bytes", file=sys.stderr)


async def _fetch(check: CheckSettings, probe: HttpProbe) -> tuple[int, bytes]:
    async with asyncio.timeout(check.timeout_s):
        return await fetch(check, probe)


def _check(
    url: str, host: str | None, version: str, timeout_s: float
) -> tuple[CheckSettings, HttpProbe]:
    """Raises ValueError."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write it like http://10.0.0.2:8080/page")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    named = None if _is_address(parts.hostname) else parts.hostname
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    probe = HttpProbe(
        path=path,
        version=version,
        host=host or named,
        tls=Tls(server_name=host or named) if parts.scheme == "https" else None,
    )
    target = Target(_address(parts.hostname), port)
    return CheckSettings(target, timeout_s, timeout_s, 0, 1.0, 1, probe), probe


def _is_address(name: str) -> bool:
    try:
        IPv4Address(name)
    except ValueError:
        return False
    return True


def _address(name: str) -> IPv4Address:
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise ValueError(f"'{name}' has no address: {error.strerror}") from None
    return IPv4Address(found[0][4][0])
