"""Value types of the stack file: durations, ports, secrets."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SecretStr, WithJsonSchema

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}


def parse_seconds(value: Any) -> Any:
    """'500ms', '3s', '2m', '1h', or a plain number of seconds, as seconds."""
    if not isinstance(value, str):
        return value
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"'{value}' is not a duration; write it like 500ms, 3s or 2m")
    return float(match[1]) * _UNIT_S[match[2]]


_SECONDS_SCHEMA = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": rf"^{_DURATION.pattern}$"},
    ],
    "description": "seconds, or a duration such as 500ms, 3s, 2m, 1h",
}

Seconds = Annotated[
    float,
    BeforeValidator(parse_seconds),
    Field(ge=0, allow_inf_nan=False),
    WithJsonSchema(_SECONDS_SCHEMA),
]
Port = Annotated[int, Field(ge=1, le=65535)]
Weight = Annotated[int, Field(ge=0, le=65535)]
Secret = SecretStr
