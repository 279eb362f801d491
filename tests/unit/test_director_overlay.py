"""What an overlay makes of the configured services."""

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from trimaran.director.overlay import (
    MOST_CHANGES,
    Overlay,
    OverlayError,
    ServerChange,
    ServerPlace,
    ServiceChange,
    changed,
    named,
    place_of,
    server_place,
)
from trimaran.director.settings import RealServerSettings, ServiceSettings
from trimaran.node.director_changes import Asked, DirectorChanges
from trimaran.node.plain import from_plain, to_plain


def real(name: str, weight: int = 1, **rest: Any) -> RealServerSettings:
    address = IPv4Address(f"192.0.2.{ord(name)}")
    return RealServerSettings(name, address, 80, weight, **rest)


def service(name: str, last: int, *reals: RealServerSettings) -> ServiceSettings:
    return ServiceSettings(name, IPv4Address(f"198.51.100.{last}"), 80, "tcp", "wrr", reals)


WEB = service("web", 1, real("a"), real("b", 3))
MAIL = service("mail", 2, real("a"))
CONFIGURED = (WEB, MAIL)
A = server_place(WEB, WEB.real_servers[0])


def weights(services: tuple[ServiceSettings, ...]) -> dict[str, dict[str, tuple[str, int]]]:
    return {s.name: {r.name: (r.mode, r.weight) for r in s.real_servers} for s in services}


def test_nothing_changes_nothing() -> None:
    assert Overlay().over(CONFIGURED) == CONFIGURED
    nothing = Overlay().with_servers([ServerChange(A, "why")])
    assert nothing == Overlay()


def test_modes_and_weights_are_laid_over_and_taken_back() -> None:
    overlay = Overlay()
    overlay = overlay.with_servers([changed(overlay, A, "one", "drained", None)])
    overlay = overlay.with_servers([changed(overlay, A, "two", None, 9)])
    assert weights(overlay.over(CONFIGURED))["web"]["a"] == ("drained", 9)
    assert weights(overlay.over(CONFIGURED))["mail"]["a"] == ("enabled", 1)
    overlay = overlay.with_servers([changed(overlay, A, "three", "enabled", None)])
    assert weights(overlay.over(CONFIGURED))["web"]["a"] == ("enabled", 9)
    assert overlay.with_servers([changed(overlay, A, "four", None, -1)]) == Overlay()


def test_services_come_change_and_go() -> None:
    other = service("192.0.2.9:80", 9, real("x"))
    edited = replace(WEB, scheduler="rr", real_servers=())
    overlay = Overlay().with_service(ServiceChange(place_of(MAIL), "gone"))
    overlay = overlay.with_service(ServiceChange(place_of(other), "new", other))
    overlay = overlay.with_service(ServiceChange(place_of(WEB), "edited", edited))
    made = overlay.over(CONFIGURED)
    assert [each.name for each in made] == ["web", "192.0.2.9:80"]
    assert made[0] == replace(WEB, scheduler="rr"), "its real servers are the configuration's"
    assert made[1].real_servers == (), "those of a change never count"


def test_a_service_that_was_removed_and_added_again_is_empty() -> None:
    overlay = Overlay().with_servers([ServerChange(A, "why", "drained")])
    overlay = overlay.with_service(ServiceChange(place_of(WEB), "gone"))
    assert overlay.servers == (), "what was said of its real servers went with it"
    overlay = overlay.with_service(ServiceChange(place_of(WEB), "back", WEB, emptied=True))
    assert overlay.over(CONFIGURED)[0].real_servers == ()


def test_real_servers_come_and_go() -> None:
    new = real("n", 5)
    place = server_place(WEB, new)
    overlay = Overlay().with_servers(
        [ServerChange(place, "new", added=new), ServerChange(A, "gone", removed=True)]
    )
    assert weights(overlay.over(CONFIGURED))["web"] == {"b": ("enabled", 3), "n": ("enabled", 5)}
    drained = overlay.with_servers([changed(overlay, place, "drain", "drained", None)])
    assert weights(drained.over(CONFIGURED))["web"]["n"] == ("drained", 5)
    nowhere = ServerChange(ServerPlace(place_of(service("no", 7)), "192.0.2.7", 80), "", "drained")
    assert overlay.with_servers([nowhere]).over(CONFIGURED) == overlay.over(CONFIGURED)


def test_it_crosses_the_border_unchanged() -> None:
    overlay = Overlay().with_servers([ServerChange(A, "why", "disabled", 4, added=real("a"))])
    overlay = overlay.with_service(ServiceChange(place_of(WEB), "edited", WEB, True))
    assert from_plain(Overlay, to_plain(overlay)) == overlay


def test_it_is_bounded() -> None:
    place = place_of(WEB)
    many = [
        ServerChange(ServerPlace(place, "192.0.2.1", port), "why", "drained")
        for port in range(MOST_CHANGES + 1)
    ]
    with pytest.raises(OverlayError, match="put them into the configuration"):
        Overlay().with_servers(many)


@pytest.mark.parametrize("name", ["a", "192.0.2.97", "192.0.2.97:80"])
def test_real_servers_are_found_by_name_and_address(name: str) -> None:
    assert [s.name for s, _ in named(CONFIGURED, name, None)] == ["web", "mail"]
    for of in ("mail", "198.51.100.2", "198.51.100.2:80"):
        assert [s.name for s, _ in named(CONFIGURED, name, of)] == ["mail"]


class Told:
    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []
        self.changes = DirectorChanges(CONFIGURED, Overlay(), self.event)

    def event(self, name: str, subject: str, message: str, cause: str, data: Any) -> None:
        self.events.append((name.partition(".")[2], message, cause))


def test_what_operators_ask_for_is_told_once_with_its_cause() -> None:
    told = Told()
    rows = told.changes.obey(Asked("drain", "by me", "a"))
    assert [(r["service"], r["mode"], r["weight"]) for r in rows] == [
        ("web", "drained", 1),
        ("mail", "drained", 1),
    ]
    told.changes.obey(Asked("drain", "again", "a", "mail"))
    told.changes.obey(Asked("weight", "more", "b", weight=8))
    told.changes.obey(Asked("reset", "reload"))
    assert told.changes.services == CONFIGURED
    drains = "drains: its flows go on, no new one comes"
    assert told.events == [
        ("real_server_drained", f"web: a (192.0.2.97:80) {drains}", "by me"),
        ("real_server_drained", f"mail: a (192.0.2.97:80) {drains}", "by me"),
        ("real_server_weight", "web: b (192.0.2.98:80) has the weight 8", "more"),
        ("real_server_reset", "web: a (192.0.2.97:80) is as the configuration has it again",
         "reload"),
        ("real_server_reset", "web: b (192.0.2.98:80) is as the configuration has it again",
         "reload"),
        ("real_server_reset", "mail: a (192.0.2.97:80) is as the configuration has it again",
         "reload"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Asked("drain", "", "aa"), "no real server 'aa' here"),
        (Asked("drain", "", "a", "wep"), r"no virtual service 'wep' here \(did you mean 'web'"),
        (Asked("weight", "", "a", weight=65536), "from 0 to 65535, not 65536"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(asked: Asked, words: str) -> None:
    told = Told()
    with pytest.raises(OverlayError, match=words):
        told.changes.obey(asked)
    assert told.changes.overlay == Overlay() and told.events == []
