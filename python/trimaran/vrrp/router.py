"""One virtual router: an election for addresses, as a table of states and inputs.

Adverts and `now` (monotonic seconds) come in, effects come out; the driver keeps one timer.

    interval       whole seconds; v2 peers must agree on it              RFC 3768 §5.3.7
    skew           (256 - priority) / 256 s, whatever the interval       §6.1
    master down    3 × interval + skew                                   §6.1
    stronger       greater priority, or equal and greater source         §6.4.3
    lease          master down, rounded up, + 1 s: how long the kernel keeps an address that
                   nobody renews; renewed with every advert

BACKUP §6.4.2   A priority-0 advert shortens the timer to skew. An advert at least as strong as we
    (or any, if we do not preempt, or while preempt_delay runs) restarts it. A weaker one is
    ignored: the timer runs on, and that is how preemption happens. Sources do not matter here: an
    equal never displaces the one who holds the addresses.
MASTER §6.4.3   Take-over is advert, addresses, gratuitous ARP, in this order, and ARP again after
    garp_delay. A priority-0 advert is answered by ours. A weaker master is answered by our advert
    and by ARP (RFC 9568 §6.4.3, and as keepalived does), a stronger one is obeyed: addresses off
    FIRST, then one last advert of ours. The winner takes that for a weaker master and announces
    the addresses again, after we have left them: so a healed cut leaves no wrong ARP entry. It
    ends there, because a BACKUP answers nothing.
    Whoever was asleep for 3 intervals may have been replaced: it steps down before it speaks.
FAULT           The interface or another tier of this node cannot serve. A master resigns with
    priority 0 and drops the addresses at once. All adverts are ignored.
RESIGNING       Ours: stopped, priority 0 sent, yet holding (and so forwarding for) the addresses
    until a successor speaks or every successor's skew has passed.

A rejected packet moves no timer and changes no state; it is counted by reason.
"""

import math
from collections import Counter
from collections.abc import Callable
from enum import Enum
from ipaddress import IPv4Address

from trimaran.vrrp.effects import (
    Announce,
    Effect,
    Event,
    HoldAddresses,
    Master,
    RemoveAddresses,
    SendAdvert,
)
from trimaran.vrrp.packet import OWNER, RESIGN, Advert, Rejection
from trimaran.vrrp.settings import RouterSettings

LOST_ADVERTS = 3
ANSWERS_PER_INTERVAL = 5  # a flood of adverts must not become a flood of ours and of ARP
RESIGNATION_BOUND_S = 1.5  # the longest skew, 1 s, and time for the successor's advert
REJECTION_EVENT_EVERY_S = 60.0


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
    BROKEN = "interface or tier broken"
    WELL = "nothing broken any more"
    TIMER = "timer"
    LATE = "woke too late"
    RESIGNED = "priority 0 heard"
    STRONGER = "advert to obey"
    WEAKER = "advert not to obey"


