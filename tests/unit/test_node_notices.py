"""Who is told what, and in which order, when a virtual router changes."""

import os
from pathlib import Path

import pytest

from trimaran.health.settings import ScriptSettings
from trimaran.node.notices import (
    FifoSettings,
    Line,
    Mail,
    MailSettings,
    Notices,
    NotifySettings,
    Run,
    SubjectSettings,
)
from trimaran.node.plain import from_plain, to_plain
from trimaran.system.fifo import Fifo

MASTER, ANY, LOWER = (ScriptSettings(f"/bin/{name}", None, 9) for name in ("master", "any", "low"))
SCRIPTS = {"MASTER": MASTER, "ANY": ANY, "LOWER": LOWER}
SETTINGS = NotifySettings(
    "lb1",
    {"front": SubjectSettings(SCRIPTS, mail=True), "back": SubjectSettings()},
    {"both": SubjectSettings({"ANY": ANY}, members=("front", "back"))},
    (FifoSettings("/run/fifo"),),
    MailSettings(("ops@example.org",), "lb1@example.org"),
)


class Told:
    def __init__(self, settings: NotifySettings = SETTINGS) -> None:
        self.notices = Notices(settings)

    def enters(self, subject: str, state: str, priority: int = 100) -> list[object]:
        data = {"from": "?", "to": state, "priority": priority}
        return [*self.notices.hear("vrrp.transition", subject, data, "because")]


def test_own_script_then_any_then_line_then_mail() -> None:
    assert Told().enters("front", "MASTER", 150) == [
        Run("INSTANCE front", MASTER),
        Run("INSTANCE front", ANY, ("INSTANCE", "front", "MASTER", "150")),
        Line('INSTANCE "front" MASTER 150\n'),
        Mail(
            "[lb1] VRRP Instance front - Entering MASTER state",
            "=> VRRP Instance is now owning the virtual addresses <=\n\nbecause\n",
        ),
    ]


def test_the_same_state_is_told_once_and_resigning_is_no_stop() -> None:
    told = Told()
    assert told.enters("back", "MASTER") == [Line('INSTANCE "back" MASTER 100\n')]
    assert told.enters("back", "MASTER") == []
    assert told.enters("back", "RESIGNING") == []
    assert told.enters("back", "STOPPED") == [Line('INSTANCE "back" STOP 100\n')]


def test_a_group_has_a_state_when_its_members_agree() -> None:
    told = Told()
    assert [each for each in told.enters("front", "BACKUP") if "GROUP" in str(each)] == []
    group = Run("GROUP both", ANY, ("GROUP", "both", "BACKUP", "0"))
    assert told.enters("back", "BACKUP")[1:] == [group, Line('GROUP "both" BACKUP 0\n')]
    assert not [each for each in told.enters("front", "MASTER") if "GROUP" in str(each)]
    assert Line('GROUP "both" MASTER 0\n') in told.enters("back", "MASTER")
    assert Line('GROUP "both" FAULT 0\n') in told.enters("front", "FAULT")
    assert told.enters("back", "FAULT") == [Line('INSTANCE "back" FAULT 100\n')]


def test_a_weaker_master_and_priorities() -> None:
    told = Told()
    heard = told.notices.hear("vrrp.weaker_master", "front", {"priority": 150}, "")
    assert heard == [
        Run("INSTANCE front", LOWER),
        Line('INSTANCE "front" MASTER_RX_LOWER_PRI 150\n'),
    ]
    assert told.notices.hear("vrrp.priority", "front", {"priority": 90}, "") == []
    chatty = NotifySettings("lb1", {"front": SubjectSettings(priority_changes=True)})
    told = Told(chatty)
    told.enters("front", "BACKUP")
    assert told.notices.hear("vrrp.priority", "front", {"priority": 90}, "") == [
        Line('INSTANCE "front" BACKUP_PRIORITY 90\n')
    ]
    told.enters("front", "MASTER")
    assert told.notices.hear("vrrp.priority", "front", {"priority": 80}, "") == [
        Line('INSTANCE "front" MASTER_PRIORITY 80\n')
    ]


def test_faults_may_be_left_out_of_the_mail() -> None:
    quiet = MailSettings(("a@b",), "c@d", faults=False)
    told = Told(NotifySettings("lb1", {"front": SubjectSettings(mail=True)}, mail=quiet))
    assert not [each for each in told.enters("front", "FAULT") if isinstance(each, Mail)]
    assert [each for each in told.enters("front", "BACKUP") if isinstance(each, Mail)]


def test_others_are_none_of_its_business() -> None:
    assert Told().enters("stranger", "MASTER") == []
    assert Told().notices.hear("vrrp.rejected", "front", {}, "") == []


def test_the_settings_cross_the_border() -> None:
    assert from_plain(NotifySettings, to_plain(SETTINGS)) == SETTINGS


def test_a_fifo_never_waits_and_drops_whole_lines(tmp_path: Path) -> None:
    fifo = Fifo(str(tmp_path / "fifo"))
    fifo.open()
    with (tmp_path / "fifo").open("rb", buffering=0) as reader:
        fifo.write("one\n")
        assert reader.read(100) == b"one\n"
        with pytest.raises(BlockingIOError):
            for _ in range(100_000):
                fifo.write("x" * 63 + "\n")
        os.set_blocking(reader.fileno(), False)
        left = reader.read(1 << 20)
        assert left and len(left) % 64 == 0
    fifo.close()
    assert not (tmp_path / "fifo").exists()


def test_a_file_is_no_fifo_and_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="is no FIFO"):
        Fifo(str(tmp_path / "file")).open()
    os.mkfifo(tmp_path / "theirs")
    theirs = Fifo(str(tmp_path / "theirs"))
    theirs.open()
    theirs.close()
    assert (tmp_path / "file").read_text() == "mine"
    assert (tmp_path / "theirs").exists()
