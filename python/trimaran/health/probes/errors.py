"""How a probe fails."""

import os


class ProbeError(Exception):
    """The probe failed; the message says how."""


def explained(error: OSError) -> ProbeError:
    """'connection refused', as the system has it, in small letters."""
    if isinstance(error, TimeoutError) and not error.errno:
        return ProbeError("timed out")
    if isinstance(error, ConnectionError) and not error.errno:
        return ProbeError("the connection ended too early")  # asyncio's own, without a word
    reason = os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
    return ProbeError(reason.lower())
