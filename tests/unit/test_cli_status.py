"""`trimaran status` and `trimaran events` for people."""

from copy import deepcopy
from typing import Any

from rich.console import Console

from trimaran.cli.events import _line
from trimaran.cli.status import render

ROUTER = {
    "name": "front",
    "router_id": 51,
    "interface": "ens33",
    "state": "MASTER",
    "priority": 151,
    "effective_priority": 1,
    "addresses": ["192.168.31.145/32"],
    "master": {"address": "192.168.31.93", "priority": 151},
    "last_transition": {"from": "BACKUP", "to": "MASTER", "cause": "no advert", "ago_s": 12.3},
    "counters": {},
}
PROXY = {
    "listeners": ["0.0.0.0:80"],
    "requests": 7,
    "connections": 1,
    "responses": {"2xx": 7},
    "upstreams": [
        {
            "name": "web",
            "peers": [
                {
                    "address": "192.168.31.97:80",
                    "weight": 3,
                    "well": False,
                    "fails": 2,
                    "requests": 5,
                }
            ],
        }
    ],
}


def row(state: str, status: Any = None, cause: str = "") -> dict[str, Any]:
    return {"state": state, "pid": 12, "restarts": 3, "cause": cause, "status": status}


def shown(width: int = 160, **roles: Any) -> list[list[str]]:
    """The words of each line."""
    console = Console(width=width, record=True, quiet=False, file=None)
    with console.capture() as capture:
        for part in render({"node": "node2", "version": "0.1.0", "roles": roles}):
            console.print(part)
    return [line.split() for line in capture.get().splitlines()]


def test_roles_and_their_causes() -> None:
    lines = shown(director=row("failed", cause="no eBPF"), vrrp=row("running"))
    assert lines[0] == ["node2", "(trimaran", "0.1.0)"]
    assert ["director", "failed", "12", "3", "no", "eBPF"] in lines
    assert ["vrrp", "running", "12", "3"] in lines


def test_a_virtual_router_that_gave_its_priority_up() -> None:
    lines = [" ".join(line) for line in shown(80, vrrp=row("running", {"routers": [ROUTER]}))]
    assert "front 51 MASTER 1 (of 151) 192.168.31.145/32 192.168.31.93 (151)" in lines
    assert "front: MASTER for 12 s: no advert" in lines


def test_eighty_columns_show_whole_addresses() -> None:
    settled = {**ROUTER, "effective_priority": 151}
    lines = [" ".join(line) for line in shown(80, vrrp=row("running", {"routers": [settled]}))]
    assert "front 51 MASTER 151 192.168.31.145/32 192.168.31.93 (151)" in lines


def test_a_router_that_knows_no_master_and_never_changed() -> None:
    young = {**ROUTER, "state": "BACKUP", "master": None, "last_transition": None}
    assert any("BACKUP" in line for line in shown(vrrp=row("running", {"routers": [young]})))


def test_peers_of_several_proxies() -> None:
    lines = shown(**{"proxy:a": row("running", PROXY), "proxy:b": row("running", PROXY)})
    peer = ["web", "192.168.31.97:80", "3", "no", "2", "5"]
    assert lines.count(peer) == 2


REAL = {
    "name": "node4",
    "address": "192.168.31.165",
    "port": 80,
    "forward": "Route",
    "weight": 0,
    "active": 3,
    "inactive": 0,
    "listed": True,
    "mode": "drained",
    "changed": {"cause": "drain by uid 0", "weight": None, "added": False, "configured_weight": 1},
}
DIRECTOR = {
    "services": [
        {
            "name": "web",
            "protocol": "tcp",
            "address": "192.168.31.145",
            "port": 80,
            "scheduler": "rr",
            "scheduler_flags": [],
            "one_packet": False,
            "persistence_s": 0,
            "granularity": 0,
            "real_servers": [REAL],
        }
    ]
}


def test_what_was_changed_at_run_time_is_shown_as_such() -> None:
    lines = shown(director=row("running", DIRECTOR))
    assert ["changed", "at", "run", "time"] in lines
    assert ["web", "node4", "drained", "0", "(of", "1)", "drain", "by", "uid", "0"] in lines
    configured = deepcopy(DIRECTOR)
    configured["services"][0]["real_servers"][0]["changed"] = None
    assert ["changed", "at", "run", "time"] not in shown(director=row("running", configured))


def test_an_event_says_its_cause() -> None:
    event = {
        "seq": 7,
        "time": "2026-11-22T16:00:01.250+00:00",
        "node": "node3",
        "role": "vrrp",
        "name": "vrrp.transition",
        "subject": "front",
        "message": "front: BACKUP → MASTER",
        "cause": "no advert for 3.61 s",
        "data": {},
    }
    assert _line(event).plain == (
        "16:00:01.250 vrrp        front: BACKUP → MASTER  because no advert for 3.61 s"
    )