class Router:
    """One virtual router on one node. Call `take_effects()` after every input and carry them out
    in order; call `timeout(now)` at `next_timeout()`."""

    def __init__(self, settings: RouterSettings) -> None:
        self.settings = settings
        self.state = State.STOPPED
        self.source: IPv4Address | None = None  # where we advertise from
        self.master: Master | None = None  # whom we heard last; None while we are it
        self.counters: Counter[str] = Counter()
        self.last_transition: tuple[State, State, str, float] | None = None
        self.interval_s = max(1, round(settings.advert_interval_s))
        self.skew_s = (256 - settings.priority) / 256
        self.master_down_s = LOST_ADVERTS * self.interval_s + self.skew_s
        self.lease_s = math.ceil(self.master_down_s) + 1
        self._faults: dict[str, str] = {"interface": "nothing known of the interface yet"}
        self._effects: list[Effect] = []
        self._timer: float | None = None  # master down, next advert, or end of resignation
        self._announce_at: float | None = None
        self._announce_repeat = 0
        self._preempt_at: float | None = None
        self._answers_left = 0
        self._sent_at = 0.0
        self._heard_at = 0.0
        self._resigned: IPv4Address | None = None
        self._rejected_at: dict[Rejection, float] = {}
        self._unlike_ours: frozenset[IPv4Address] | None = None

    # -- inputs

    def start(self, now: float) -> None:
        """Take part in the election. Tell it of the interface first."""
        self._heard_at = now
        if self._faults:
            self._dispatch(On.BROKEN, now, self._fault_cause())
        else:
            self._dispatch(On.START, now, "started")

    def stop(self, now: float) -> None:
        """Leave the election; finished when the state is STOPPED."""
        self._wake(now)
        self._dispatch(On.STOP, now, "told to stop")

    def receive(self, advert: Advert, source: IPv4Address, now: float) -> None:
        """An advert that passed every check of `packet.decode`."""
        self._wake(now)
        if source == self.source:
            self.reject(Rejection.OWN_SOURCE, source, now)
            return
        self._compare_addresses(advert, source)
        if advert.priority == RESIGN:
            self.counters["priority_zero_received"] += 1
            on, cause = On.RESIGNED, f"{source} resigned (priority 0)"
            self.master, self._resigned = None, source
        else:
            self.counters["adverts_received"] += 1
            on = self._rank(advert.priority, source, now)
            cause = (
                f"{source} advertises priority {advert.priority}, ours is {self.settings.priority}"
            )
            if on is On.STRONGER or self.state is State.BACKUP:
                self.master, self._resigned = Master(source, advert.priority), None
        self._heard_at = now
        self._dispatch(on, now, cause)

    def reject(self, reason: Rejection, source: IPv4Address, now: float) -> None:
        """Count a datagram that is no advert for us. Nothing else changes."""
        self.counters[f"rejected_{reason.name.lower()}"] += 1
        last = self._rejected_at.get(reason)
        if last is not None and now - last < REJECTION_EVENT_EVERY_S:
            return
        self._rejected_at[reason] = now
        count = self.counters[f"rejected_{reason.name.lower()}"]
        message = f"{self.settings.name}: advert from {source} dropped ({count} so far)"
        if reason is Rejection.INTERVAL:
            message += f": every member must advertise every {self.interval_s} s"
        self._emit(
            Event("vrrp.rejected", message, reason.value, {"reason": reason.name, "count": count})
        )

    def timeout(self, now: float) -> None:
        """The time of `next_timeout()` has come (being early is harmless)."""
        self._wake(now)
        if self._timer is not None and now >= self._timer:
            self._dispatch(On.TIMER, now, self._silence(now))
        if self._announce_at is not None and now >= self._announce_at:
            self._announce(self._announce_repeat, now)

    def set_interface(self, source: IPv4Address | None, cause: str, now: float) -> None:
        """`source`: the address to advertise from; None: unusable, and `cause` says why."""
        self.source = source
        self._set_fault("interface", None if source else cause, now)

    def set_tier(self, tier: str, well: bool, cause: str, now: float) -> None:
        """Another tier of this node: mastership dies with the data plane."""
        self._set_fault(f"tier {tier}", None if well else f"{tier} is not well: {cause}", now)

    # -- outputs

    def next_timeout(self) -> float | None:
        """When to call `timeout`; None: nothing to wait for."""
        return min((at for at in (self._timer, self._announce_at) if at is not None), default=None)

    def take_effects(self) -> list[Effect]:
        """What is to be done now, in order."""
        effects, self._effects = self._effects, []
        return effects

    @property
    def effective_priority(self) -> int:
        """The priority that this node can stand for right now."""
        return 0 if self._faults else self.settings.priority

    # -- deciding what an input is

    def _wake(self, now: float) -> None:
        """Before anything else: a master that slept is no master (its peers' timers ran on)."""
        asleep = now - self._sent_at
        if self.state is State.MASTER and asleep >= LOST_ADVERTS * self.interval_s:
            self.counters["late"] += 1
            allowed = LOST_ADVERTS * self.interval_s
            cause = f"silent for {asleep:.2f} s, and peers may take over after {allowed} s"
            self._dispatch(On.LATE, now, cause)

    def _rank(self, priority: int, source: IPv4Address, now: float) -> On:
        ours = self.settings.priority
        if self.state is State.MASTER:
            tie = priority == ours and self.source is not None and source > self.source
            return On.STRONGER if priority > ours or tie else On.WEAKER
        if priority >= ours:
            self._preempt_at = None
            return On.STRONGER
        if not self.settings.preempt and ours != OWNER:
            return On.STRONGER
        if self.state is State.BACKUP and self._preempt_at is None:
            self._preempt_at = now + self.settings.preempt_delay_s
        waiting = self._preempt_at is not None and now < self._preempt_at
        return On.STRONGER if waiting else On.WEAKER

    def _silence(self, now: float) -> str:
        """Why the timer that just fired was left to fire."""
        if self.state is State.RESIGNING:
            return f"no successor was heard within {RESIGNATION_BOUND_S} s"
        if self._resigned:
            return f"{self._resigned} resigned (priority 0)"
        silent = now - self._heard_at
        if self.master is None:
            return f"no advert heard for {silent:.2f} s"
        if self.master.priority < self.settings.priority and silent < 2 * self.interval_s:
            return f"{self.master.address} has only priority {self.master.priority} (preemption)"
        return f"no advert from {self.master.address} for {silent:.2f} s"

    def _set_fault(self, key: str, cause: str | None, now: float) -> None:
        self._wake(now)
        before = bool(self._faults)
        if cause is None:
            self._faults.pop(key, None)
        else:
            self._faults[key] = cause
        if self.state is State.STOPPED or before == bool(self._faults):
            return
        if self._faults:
            self._dispatch(On.BROKEN, now, self._fault_cause())
        else:
            self._dispatch(On.WELL, now, f"recovered: {key}")

    def _fault_cause(self) -> str:
        return "; ".join(self._faults.values())

    def _compare_addresses(self, advert: Advert, source: IPv4Address) -> None:
        """A list of addresses unlike ours is a mistake to tell of, never one to drop for."""
        theirs = frozenset(advert.addresses)
        if theirs == {interface.ip for interface in self.settings.addresses}:
            self._unlike_ours = None
        elif theirs != self._unlike_ours:
            self._unlike_ours = theirs
            listed = ", ".join(map(str, advert.addresses)) or "no addresses"
            message = f"{self.settings.name}: {source} advertises {listed}, unlike this node"
            self._emit(Event("vrrp.warning", message, "the members' address lists differ"))

    def _dispatch(self, on: On, now: float, cause: str) -> None:
        rule = TABLE[self.state][on]
        if rule is None:
            return
        before = self.state
        self.state, action = rule
        action(self, now)
        if self.state is before:
            return
        self.last_transition = (before, self.state, cause, now)
        self._emit(
            Event(
                "vrrp.transition",
                f"{self.settings.name}: {before.value} → {self.state.value}",
                cause,
                {"from": before.value, "to": self.state.value},
            )
        )

    # -- actions of the table

    def _listen(self, now: float) -> None:
        self.master = self._resigned = self._preempt_at = None
        self._heard_at = now
        self._timer = now if self.settings.priority == OWNER else now + self.master_down_s

    def _follow(self, now: float) -> None:
        self._timer = now + self.master_down_s

    def _hurry(self, now: float) -> None:
        skewed = now + self.skew_s
        self._timer = skewed if self._timer is None else min(self._timer, skewed)

    def _take_over(self, now: float) -> None:
        self.counters["became_master"] += 1
        self.master = None
        self._answers_left = ANSWERS_PER_INTERVAL
        self._claim(now)

    def _beat(self, now: float) -> None:
        self._answers_left = ANSWERS_PER_INTERVAL
        self._advertise(now)

    def _reply(self, now: float) -> None:
        if self._answers_left:
            self._answers_left -= 1
            self._advertise(now)

    def _insist(self, now: float) -> None:
        if self._answers_left:
            self._answers_left -= 1
            self._claim(now)

    def _claim(self, now: float) -> None:
        self._advertise(now)
        self._announce(self.settings.garp_repeat, now)
        if self.settings.garp_delay_s:
            self._announce_at = now + self.settings.garp_delay_s
            self._announce_repeat = self.settings.garp_repeat

    def _advertise(self, now: float) -> None:
        """One advert and the lease renewed; the next one on the grid, not an interval from now."""
        due = now if self._timer is None or self.state is not State.MASTER else self._timer
        self._send(self.settings.priority, now)
        self._emit(HoldAddresses(self.lease_s))
        self._timer = (due if 0 <= now - due < self.interval_s else now) + self.interval_s

    def _yield(self, now: float) -> None:
        self._drop_addresses()
        self._send(self.settings.priority, now)
        self._timer = now + self.master_down_s
        self._preempt_at = None

    def _step_down(self, now: float) -> None:
        self._drop_addresses()
        self._listen(now)
        self._timer = now + self.master_down_s

    def _resign(self, now: float) -> None:
        self._send(RESIGN, now)
        self._announce_at = None
        self._timer = now + RESIGNATION_BOUND_S

    def _abdicate(self, now: float) -> None:
        self._send(RESIGN, now)
        self._drop_addresses()
        self._rest(now)

    def _release(self, now: float) -> None:
        self._drop_addresses()
        self._rest(now)

    def _rest(self, now: float) -> None:
        self.master = self._timer = None
        self._announce_at = None

    # -- effects

    def _send(self, priority: int, now: float) -> None:
        self.counters["priority_zero_sent" if priority == RESIGN else "adverts_sent"] += 1
        self._sent_at = now
        self._emit(SendAdvert(priority))

    def _drop_addresses(self) -> None:
        self.counters["released_master"] += 1
        self._announce_at = None
        self._emit(RemoveAddresses())

    def _announce(self, repeat: int, now: float) -> None:
        refresh = self.settings.garp_refresh_s
        self._announce_at = now + refresh if refresh else None
        self._announce_repeat = self.settings.garp_refresh_repeat
        self._emit(Announce(repeat))

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)


