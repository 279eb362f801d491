"""The virtual-router machine, as dialogues."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from vrrp_dialogue import DOWN, HIGH, HOLD, LOW, OURS, SETTINGS, SKEW, VIP, Dialogue

from trimaran.vrrp.effects import (
    Announce,
    Event,
    HoldAddresses,
    Master,
    RemoveAddresses,
    SendAdvert,
)
from trimaran.vrrp.packet import Advert, Rejection
from trimaran.vrrp.settings import Track
from trimaran.vrrp.standing import Standing
from trimaran.vrrp.table import State
from trimaran.vrrp.watch import Opinion


def test_take_over_is_advert_addresses_arp_in_this_order() -> None:
    dialogue = Dialogue().start()
    assert dialogue.machine.state is State.BACKUP
    dialogue.wait(DOWN, SendAdvert(100), HOLD, Announce(5))
    assert dialogue.machine.state is State.MASTER
    for second in (1, 2, 3, 4):
        dialogue.wait(DOWN + second, SendAdvert(100), HOLD)
    # The advert and the second round of ARP, garp_delay after the first, are due together.
    dialogue.wait(DOWN + 5, SendAdvert(100), HOLD, Announce(5))
    dialogue.wait(DOWN + 6, SendAdvert(100), HOLD)


def test_arp_is_refreshed_where_that_is_wanted() -> None:
    dialogue = Dialogue(garp_delay_s=0.25, garp_refresh_s=0.5, garp_refresh_repeat=2).master()
    dialogue.wait(DOWN + 0.25, Announce(5))
    dialogue.wait(DOWN + 0.75, Announce(2))
    dialogue.wait(DOWN + 1, SendAdvert(100), HOLD)
    dialogue.wait(DOWN + 1.25, Announce(2))


def test_adverts_keep_the_grid_after_a_late_wake() -> None:
    dialogue = Dialogue(garp_delay_s=0.0).master()
    dialogue._play(DOWN + 1.4, "late timer", dialogue.machine.timeout, [SendAdvert(100), HOLD])
    dialogue.wait(DOWN + 2, SendAdvert(100), HOLD)


def test_a_backup_follows_a_stronger_master() -> None:
    dialogue = Dialogue().start()
    for at in (1.0, 2.0, 3.0):
        dialogue.hears(at, 150)
    assert dialogue.machine.master == Master(HIGH, 150)
    dialogue.wait(3 + DOWN, SendAdvert(100), HOLD, Announce(5))
    assert dialogue.last_cause() == f"no advert from {HIGH} for 3.61 s"


def test_a_backup_follows_an_equal_whatever_its_address() -> None:
    dialogue = Dialogue().start()
    dialogue.hears(3.0, 100, source=LOW)
    dialogue.wait(3 + DOWN, SendAdvert(100), HOLD, Announce(5))


def test_priority_zero_leaves_only_the_skew() -> None:
    dialogue = Dialogue().start()
    dialogue.hears(1.0, 150)
    dialogue.hears(1.5, 0)
    dialogue.hears(1.6, 0)  # a duplicate must not prolong it
    dialogue.wait(1.5 + SKEW, SendAdvert(100), HOLD, Announce(5))
    assert dialogue.last_cause() == f"{HIGH} resigned (priority 0)"


def test_a_weaker_master_is_preempted_when_the_timer_ends() -> None:
    dialogue = Dialogue().start()
    for at in (1.0, 2.0, 3.0):
        dialogue.hears(at, 50)
    dialogue.wait(DOWN, SendAdvert(100), HOLD, Announce(5))
    assert dialogue.last_cause() == f"{HIGH} has only priority 50 (preemption)"


def test_without_preemption_a_weaker_master_is_followed() -> None:
    dialogue = Dialogue(preempt=False).start()
    for at in (1.0, 2.0, 3.0, 4.0):
        dialogue.hears(at, 50)
    assert dialogue.machine.next_timeout() == 4 + DOWN


def test_preempt_delay_counts_from_the_first_weaker_advert() -> None:
    dialogue = Dialogue(preempt_delay_s=5.0).start()
    for at in (1.0, 2.0, 3.0, 4.0, 5.0):
        dialogue.hears(at, 50)
    dialogue.hears(6.5, 50)
    dialogue.wait(5 + DOWN, SendAdvert(100), HOLD, Announce(5))


def test_preempt_delay_is_cancelled_by_a_stronger_one() -> None:
    dialogue = Dialogue(preempt_delay_s=5.0).start()
    dialogue.hears(1.0, 50)
    dialogue.hears(3.0, 150)
    dialogue.hears(6.5, 50)  # starts anew
    assert dialogue.machine.next_timeout() == 6.5 + DOWN


def test_a_master_answers_a_resignation() -> None:
    dialogue = Dialogue().master()
    dialogue.hears(DOWN + 0.3, 0, SendAdvert(100))
    dialogue.wait(DOWN + 1.3, SendAdvert(100), HOLD)


def test_a_master_insists_before_a_weaker_one() -> None:
    dialogue = Dialogue().master()
    dialogue.hears(DOWN + 0.3, 50, SendAdvert(100), Announce(5))
    for second in (1.3, 2.3, 3.3, 4.3):
        dialogue.wait(DOWN + second, SendAdvert(100), HOLD)
    dialogue.wait(DOWN + 5.3, SendAdvert(100), HOLD, Announce(5))


def test_a_flood_is_not_answered_by_a_flood() -> None:
    dialogue = Dialogue(garp_delay_s=0.0).master()
    answer = [SendAdvert(100), Announce(5)]
    for number in range(100):
        dialogue.hears(DOWN + 0.1 + number / 1000, 50, *(answer if number < 5 else []))
    dialogue.hears(DOWN + 0.3, 0)
    dialogue.wait(DOWN + 0.104 + 1, SendAdvert(100), HOLD)
    dialogue.hears(DOWN + 1.2, 50, *answer)


def test_a_master_obeys_a_stronger_one_and_leaves_the_last_word_to_it() -> None:
    dialogue = Dialogue().master()
    dialogue.hears(DOWN + 0.3, 150, RemoveAddresses(), SendAdvert(100))
    assert dialogue.machine.state is State.BACKUP
    assert dialogue.last_cause() == f"{HIGH} advertises priority 150, ours is 100"
    dialogue.hears(DOWN + 0.4, 150)  # its answer: silence ends it
    assert dialogue.machine.next_timeout() == DOWN + 0.4 + DOWN


@pytest.mark.parametrize(("source", "obeys"), [(LOW, False), (HIGH, True)])
def test_between_equal_masters_the_greater_address_wins(source: IPv4Address, obeys: bool) -> None:
    dialogue = Dialogue().master()
    answer = [RemoveAddresses(), SendAdvert(100)] if obeys else [SendAdvert(100), Announce(5)]
    dialogue.hears(DOWN + 0.3, 100, *answer, source=source)


def test_an_owner_is_master_at_once_and_preempts() -> None:
    dialogue = Dialogue(priority=255, preempt=False).start()
    dialogue.wait(0.0, SendAdvert(255), HOLD, Announce(5))


def test_a_resigning_master_keeps_the_addresses_until_a_successor_speaks() -> None:
    dialogue = Dialogue().master()
    dialogue.tell(4.0, "stop", dialogue.machine.stop, SendAdvert(0), HOLD)
    assert dialogue.machine.state is State.RESIGNING
    dialogue.hears(4.2, 0)  # somebody else leaves too: no successor
    dialogue.hears(4.5, 50, RemoveAddresses())
    assert dialogue.machine.state is State.STOPPED
    assert dialogue.machine.next_timeout() is None


def test_a_resigning_master_does_not_wait_for_ever() -> None:
    dialogue = Dialogue().master()
    dialogue.tell(4.0, "stop", dialogue.machine.stop, SendAdvert(0), HOLD)
    dialogue.wait(8.0, RemoveAddresses())
    assert dialogue.machine.state is State.STOPPED
    assert "no successor" in dialogue.last_cause()


def test_a_backup_stops_without_a_word() -> None:
    dialogue = Dialogue().start()
    dialogue.tell(1.0, "stop", dialogue.machine.stop)
    assert dialogue.machine.state is State.STOPPED
    dialogue.hears(2.0, 150)
    assert dialogue.machine.next_timeout() is None


def test_a_lost_interface_ends_mastership_at_once() -> None:
    dialogue = Dialogue().master()
    dialogue.tell(
        4.0,
        "carrier lost",
        lambda now: dialogue.machine.set_interface(None, "ens33 has no carrier", now),
        SendAdvert(0),
        RemoveAddresses(),
    )
    assert dialogue.machine.state is State.FAULT
    assert dialogue.last_cause() == "ens33 has no carrier"
    dialogue.hears(5.0, 50)
    assert dialogue.machine.next_timeout() is None
    dialogue.tell(9.0, "carrier", lambda now: dialogue.machine.set_interface(OURS, "", now))
    assert dialogue.machine.state is State.BACKUP
    assert dialogue.machine.next_timeout() == 9 + DOWN


def test_mastership_dies_with_the_data_plane() -> None:
    dialogue = Dialogue().master()
    tell_tier = dialogue.machine.set_tier
    dialogue.tell(
        4.0,
        "director broken",
        lambda now: tell_tier("director", False, "no program attached", now),
        SendAdvert(0),
        HOLD,
    )
    assert dialogue.last_cause() == "director is not well: no program attached"
    assert dialogue.machine.effective_priority == 0
    dialogue.tell(
        5.0,
        "no carrier either",
        lambda now: dialogue.machine.set_interface(None, "cut", now),
        RemoveAddresses(),
    )
    dialogue.tell(6.0, "director well", lambda now: tell_tier("director", True, "", now))
    assert dialogue.machine.state is State.FAULT
    dialogue.tell(7.0, "carrier", lambda now: dialogue.machine.set_interface(OURS, "", now))
    assert dialogue.machine.state is State.BACKUP


def test_without_an_interface_it_starts_in_fault() -> None:
    dialogue = Dialogue()
    dialogue.tell(0, "start", dialogue.machine.start)
    assert dialogue.machine.state is State.FAULT
    assert dialogue.machine.next_timeout() is None


@pytest.mark.parametrize("wakes_by", ["timer", "weaker advert", "stop"])
def test_a_master_that_slept_steps_down_before_it_speaks(wakes_by: str) -> None:
    dialogue = Dialogue().master()
    machine, late = dialogue.machine, DOWN + DOWN
    if wakes_by == "timer":
        dialogue._play(late, "late timer", machine.timeout, [RemoveAddresses()])
    elif wakes_by == "stop":
        dialogue._play(late, "stop", machine.stop, [RemoveAddresses()])
        assert machine.state is State.STOPPED
        return
    else:
        advert = Advert(50, 100, (VIP.ip,))
        dialogue._play(
            late, wakes_by, lambda now: machine.receive(advert, LOW, now), [RemoveAddresses()]
        )
    assert machine.state is State.BACKUP
    assert dialogue.last_cause() == "silent for 3.61 s, and peers take over after 3.61 s"
    assert machine.next_timeout() == late + DOWN


def test_a_rejected_packet_moves_no_timer_and_changes_no_state() -> None:
    for dialogue in (Dialogue().start(), Dialogue().master()):
        machine = dialogue.machine
        before = machine.state, machine.next_timeout(), machine.master
        for reason in Rejection:
            machine.reject(reason, HIGH, dialogue.now + 0.5)
            assert machine.counters[f"rejected_{reason.name.lower()}"] == 1
        assert (machine.state, machine.next_timeout(), machine.master) == before


def test_our_own_echo_is_rejected() -> None:
    dialogue = Dialogue().master()
    due = dialogue.machine.next_timeout()
    dialogue.hears(DOWN + 0.3, 100, source=OURS)
    assert dialogue.machine.next_timeout() == due
    assert dialogue.machine.counters["rejected_own_source"] == 1


def test_rejections_are_told_once_a_minute() -> None:
    dialogue = Dialogue(ignore=())
    reject = dialogue.machine.reject
    told = Event(
        "vrrp.rejected",
        "front: advert from 192.0.2.9 dropped (1 so far): every member must advertise every 1 s",
        "another advert interval",
        {"reason": "INTERVAL", "count": 1},
    )
    dialogue.tell(1, "reject", lambda now: reject(Rejection.INTERVAL, HIGH, now), told)
    dialogue.tell(2, "reject", lambda now: reject(Rejection.INTERVAL, HIGH, now))
    again = replace(
        told,
        message=told.message.replace("(1 so", "(3 so"),
        data={"reason": "INTERVAL", "count": 3},
    )
    dialogue.tell(61, "reject", lambda now: reject(Rejection.INTERVAL, HIGH, now), again)


def test_another_list_of_addresses_is_told_and_obeyed() -> None:
    dialogue = Dialogue(ignore=()).start_silently()
    other = (VIP.ip, IPv4Address("192.0.2.101"))
    warning = Event(
        "vrrp.warning",
        "front: 192.0.2.9 advertises 192.0.2.100, 192.0.2.101, unlike this node",
        "the members' address lists differ",
    )
    dialogue.hears(1.0, 150, warning, addresses=other)
    dialogue.hears(2.0, 150, addresses=other)
    assert dialogue.machine.next_timeout() == 2 + DOWN


def test_transitions_say_their_cause() -> None:
    dialogue = Dialogue(ignore=(SendAdvert, HoldAddresses, RemoveAddresses, Announce))
    dialogue.start_silently()
    dialogue.wait(
        DOWN,
        Event(
            "vrrp.transition",
            "front: BACKUP → MASTER",
            "no advert heard for 3.61 s",
            {"from": "BACKUP", "to": "MASTER", "priority": 100},
        ),
    )


def version3(**changes: object) -> Dialogue:
    """Every 0.1 s, so that skew is 0.0609 s and master down 0.3609 s."""
    return Dialogue(version=3, advert_interval_s=0.1, garp_delay_s=0.0, **changes)


def test_version_3_reckons_with_hundredths() -> None:
    dialogue = version3().start()
    down = 0.3 + 0.1 * 156 / 256
    dialogue.wait(down, SendAdvert(100), HoldAddresses(2), Announce(5))
    for number in range(1, 5):
        dialogue.wait(down + number / 10, SendAdvert(100))
    dialogue.wait(down + 0.5, SendAdvert(100), HoldAddresses(2))  # leases: every half second


def test_a_version_3_backup_goes_by_the_masters_interval() -> None:
    dialogue = version3().start()
    dialogue.hears(0.1, 150, interval_cs=50)
    down = 3 * 0.5 + 0.5 * 156 / 256
    dialogue.wait(0.1 + down, SendAdvert(100), HoldAddresses(2), Announce(5))
    dialogue.wait(0.1 + down + 0.1, SendAdvert(100))  # its own again


def test_priority_zero_leaves_the_skew_of_the_masters_interval() -> None:
    dialogue = version3().start()
    dialogue.hears(0.1, 150, interval_cs=50)
    dialogue.hears(0.2, 0)
    dialogue.wait(0.2 + 0.5 * 156 / 256, SendAdvert(100), HoldAddresses(2), Announce(5))


def test_a_weaker_advert_teaches_nothing() -> None:
    dialogue = version3().start()
    dialogue.hears(0.1, 50, interval_cs=4000)
    dialogue.wait(0.3 + 0.1 * 156 / 256, SendAdvert(100), HoldAddresses(2), Announce(5))


def test_more_adverts_may_be_lost() -> None:
    dialogue = version3(down_adverts=15).start()
    dialogue.wait(1.5 + 0.1 * 156 / 256, SendAdvert(100), HoldAddresses(3), Announce(5))


def test_a_weaker_master_may_be_left_unanswered() -> None:
    dialogue = Dialogue(answer_weaker=False).master()
    dialogue.hears(DOWN + 0.3, 50)
    dialogue.wait(DOWN + 1, SendAdvert(100), HOLD)


def test_the_start_may_be_delayed_and_adverts_are_ignored_until_then() -> None:
    dialogue = Dialogue(start_delay_s=2.0).start()
    assert dialogue.machine.state is State.FAULT
    dialogue.hears(1.0, 50)
    dialogue.wait(2.0)
    assert dialogue.machine.state is State.BACKUP
    dialogue.wait(2 + DOWN, SendAdvert(100), HOLD, Announce(5))


def test_an_owner_that_another_owner_contradicts_for_long_gives_way() -> None:
    dialogue = Dialogue(priority=255, garp_delay_s=0.0).start()
    hold = HoldAddresses(5)
    dialogue.wait(0.0, SendAdvert(255), hold, Announce(5))
    dialogue.hears(0.5, 255, SendAdvert(255), hold, Announce(5), source=LOW)
    for second in (1.5, 2.5, 3.5):
        dialogue.wait(second, SendAdvert(255), hold)
    dialogue.hears(3.8, 255, RemoveAddresses(), SendAdvert(254), source=LOW)
    assert dialogue.machine.state is State.BACKUP
    dialogue.hears(4.0, 255, source=LOW)
    dialogue.wait(4.0 + 3 + 2 / 256, SendAdvert(255), hold, Announce(5))


def test_what_a_killed_process_left_is_dropped_when_another_master_is_heard() -> None:
    dialogue = Dialogue()
    dialogue.tell(0, "interface up", lambda now: dialogue.machine.set_interface(OURS, "", now))
    dialogue.tell(0, "start", lambda now: dialogue.machine.start(now, True))
    dialogue.hears(1.0, 150, RemoveAddresses())
    dialogue.hears(2.0, 150)


SCRIPT = Track("watch", "up", -30)
UPLINK = Track("interface", "eth1")


def test_a_weight_moves_the_priority_and_the_running_timer() -> None:
    dialogue = Dialogue(tracks=(SCRIPT,)).start()
    track = dialogue.machine.set_track
    dialogue.tell(1.0, "bad", lambda now: track(SCRIPT, False, "it exited with 1", now))
    assert dialogue.machine.effective_priority == 70
    dialogue.wait(3 + 186 / 256, SendAdvert(70), HOLD, Announce(5))
    dialogue.tell(4.0, "good", lambda now: track(SCRIPT, True, "it exited with 0", now))
    dialogue.wait(4 + 186 / 256, SendAdvert(100), HOLD)


def test_without_weight_a_failure_is_a_fault() -> None:
    dialogue = Dialogue(tracks=(UPLINK,)).start()
    track = dialogue.machine.set_track
    assert dialogue.machine.state is State.FAULT, "nothing is known of it yet"
    dialogue.tell(1.0, "up", lambda now: track(UPLINK, True, "eth1 is up", now))
    dialogue.wait(1 + DOWN, SendAdvert(100), HOLD, Announce(5))
    dialogue.tell(
        5.0,
        "down",
        lambda now: track(UPLINK, False, "eth1 has no carrier", now),
        SendAdvert(0),
        HOLD,
    )
    assert dialogue.last_cause() == "interface eth1: eth1 has no carrier"
    assert dialogue.machine.state is State.FAULT
    dialogue.hears(5.2, 0)  # somebody else leaves, too
    dialogue.hears(5.5, 50, RemoveAddresses())
    dialogue.hears(6.5, 50)


def test_a_fault_without_a_successor_ends_in_silence() -> None:
    dialogue = Dialogue(tracks=(UPLINK,)).start()
    track = dialogue.machine.set_track
    dialogue.tell(1.0, "up", lambda now: track(UPLINK, True, "eth1 is up", now))
    dialogue.wait(1 + DOWN, SendAdvert(100), HOLD, Announce(5))
    dialogue.tell(
        5.0, "down", lambda now: track(UPLINK, False, "no carrier", now), SendAdvert(0), HOLD
    )
    dialogue.wait(9.0, RemoveAddresses())
    assert dialogue.machine.state is State.FAULT
    assert dialogue.machine.next_timeout() is None


def test_a_fault_that_passes_before_anybody_spoke_costs_no_address() -> None:
    dialogue = Dialogue(tracks=(UPLINK,)).start()
    track = dialogue.machine.set_track
    dialogue.tell(1.0, "up", lambda now: track(UPLINK, True, "eth1 is up", now))
    dialogue.wait(1 + DOWN, SendAdvert(100), HOLD, Announce(5))
    dialogue.tell(
        5.0, "down", lambda now: track(UPLINK, False, "no carrier", now), SendAdvert(0), HOLD
    )
    dialogue.tell(5.1, "up", lambda now: track(UPLINK, True, "eth1 is up", now))
    assert dialogue.machine.state is State.BACKUP
    dialogue.wait(5.1 + DOWN, SendAdvert(100), HOLD, Announce(5))


@pytest.mark.parametrize(
    ("weight", "reverse", "well", "value", "priority"),
    [
        (20, False, True, 1, 120), (20, False, False, 1, 100), (-20, False, True, 1, 100),
        (-20, False, False, 1, 80), (20, True, True, 1, 100), (20, True, False, 1, 120),
        (-253, False, False, 1, 1), (253, False, True, 1, 254), (2, False, True, 7, 114),
    ],
)  # fmt: skip
def test_weights(weight: int, reverse: bool, well: bool, value: int, priority: int) -> None:
    track = Track("watch", "x", weight, reverse)
    for configured, wanted in ((100, priority), (255, 255)):
        standing = Standing(replace(SETTINGS, priority=configured, tracks=(track,)))
        standing.set_track(track, well, "", value)
        assert standing.priority == wanted


def test_opinions_change_by_rise_and_fall() -> None:
    opinion = Opinion(rise=2, fall=3)
    assert [opinion.hear(good) for good in (False, True, True)] == [True, False, True]
    assert [opinion.hear(good) for good in (False, False, True, False, False)] == [False] * 5
    assert opinion.well is True
    assert opinion.hear(False)
    assert opinion.well is False
