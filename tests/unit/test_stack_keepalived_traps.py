"""`trimaran check` warns of what keepalived's users stumble over, with file, line and the mend."""

import pytest
from stack_files import MemoryFiles

from trimaran.stack.keepalived import read_keepalived

INSTANCE = (
    "vrrp_instance VI {\ninterface ens33\nvirtual_router_id 7\nvirtual_ipaddress {\n10.0.0.1\n}\n"
)


def warnings(text: str) -> list[str]:
    _, notes = read_keepalived(text, "k.conf", MemoryFiles({"/bin/true": ""}))
    return [str(note) for note in notes if note.status == "warning"]


@pytest.mark.parametrize(
    ("text", "place", "mend"),
    [
        (f"{INSTANCE}state MASTER\npriority 150\n}}", "7:1: state", "write `state BACKUP`"),
        (f"{INSTANCE}state MASTER\nnopreempt\n}}", "8:1: nopreempt", "write `state BACKUP`"),
        (f"{INSTANCE}advert_int 3\n}}", "7:1: advert_int", "the same on every member"),
        (f"{INSTANCE}version 3\nv3_checksum_as_v2\n}}", "8:1: v3_checksum_as_v2", "leave it out"),
        (f"{INSTANCE}strict_mode\nunicast_peer {{\n10.0.0.9\n}}\n}}", "8:1: unicast_peer",
         "take that out"),
        ("global_defs {\nvrrp_strict\n}\n" + INSTANCE
         + "authentication {\nauth_type PASS\nauth_pass x\n}\n}", "10:1: authentication",
         "take that out"),
        ("global_defs {\nvrrp_rt_priority 50\n}\n" + INSTANCE + "}", "2:1: vrrp_rt_priority",
         "write `vrrp_rlimit_rttime 1000000`"),
        ("vrrp_script up {\nscript /bin/true\n}\n" + INSTANCE + "track_script {\nup\n}\n}",
         "1:1: vrrp_script", "write `script_user`"),
        (f"{INSTANCE}nopreempt\ntrack_interface {{\neth1 weight 5\n}}\n}}", "VI",
         "without preemption a weight never moves the addresses"),
    ],
)  # fmt: skip
def test_a_trap_is_told_with_its_place_and_its_mend(text: str, place: str, mend: str) -> None:
    found = [each for each in warnings(text) if mend in each]
    assert len(found) == 1, warnings(text)
    assert place == "VI" or f"k.conf:{place}: warning: " in found[0]


def test_a_sound_file_has_none() -> None:
    text = (
        "global_defs {\nvrrp_rt_priority 50\nvrrp_rlimit_rttime 1000000\nscript_user root\n}\n"
        "vrrp_script up {\nscript /bin/true\n}\n"
        f"{INSTANCE}state BACKUP\nversion 3\nadvert_int 0.1\npriority 150\n}}"
    )
    assert warnings(text) == []
    assert warnings(f"{INSTANCE}state MASTER\npriority 255\n}}") == []
