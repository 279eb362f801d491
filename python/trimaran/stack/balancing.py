"""How a virtual service shares its flows out: IPVS's schedulers and what goes with them."""

from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from trimaran.stack.units import Seconds

Scheduler = Literal[
    "rr", "wrr", "lc", "wlc", "sh", "dh", "mh", "sed", "nq", "fo", "ovf", "twos", "lblc", "lblcr"
]
SchedulerFlag = Literal["sh-port", "sh-fallback", "mh-port", "mh-fallback"]
DeadFlows = Literal["drop", "unpin", "reset"]

SCHEDULERS: tuple[str, ...] = get_args(Scheduler)
FLAGS: tuple[SchedulerFlag, ...] = get_args(SchedulerFlag)
WITHOUT_IPV6 = ("dh", "lblc", "lblcr")  # as in IPVS, but only of use to hosts with many addresses


def scheduler_of(flag: str) -> str:
    """The only scheduler that a flag belongs to."""
    return flag.partition("-")[0]


def parse_granularity(value: Any) -> Any:
    """'255.255.255.0' as 24; a prefix length stays as it is."""
    if not isinstance(value, str):
        return value
    try:
        length = IPv4Network(f"0.0.0.0/{IPv4Address(value)}").prefixlen
    except ValueError:
        length = 0
    if length == 0:
        raise ValueError(f"'{value}' is neither an IPv4 netmask nor a prefix length")
    return length


Granularity = Annotated[
    int,
    BeforeValidator(parse_granularity),
    Field(ge=1, le=128),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 128},
                {"type": "string", "format": "ipv4"},
            ],
            "description": "an IPv4 netmask or a prefix length",
        }
    ),
]


class Persistence(BaseModel):
    """A client that comes again within `timeout` of its last connection gets the same real server;
    `granularity` makes one client of a whole network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout: Annotated[Seconds, Field(ge=1, le=31 * 86400)] = 360.0
    granularity: Granularity | None = None


class FlowTable(BaseModel):
    """How much a director remembers: flows over IPv4 and over IPv6 (about 105 and 130 bytes each,
    taken at once), and clients of persistent services (the least recent give way)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ipv4: Annotated[int, Field(ge=1024, le=1 << 27)] = 1 << 20
    ipv6: Annotated[int, Field(ge=1024, le=1 << 27)] = 1 << 20
    persistent_clients: Annotated[int, Field(ge=1024, le=1 << 27)] = 1 << 16
