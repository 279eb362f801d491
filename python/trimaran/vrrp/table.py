"""What a virtual router does in each state on each input: the whole machine as one table.

    stronger       greater priority, or equal and greater source         RFC 9568 §6.4.3
    lease          renewed with an advert, at most every half second

BACKUP §6.4.2   A priority-0 advert shortens the timer to skew. An advert at least as strong as we
    (or any, if we do not preempt, or while preempt_delay runs) restarts it, and teaches us the
    master's interval (version 3). A weaker one is ignored: the timer runs on, and that is how
    preemption happens. Sources do not matter here: an equal never displaces the one who holds the
    addresses. A member of a sync group whose timer ends WAITS for the others (group.py).
    It may linger: addresses that a killed process of ours left, or that it held as a member of a
    group which fell back, are kept until another master is heard.
MASTER §6.4.3   Take-over is advert, addresses, gratuitous ARP, in this order, and ARP again after
    garp_delay. A priority-0 advert is answered by ours. A weaker master is answered by our advert
    and by ARP (RFC 9568 §6.4.3, and as keepalived does), a stronger one is obeyed: addresses off
    FIRST, then one last advert of ours. The winner takes that for a weaker master and announces
    the addresses again, after we have left them: so a healed cut leaves no wrong ARP entry. It
    ends there, because a BACKUP answers nothing.
    Whoever was asleep for master down may have been replaced: it steps down before it speaks.
    An owner that another owner goes on contradicting gives way to it (priority 254).
FAULT           The interface, a tracker, a sync group or another tier of this node cannot serve, or
    the start-up delay runs. A master resigns with priority 0. If its own interface is the matter it
    drops the addresses at once; else it lingers: holds them (and so forwards on, as well as it can)
    until a successor speaks, or must have. Nothing else is done with adverts.
RESIGNING       Ours: stopped, priority 0 sent, yet holding the addresses in the same way.

A rejected packet moves no timer and changes no state; it is counted by reason. Every state answers
every input, if only by an explicit `_IGNORED`: a row that lacks one is a mistake, not a rule.
"""

from collections.abc import Callable
from enum import Enum

from trimaran.vrrp.actions import Actions


class State(Enum):
    """What a virtual router is on this node."""

    STOPPED = "STOPPED"
    BACKUP = "BACKUP"
    MASTER = "MASTER"
    FAULT = "FAULT"
    RESIGNING = "RESIGNING"


class On(Enum):
    """What can happen to it."""

    START = "start"
    STOP = "stop"
    CUT = "interface cannot be used"
    BROKEN = "tracker, tier or group broken"
    WELL = "nothing broken any more"
    TIMER = "timer"
    WAITS = "timer, while others of the sync group do not want to be master"
    JOIN = "the whole sync group can be master"
    LEAVE = "another of the sync group is master no more"
    LATE = "woke too late"
    RESIGNED = "priority 0 heard"
    STRONGER = "advert to obey"
    WEAKER = "advert not to obey"


Action = Callable[[Actions, float], None]
Rule = tuple[State, Action] | None  # the next state and what is done; None: ignored

_IGNORED: Rule = None

TABLE: dict[State, dict[On, Rule]] = {
    State.STOPPED: {
        On.START: (State.BACKUP, Actions.listen),
        On.STOP: _IGNORED,
        On.CUT: (State.FAULT, Actions.rest),
        On.BROKEN: (State.FAULT, Actions.rest),
        On.WELL: _IGNORED,
        On.TIMER: _IGNORED,
        On.WAITS: _IGNORED,
        On.JOIN: _IGNORED,
        On.LEAVE: _IGNORED,
        On.LATE: _IGNORED,
        On.RESIGNED: _IGNORED,
        On.STRONGER: _IGNORED,
        On.WEAKER: _IGNORED,
    },
    State.BACKUP: {
        On.START: _IGNORED,
        On.STOP: (State.STOPPED, Actions.rest),
        On.CUT: (State.FAULT, Actions.rest),
        On.BROKEN: (State.FAULT, Actions.rest),
        On.WELL: _IGNORED,
        On.TIMER: (State.MASTER, Actions.take_over),
        On.WAITS: (State.BACKUP, Actions.await_mates),
        On.JOIN: (State.MASTER, Actions.take_over),
        On.LEAVE: _IGNORED,
        On.LATE: _IGNORED,
        On.RESIGNED: (State.BACKUP, Actions.hurry),
        On.STRONGER: (State.BACKUP, Actions.follow),
        On.WEAKER: _IGNORED,  # the timer runs on: preemption
    },
    State.MASTER: {
        On.START: _IGNORED,
        On.STOP: (State.RESIGNING, Actions.resign),
        On.CUT: (State.FAULT, Actions.abdicate),
        On.BROKEN: (State.FAULT, Actions.stand_aside),
        On.WELL: _IGNORED,
        On.TIMER: (State.MASTER, Actions.beat),
        On.WAITS: _IGNORED,
        On.JOIN: _IGNORED,
        On.LEAVE: (State.BACKUP, Actions.make_room),
        On.LATE: (State.BACKUP, Actions.step_down),
        On.RESIGNED: (State.MASTER, Actions.reply),
        On.STRONGER: (State.BACKUP, Actions.give_way),
        On.WEAKER: (State.MASTER, Actions.insist),
    },
    State.FAULT: {
        On.START: _IGNORED,
        On.STOP: (State.STOPPED, Actions.rest),
        On.CUT: (State.FAULT, Actions.rest),
        On.BROKEN: _IGNORED,  # already
        On.WELL: (State.BACKUP, Actions.listen),
        On.TIMER: (State.FAULT, Actions.rest),  # no successor
        On.WAITS: _IGNORED,
        On.JOIN: _IGNORED,
        On.LEAVE: _IGNORED,
        On.LATE: _IGNORED,
        On.RESIGNED: _IGNORED,
        On.STRONGER: _IGNORED,
        On.WEAKER: _IGNORED,
    },
    State.RESIGNING: {
        On.START: _IGNORED,
        On.STOP: _IGNORED,
        On.CUT: (State.STOPPED, Actions.release),
        On.BROKEN: _IGNORED,  # leaving already
        On.WELL: _IGNORED,
        On.TIMER: (State.STOPPED, Actions.release),
        On.WAITS: _IGNORED,
        On.JOIN: _IGNORED,
        On.LEAVE: _IGNORED,
        On.LATE: _IGNORED,
        On.RESIGNED: _IGNORED,
        On.STRONGER: (State.STOPPED, Actions.release),
        On.WEAKER: (State.STOPPED, Actions.release),
    },
}