Rule = tuple[State, Callable[[Router, float], None]] | None  # None: ignored

TABLE: dict[State, dict[On, Rule]] = {
    State.STOPPED: {
        On.START: (State.BACKUP, Router._listen),
        On.BROKEN: (State.FAULT, Router._rest),
        On.STOP: None,
        On.WELL: None,
        On.TIMER: None,
        On.LATE: None,
        On.RESIGNED: None,
        On.STRONGER: None,
        On.WEAKER: None,
    },
    State.BACKUP: {
        On.START: None,
        On.BROKEN: (State.FAULT, Router._rest),
        On.STOP: (State.STOPPED, Router._rest),
        On.WELL: None,
        On.TIMER: (State.MASTER, Router._take_over),
        On.LATE: None,
        On.RESIGNED: (State.BACKUP, Router._hurry),
        On.STRONGER: (State.BACKUP, Router._follow),
        On.WEAKER: None,
    },
    State.MASTER: {
        On.START: None,
        On.BROKEN: (State.FAULT, Router._abdicate),
        On.STOP: (State.RESIGNING, Router._resign),
        On.WELL: None,
        On.TIMER: (State.MASTER, Router._beat),
        On.LATE: (State.BACKUP, Router._step_down),
        On.RESIGNED: (State.MASTER, Router._reply),
        On.STRONGER: (State.BACKUP, Router._yield),
        On.WEAKER: (State.MASTER, Router._insist),
    },
    State.FAULT: {
        On.START: None,
        On.BROKEN: None,
        On.STOP: (State.STOPPED, Router._rest),
        On.WELL: (State.BACKUP, Router._listen),
        On.TIMER: None,
        On.LATE: None,
        On.RESIGNED: None,
        On.STRONGER: None,
        On.WEAKER: None,
    },
    State.RESIGNING: {
        On.START: None,
        On.BROKEN: (State.STOPPED, Router._release),
        On.STOP: None,
        On.WELL: None,
        On.TIMER: (State.STOPPED, Router._release),
        On.LATE: None,
        On.RESIGNED: None,
        On.STRONGER: (State.STOPPED, Router._release),
        On.WEAKER: (State.STOPPED, Router._release),
    },
}
