"""BFD with BIRD: the session that a virtual router tracks."""

from collections.abc import Iterator
from ipaddress import ip_interface
from pathlib import Path

import pytest
from bird import Bird

from lan import Lan, Role, lan, wait_until
from trimaran.vrrp.bfd import BfdSettings
from trimaran.vrrp.settings import RouterSettings, Track, VrrpSettings, WatchSettings

OURS, THEIRS, VIP = "192.0.2.1", "192.0.2.2", "192.0.2.100"
INTERVAL_MS = 100
WATCH = WatchSettings(
    "uplink", "bfd", (),
    bfd=BfdSettings(
        THEIRS, OURS, min_rx_us=INTERVAL_MS * 1000, min_tx_us=INTERVAL_MS * 1000
    ),
)  # fmt: skip
ROUTER = RouterSettings(
    "front", 10, "ens33", 255, (ip_interface(f"{VIP}/32"),), tracks=(Track("watch", "uplink"),)
)


@pytest.fixture
def made() -> Iterator[Lan]:
    with lan() as made:
        made.machine("ours", OURS)
        made.machine("theirs", THEIRS)
        yield made


def state(role: Role) -> str:
    return str(role.status()["routers"][0]["state"])


def test_mastership_goes_by_the_session(made: Lan, tmp_path: Path) -> None:
    settings = VrrpSettings("ours", (ROUTER,), watches=(WATCH,))
    role = Role(made, "ours", "trimaran.node.vrrp_role", settings)
    bird = None
    try:
        role.wait_for(kind="ready")
        assert state(role) == "FAULT"
        bird = Bird(made, "theirs", tmp_path, THEIRS, OURS, INTERVAL_MS)
        wait_until("we lead once it is up", lambda: made.holds("ours", VIP), 30)
        wait_until("they say Up", lambda: " Up " in bird.sessions())
        bird.kill()
        event = role.wait_for(kind="event", message="front: MASTER → FAULT")
        silent = f"uplink: BFD session is DOWN: nothing from {THEIRS} for "
        assert event["cause"].startswith(silent), event
        bird.start()
        wait_until("we lead again", lambda: state(role) == "MASTER", 30)
        wait_until("they say Up again", lambda: " Up " in bird.sessions())
        role.stop()
        assert role.ended()[0] == 0
        wait_until("they know at once", lambda: " Up " not in bird.sessions())
    finally:
        if bird is not None:
            bird.kill()
        role.close()
