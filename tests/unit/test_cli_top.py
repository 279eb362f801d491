"""`trimaran top`: what it makes of statuses, and the screen under a pilot's hands."""

import asyncio
from collections.abc import Awaitable, Callable
from copy import deepcopy
from typing import Any

import pytest
from textual.pilot import Pilot

from trimaran.cli import top_rows
from trimaran.cli.top import Section, Top
from trimaran.node.client import ControlError


def real(name: str, last: int, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": name,
        "address": f"192.168.31.{last}",
        "port": 80,
        "weight": 1,
        "active": 3,
        "inactive": 1,
        "connections": 100,
        "packets": 1000,
        "bytes": 10_000,
        "well": True,
        "listed": True,
        "sorry": False,
        "mode": "enabled",
        "last_check": {"ok": True, "ago_s": 0.5, "latency_ms": 0.42, "error": ""},
        "checks": [],
    }
    return row | changes


def status(**changes: Any) -> dict[str, Any]:
    director = {
        "services": [
            {
                "name": "web",
                "protocol": "tcp",
                "address": "192.168.31.145",
                "port": 80,
                "scheduler": "rr",
                "real_servers": [real("node4", 165, **changes), real("node5", 179, active=9)],
                "quorum": {"met": True, "weight": 2, "wanted": 1, "hysteresis": 0},
            }
        ],
        "drops": {"ttl": 2},
        "flows": {"live": 12_345},
    }
    vrrp = {
        "routers": [
            {
                "name": "front",
                "state": "MASTER",
                "priority": 151,
                "effective_priority": 1,
                "addresses": ["192.168.31.145/32"],
                "master": {"address": "192.168.31.93", "priority": 151},
                "last_transition": {"cause": "no advert", "ago_s": 3723},
            }
        ]
    }
    proxy = {
        "upstreams": [
            {
                "name": "peers",
                "peers": [
                    {"address": "192.168.31.97:80", "weight": 1, "well": False, "fails": 2,
                     "requests": 50, "active": 1, "state": "unavailable"},
                ],
            }
        ]
    }  # fmt: skip
    rows = {"director": director, "proxy": proxy, "vrrp": vrrp}
    return {
        "node": "node2",
        "version": "0.1.0",
        "roles": {name: {"state": "running", "status": row} for name, row in rows.items()},
    }


def test_rates_are_differences_and_a_counter_that_began_anew_has_none() -> None:
    later = status(connections=120, packets=3000, bytes=20_000)
    row = top_rows.reals(later, status(), 2.0)[0]
    assert (row.cells["new"], row.cells["packets"], row.cells["bits"]) == (10, 1000, 40_000)
    (service,) = top_rows.services(later, status(), 2.0)
    assert (service.cells["new"], service.cells["active"]) == (10, 12)
    assert top_rows.reals(status(connections=0), status(), 2.0)[0].cells["new"] == 0
    assert top_rows.reals(later, None, 0.0)[0].cells["new"] == 0


@pytest.mark.parametrize(
    ("changes", "state", "trouble"),
    [
        ({}, "up", ""),
        ({"mode": "drained", "weight": 0}, "drained", "warn"),
        ({"well": False, "listed": False}, "down", "bad"),
        ({"sorry": True, "listed": False}, "out", ""),
    ],
)
def test_states(changes: dict[str, Any], state: str, trouble: str) -> None:
    row = top_rows.reals(status(**changes), None, 0.0)[0]
    assert (row.cells["state"], row.trouble) == (state, trouble)


def test_words_for_numbers_and_times() -> None:
    numbers = [0, 0.0, 5.25, 12.7, 99_999, 100_000, 1_234_567, 5e9]
    assert [top_rows.shown(each) for each in numbers] == [
        "0", "0", "5.2", "13", "99,999", "100.0k", "1.2M", "5.0G",
    ]  # fmt: skip
    seconds = [5, 65, 3723, 90_061]
    assert [top_rows.duration(each) for each in seconds] == ["5s", "1m05s", "1h02m", "1d01h"]


