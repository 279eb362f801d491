"""One file with every checker and every rule of a virtual server: keepalived accepts it, and so do
we, with nothing of it lost."""

import subprocess
from pathlib import Path

from trimaran.stack.keepalived import read_keepalived
from trimaran.stack.report import remarkable
from trimaran.stack.resolve import checks_of
from trimaran.system.files import DiskFiles

FILE = Path(__file__).parent / "checkers.keepalived.conf"


def test_keepalived_accepts_it() -> None:
    tested = subprocess.run(
        ["keepalived", "-t", "-f", FILE], capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_so_do_we_and_nothing_is_lost() -> None:
    stack, notes = read_keepalived(FILE.read_text(), str(FILE), DiskFiles())
    idle = [note.word for note in notes if note.status not in ("honoured", "warning")]
    assert idle == ["enable_script_security"], "it is always enabled"
    assert {note.message for note in remarkable(notes) if note.status == "warning"} == {
        f"nobody carries {name.partition(':')[0]}: no virtual router has it, and no node"
        for name in stack.virtual_services
    }
    service = next(iter(stack.virtual_services.values()))
    (real,) = service.real_servers.values()
    assert list(checks_of(service, real)) == [
        "http", "http 2", "script", "ping", "udp", "dns", "smtp", "file", "tcp",
    ]  # fmt: skip
