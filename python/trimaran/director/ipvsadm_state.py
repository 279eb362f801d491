"""A director's part of `GET /status` as the state that ipvsadm lists."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from trimaran.director.ipvs import (
    Connection,
    Counters,
    Destination,
    DestinationRow,
    Info,
    Listen,
    Load,
    Method,
    Service,
    ServiceRow,
    State,
)
from trimaran.director.ipvs_plan import tunnel_of
from trimaran.director.settings import TunnelSettings
from trimaran.director.tables import PROTOCOLS

INFO = Info(0x010201, 4096)  # what IPVS says of itself; ours has no such buckets
ENDS = ("client", "virtual", "destination")
METHODS = {
    "Route": Method.ROUTE,
    "Local": Method.LOCAL,
    "Masq": Method.MASQ,
    "Tunnel": Method.TUNNEL,
}


def state(status: Mapping[str, Any]) -> State:
    """A real server that is out of the table is not in it. A service's counters are the sums of
    its real servers'; out is 0, as with IPVS: answers do not come by here."""
    return State(INFO, tuple(_service(row) for row in status["services"]))


def connection(row: Mapping[str, Any]) -> Connection:
    """A row of `GET /connections`."""
    client, virtual, destination = ((ip_address(row[n][0]), row[n][1]) for n in ENDS)
    return Connection(
        row["protocol"],
        client,
        virtual,
        destination,
        row["state"],
        row["expires_s"],
        row["engine"],
        row["engine_data"],
    )


def _service(row: Mapping[str, Any]) -> ServiceRow:
    rows = tuple(_destination(real) for real in row["real_servers"] if real["listed"])
    key = Listen(PROTOCOLS[row["protocol"]], ip_address(row["address"]), row["port"])
    every = [_counters(real) for real in row["real_servers"]]
    counters = Counters(
        sum(each.connections for each in every),
        sum(each.in_packets for each in every),
        0,
        sum(each.in_bytes for each in every),
    )
    return ServiceRow(Service(key, row["scheduler"]), counters, rows)


def _destination(real: Mapping[str, Any]) -> DestinationRow:
    tunnel = TunnelSettings(**real["tunnel"]) if real.get("tunnel") else TunnelSettings()
    there = Destination(
        ip_address(real["address"]),
        real["port"],
        METHODS[real["forward"]],
        real["weight"],
        tunnel=tunnel_of(tunnel),
    )
    return DestinationRow(there, Load(real["active"], real["inactive"]), _counters(real))


def _counters(real: Mapping[str, Any]) -> Counters:
    return Counters(real["connections"], real["packets"], 0, real["bytes"])
