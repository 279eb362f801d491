"""What a plan says before anything is done."""

from dataclasses import replace
from ipaddress import IPv4Interface
from typing import Any

from trimaran.cli.plan import told
from trimaran.node.difference import difference
from trimaran.node.plain import to_plain
from trimaran.vrrp.settings import RouterSettings, VrrpSettings

FRONT = RouterSettings(
    "front", 51, "ens33", 151, (IPv4Interface("10.0.0.1/32"),), password=b"secret1"
)
BACK = replace(FRONT, name="back", router_id=52)
LIVE = frozenset({"proxy"})


def _vrrp(*routers: RouterSettings) -> Any:
    return to_plain(VrrpSettings("node2", routers))


def _told(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return told([each.plain() for each in difference(before, after, LIVE)])


def test_nothing() -> None:
    same = {"vrrp": _vrrp(FRONT), "proxy": {"workers": 2}}
    assert _told(same, same) == ["nothing would change"]


def test_routers_come_go_and_change() -> None:
    before = {"vrrp": _vrrp(FRONT, BACK)}
    other = replace(BACK, name="other")
    after = {"vrrp": _vrrp(replace(FRONT, priority=101, password=b"secret2"), other)}
    assert _told(before, after) == [
        "~ vrrp: routers.front.priority  (151 → 101; taken up when vrrp is restarted)",
        "~ vrrp: routers.front.password  (a secret; taken up when vrrp is restarted)",
        "- vrrp: routers.back  (taken up when vrrp is restarted)",
        "+ vrrp: routers.other  (taken up when vrrp is restarted)",
        "mastership can move: when vrrp is restarted, it hands its masterships over first",
    ]
    assert not any("secret1" in line or "c2VjcmV0" in line for line in _told(before, after))


def test_a_proxy_changes_while_it_runs_and_nothing_moves() -> None:
    before = {"vrrp": _vrrp(FRONT), "proxy": {"workers": 2, "listen": ["80"]}}
    after = {"vrrp": _vrrp(FRONT), "proxy": {"workers": 4, "listen": ["80", "443"]}}
    assert _told(before, after) == [
        "~ proxy: workers  (2 → 4)",
        "~ proxy: listen  (80 → 80, 443)",
        "mastership stays where it is",
    ]


def test_roles_come_and_go() -> None:
    assert _told({"vrrp": _vrrp(FRONT)}, {"site": {}}) == [
        "- vrrp  (it runs until the node is restarted)",
        "+ site  (it starts when the node is restarted)",
        "mastership can move: when vrrp leaves, it hands its masterships over first",
    ]
