"""One kind of probe per module; each is a coroutine that raises ProbeError. `ask` finds it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from trimaran.health.probes import dns, file, grpc, http, ping, script, smtp, tcp, udp
from trimaran.health.probes.errors import ProbeError
from trimaran.health.settings import (
    CheckSettings,
    DnsProbe,
    FileProbe,
    GrpcProbe,
    HttpProbe,
    PingProbe,
    Probe,
    ScriptProbe,
    SmtpProbe,
    TcpProbe,
    UdpProbe,
)
from trimaran.health.verdict import Outcome

_GOOD = Outcome()
_PROBES: dict[type[Probe], Callable[[CheckSettings, Any], Awaitable[Outcome | None]]] = {
    TcpProbe: tcp.probe,
    HttpProbe: http.probe,
    ScriptProbe: script.probe,
    PingProbe: ping.probe,
    UdpProbe: udp.probe,
    DnsProbe: dns.probe,
    SmtpProbe: smtp.probe,
    FileProbe: file.probe,
    GrpcProbe: grpc.probe,
}


async def ask(check: CheckSettings) -> Outcome:
    """Probe once, within the check's timeout. Raises ProbeError, and nothing else."""
    try:
        async with asyncio.timeout(check.timeout_s):
            return await _PROBES[type(check.probe)](check, check.probe) or _GOOD
    except TimeoutError:
        raise ProbeError(f"no answer within {check.timeout_s:g} s") from None
    except ProbeError:
        raise
    except Exception as error:  # a defect in one kind of probe must not end the others
        raise ProbeError(f"the probe broke: {type(error).__name__}: {error}") from error
