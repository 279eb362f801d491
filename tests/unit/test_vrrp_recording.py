"""A recording is played again, and tells when the machine has become another one."""

import json
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from trimaran.cli.replay import replay_file
from trimaran.node.recording import RecordedRouter, RecordingError, record, replay
from trimaran.system.errors import CannotRunError
from trimaran.vrrp.group import Group
from trimaran.vrrp.packet import Advert, Rejection
from trimaran.vrrp.router import Router
from trimaran.vrrp.settings import RouterSettings, Track

OURS, HIGH = IPv4Address("192.0.2.5"), IPv4Address("192.0.2.9")
VIP = IPv4Interface("192.0.2.100/32")
UPLINK = Track("interface", "eth1")
SETTINGS = RouterSettings(
    "front", 10, "ens33", 100, (VIP,), password=b"secret1", tracks=(UPLINK,)
)  # fmt: skip


def _life(router: Router) -> None:
    router.set_interface(OURS, "", 0.1)
    router.set_track(UPLINK, True, "eth1 is up", 0.1, 1)
    router.start(0.1, False)
    router.receive(Advert(150, 100, (VIP.ip,)), HIGH, 1.7)
    router.reject(Rejection.CHECKSUM, HIGH, 1.9)
    router.take_effects()
    router.timeout(1.7 + 3 + 156 / 256)
    router.take_effects()
    router.set_track(UPLINK, False, "no carrier", 5.5, 1)
    router.receive(Advert(50, 100, (VIP.ip,)), HIGH, 6.25)
    router.take_effects()


def _recorded(directory: Path) -> Path:
    router = record(SETTINGS, str(directory))
    assert isinstance(router, RecordedRouter)
    _life(router)
    return directory / "front-1.jsonl"


def test_what_was_recorded_is_what_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _recorded(tmp_path / "made")
    with path.open() as lines:
        steps = list(replay(lines))
    assert [step.input for step in steps] == [
        "set_interface", "set_track", "start", "receive", "reject", "timeout", "set_track",
        "receive",
    ]  # fmt: skip
    assert steps[-1].state == "FAULT"
    assert sum(len(step.effects) for step in steps) == sum(len(step.recorded) for step in steps)
    assert "SendAdvert" in json.dumps(steps[5].effects)


def test_no_secret_is_in_it(tmp_path: Path) -> None:
    text = _recorded(tmp_path).read_text()
    assert "secret1" not in text
    assert "c2VjcmV0MQ" not in text, "nor as base64"


def test_the_command_tells_the_dialogue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    router = record(SETTINGS, str(tmp_path))
    router.set_interface(OURS, "", 0.1)
    router.take_effects()
    router.set_track(UPLINK, True, "eth1 is up", 0.1, 1)
    router.take_effects()
    router.start(0.1, False)
    router.take_effects()
    router.timeout(5.0)
    router.take_effects()
    path = tmp_path / "front-1.jsonl"
    assert replay_file(path)
    said = capsys.readouterr().out
    assert "     4.900 >> timeout" in said
    assert "<< SendAdvert priority 100" in said
    assert "front: BACKUP → MASTER (no advert heard for 4.90 s)" in said
    path.write_text(path.read_text().replace('"priority": 100}', '"priority": 99}'))
    assert not replay_file(path)
    assert "-- recorded: SendAdvert priority 99" in capsys.readouterr().out


def test_a_member_of_a_group_is_played_alone(tmp_path: Path) -> None:
    one, two = (record(SETTINGS, str(tmp_path)) for _ in range(2))
    group = Group("both", [one, two])
    for router in (one, two):
        router.set_interface(OURS, "", 0.0)
        router.set_track(UPLINK, True, "", 0.0, 1)
        router.start(0.0, False)
    for router in (one, two):
        router.timeout(4.0)
        group.settle(4.0)
    with (tmp_path / "front-2.jsonl").open() as lines:
        steps = list(replay(lines))
    assert steps[-1].input == "join_masters"
    assert steps[-1].state == "MASTER"


def test_a_session_with_keepalived_plays_as_it_was() -> None:
    """It resigned, we took over; it came back and preempted; it was killed; we were stopped."""
    with (Path(__file__).parent / "recordings" / "keepalived.jsonl").open() as lines:
        steps = list(replay(lines))
    assert all(step.same for step in steps)
    changes = [
        effect["message"]
        for step in steps
        for effect in step.effects
        if effect.get("name") == "vrrp.transition"
    ]
    assert changes == [
        "front: STOPPED → BACKUP",
        "front: BACKUP → MASTER",
        "front: MASTER → BACKUP",
        "front: BACKUP → MASTER",
        "front: MASTER → RESIGNING",
        "front: RESIGNING → STOPPED",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "line 1"), ("{}\n", "line 1"), ("no json", "line 1")],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RecordingError, match=said):
        list(replay(text.splitlines()))
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(CannotRunError, match="run --record"):
        replay_file(path)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = _recorded(tmp_path)
    path.write_text(path.read_text() + '{"input": "dance", "arguments": []}\n')
    with path.open() as lines, pytest.raises(RecordingError, match="line 13"):
        list(replay(lines))