def test_an_order_begins_with_the_greatest() -> None:
    rows = top_rows.reals(status(), None, 0.0)
    assert [row.cells["name"] for row in top_rows.arranged(rows, "active")] == ["node5", "node4"]
    assert top_rows.arranged(rows, "") == rows


class Node:
    """A node that answers with what it is given, and notes what it is asked to change."""

    def __init__(self) -> None:
        self.status: dict[str, Any] | str = status()
        self.changes: list[tuple[str, str, str]] = []

    async def ask(self) -> dict[str, Any]:
        if isinstance(self.status, str):
            raise ControlError(self.status)
        return deepcopy(self.status)

    async def change(self, verb: str, name: str, service: str) -> list[dict[str, Any]]:
        if name == "node5":
            raise ControlError("no")
        self.changes.append((verb, name, service))
        self.status = status(mode="drained", weight=0)
        return [{"service": service, "name": name, "mode": "drained"}]


Act = Callable[[Node, Top, Pilot[None]], Awaitable[None]]


def play(act: Act, size: tuple[int, int] = (80, 24)) -> None:
    async def main() -> None:
        node = Node()
        app = Top(node.ask, node.change, period_s=3600)  # looks when it is told to
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await act(node, app, pilot)

    asyncio.run(main())


def cells(app: Top, name: str) -> list[list[str]]:
    section = app.query_one(f"#{name}", Section)
    return [[str(cell) for cell in section.get_row_at(at)] for at in range(section.row_count)]


def test_a_small_screen_has_the_columns_that_matter() -> None:
    async def act(node: Node, app: Top, pilot: Pilot[None]) -> None:
        assert cells(app, "reals")[0] == [
            "web", "node4", "up", "1", "3", "0", "0", "0.4 ms",
        ]  # fmt: skip
        assert cells(app, "routers") == [["front", "MASTER", "1 of 151", "192.168.31.93", "1h02m"]]
        assert cells(app, "peers")[0][:3] == ["peers", "192.168.31.97:80", "unavailable"]
        for section in app.query(Section):
            assert section.virtual_size.width <= 78, f"{section.id} needs no scrolling"
            assert section.region.bottom <= 23 and section.region.height >= 3
        await pilot.resize_terminal(200, 60)
        await pilot.pause()
        assert "192.168.31.165:80" in cells(app, "reals")[0]
        assert "no advert" in cells(app, "routers")[0]

    play(act)


def test_keys_drain_what_the_cursor_is_on() -> None:
    async def act(node: Node, app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("d")
        await pilot.pause()
        assert node.changes == [("drain", "node4", "web")]
        assert cells(app, "reals")[0][2:4] == ["drained", "0"]
        await pilot.press("down", "x")
        assert node.changes == [("drain", "node4", "web")], "refused, and said so"
        await pilot.press("up", "e")
        assert node.changes[-1] == ("enable", "node4", "web")

    play(act)


def test_sorted_the_cursor_stays_on_its_row() -> None:
    async def act(node: Node, app: Top, pilot: Pilot[None]) -> None:
        section = app.query_one("#reals", Section)
        await pilot.press("s")
        assert [row[1] for row in cells(app, "reals")] == ["node5", "node4"]
        assert section.border_title == "real servers by active"
        chosen = section.chosen()
        assert chosen is not None and chosen.cells["name"] == "node4"

    play(act)


def test_a_node_that_does_not_answer_is_said_and_asked_again() -> None:
    async def act(node: Node, app: Top, pilot: Pilot[None]) -> None:
        node.status = "the node ended"
        await app.look()
        assert "the node ended" in str(app.query_one("#head").render())
        node.status = status()
        await app.look()
        assert "12,345 flows" in str(app.query_one("#head").render())

    play(act)
