"""keepalived's JSON of a virtual router."""

from vrrp_dialogue import DOWN, HIGH, Dialogue

from trimaran.vrrp.dump import dump
from trimaran.vrrp.packet import Rejection


def test_a_master_and_what_it_counted() -> None:
    dialogue = Dialogue(password=b"secret").master()
    router = dialogue.machine
    router.reject(Rejection.TTL, HIGH, DOWN)
    entry = dump(router, 1000.0 + DOWN + 1, DOWN + 1)
    data, stats = entry["data"], entry["stats"]
    assert (data["iname"], data["vrid"], data["state"], data["wantstate"]) == ("front", 10, 2, 2)
    assert (data["base_priority"], data["effective_priority"], data["vipset"]) == (100, 100, True)
    assert data["vips"] == ["192.0.2.100/32"]
    assert (data["adver_int"], data["master_adver_int"], data["auth_type"]) == (1.0, 1.0, 1)
    assert data["last_transition"] == 1000.0 + DOWN
    assert (stats["advert_sent"], stats["become_master"], stats["ip_ttl_err"]) == (1, 1, 1)
    assert stats["auth_ext_replay"] == 0
    assert "secret" not in str(entry)


def test_a_backup_that_follows() -> None:
    dialogue = Dialogue(version=3).start()
    dialogue.hears(1.0, 150, interval_cs=200)
    data = dump(dialogue.machine, 5.0, 1.0)["data"]
    assert (data["state"], data["master_priority"], data["vipset"]) == (1, 150, False)
    assert data["master_adver_int"] == 2.0
