"""Who plays what in the demo."""

from copy import deepcopy
from typing import Any

import pytest

from trimaran.lab.cast import CastError, cast
from trimaran.stack.model import Stack

SEVEN: dict[str, Any] = {
    "nodes": {f"node{number}": {"address": f"10.0.0.{number}"} for number in range(2, 8)},
    "virtual_routers": {
        "front": {
            "router_id": 51,
            "addresses": ["10.0.0.100"],
            "advert_interval": "2s",
            "members": {"node2": 101, "node3": 151},
        }
    },
    "virtual_services": {
        "web": {"listen": "front:8080", "real_servers": {"node4": {}, "node5": {}}}
    },
    "sites": {
        "one": {"node": "node6", "root": "w1"},
        "two": {"node": "node7", "root": "w2"},
    },
}
PAGES = {"one": "first", "two": "second"}


def test_the_director_with_the_highest_priority_is_the_master() -> None:
    players = cast(Stack.model_validate(SEVEN), PAGES)
    assert (players.master, players.backup) == ("node3", "node2")
    assert players.proxies == ("node4", "node5")
    assert players.sites == ("node6", "node7")
    assert players.pages == ("first", "second")
    assert (str(players.vip), players.port) == ("10.0.0.100", 8080)


def test_the_bound_is_the_protocols() -> None:
    """Three adverts, and the skew of the backup's priority, 101."""
    players = cast(Stack.model_validate(SEVEN), PAGES)
    assert (players.takeover_s, players.skew_s) == (3 * 2.0 + 155 / 256, 155 / 256)


@pytest.mark.parametrize(
    ("missing", "error"),
    [
        (("virtual_routers", "front"), "needs a virtual router"),
        (("virtual_services", "web"), "no virtual service listens"),
        (("sites", "two"), "needs two sites; this stack has 1"),
    ],
)
def test_a_stack_that_lacks_a_part_cannot_be_played(missing: tuple[str, str], error: str) -> None:
    data = deepcopy(SEVEN)
    del data[missing[0]][missing[1]]
    with pytest.raises(CastError, match=error):
        cast(Stack.model_validate(data), PAGES)


def test_one_director_is_not_enough() -> None:
    data = deepcopy(SEVEN)
    data["virtual_routers"]["front"]["members"] = {"node2": 100}
    with pytest.raises(CastError, match="needs two members"):
        cast(Stack.model_validate(data), PAGES)
