"""One virtual router: an election for addresses, as a table of states and inputs.

Adverts and `now` (monotonic seconds) come in, effects come out; the driver keeps one timer.
How long anything is waited for: timing.py. Priority and faults: standing.py.

    stronger       greater priority, or equal and greater source         RFC 9568 §6.4.3
    lease          renewed with an advert, at most every half second

BACKUP §6.4.2   A priority-0 advert shortens the timer to skew. An advert at least as strong as we
    (or any, if we do not preempt, or while preempt_delay runs) restarts it, and teaches us the
    master's interval (version 3). A weaker one is ignored: the timer runs on, and that is how
    preemption happens. Sources do not matter here: an equal never displaces the one who holds the
    addresses. A member of a sync group whose timer ends WAITS for the others (group.py).
    Addresses that a killed process of ours left are kept until another master is heard.
MASTER §6.4.3   Take-over is advert, addresses, gratuitous ARP, in this order, and ARP again after
    garp_delay. A priority-0 advert is answered by ours. A weaker master is answered by our advert
    and by ARP (RFC 9568 §6.4.3, and as keepalived does), a stronger one is obeyed: addresses off
    FIRST, then one last advert of ours. The winner takes that for a weaker master and announces
    the addresses again, after we have left them: so a healed cut leaves no wrong ARP entry. It
    ends there, because a BACKUP answers nothing.
    Whoever was asleep for master down may have been replaced: it steps down before it speaks.
    An owner that another owner goes on contradicting gives way to it (priority 254).
FAULT           The interface, a tracker, a sync group or another tier of this node cannot serve, or
    the start-up delay runs. A master resigns with priority 0 and drops the addresses at once. All
    adverts are ignored.
RESIGNING       Ours: stopped, priority 0 sent, yet holding (and so forwarding for) the addresses
    until a successor speaks or every successor's skew has passed.

A rejected packet moves no timer and changes no state; it is counted by reason.
"""

from collections import Counter
from collections.abc import Callable
from enum import Enum

from trimaran.vrrp.address import Address
from trimaran.vrrp.effects import (
    Announce,
    Effect,
    Event,
    HoldAddresses,
    Master,
    RemoveAddresses,
    SendAdvert,
)
from trimaran.vrrp.grievances import Grievances
from trimaran.vrrp.packet import OWNER, RESIGN, Advert, Checksum, Rejection
from trimaran.vrrp.settings import RouterSettings, Track
from trimaran.vrrp.standing import Standing
from trimaran.vrrp.timing import timing

ANSWERS_PER_INTERVAL = 5  # a flood of adverts must not become a flood of ours and of ARP
RENEWAL_S = 0.5  # leases are whole seconds, at least 2: to renew them more often gains nothing


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
    WAITS = "timer, while others of the sync group do not want to be master"
    JOIN = "the whole sync group can be master"
    LEAVE = "another of the sync group is master no more"
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
        self.source: Address | None = None  # where we advertise from
        self.master: Master | None = None  # whom we heard last; None while we are it
        self.counters: Counter[str] = Counter()
        self.last_transition: tuple[State, State, str, float] | None = None
        self.checksum: Checksum | None = None  # how the last advert heard was summed up
        self.held = False  # by a sync group: it does not take over alone,
        self.wants = False  # but says that it would
        self.standing = Standing(settings)
        self._interval_s = settings.interval_cs / 100
        self._learnt_s = self._interval_s
        self._retime()
        self._grievances = Grievances(settings, self.counters)
        self._effects: list[Effect] = []
        self._timer: float | None = None  # master down, next advert, or end of resignation
        self._announce_at: float | None = None
        self._announce_repeat = 0
        self._start_at: float | None = None  # the end of the start-up delay
        self._preempt_at: float | None = None
        self._duel_at: float | None = None
        self._answers_left = 0
        self._sent_at = 0.0
        self._heard_at = 0.0
        self._renew_at = 0.0
        self.leftover = False  # a killed process of ours left the addresses
        self._resigned: Address | None = None

    # -- inputs

    def start(self, now: float, leftover: bool = False) -> None:
        """Take part in the election. Tell it of the interface and its trackers first. `leftover`:
        the interface still carries leased addresses of a killed process of ours."""
        self._heard_at, self.leftover = now, leftover
        if self.settings.start_delay_s:
            self._start_at = now + self.settings.start_delay_s
            cause = f"waiting {self.settings.start_delay_s:g} s after the start"
            self.standing.set_fault("start-up delay", cause)
        if self.standing.faults:
            self._dispatch(On.BROKEN, now, self.standing.cause())
        else:
            self._dispatch(On.START, now, "started")

    def stop(self, now: float) -> None:
        """Leave the election; finished when the state is STOPPED."""
        self._wake(now)
        self._dispatch(On.STOP, now, "told to stop")

    def receive(self, advert: Advert, source: Address, now: float) -> None:
        """An advert that passed every check of `packet.decode`."""
        if source == self.source:
            self.reject(Rejection.OWN_SOURCE, source, now)
            return
        self._wake(now)
        self.checksum = advert.checksum
        self._effects += self._grievances.accepted(advert, source)
        if advert.priority == RESIGN:
            self.counters["priority_zero_received"] += 1
            on, cause = On.RESIGNED, f"{source} resigned (priority 0)"
            self.master, self._resigned = None, source
        else:
            self.counters["adverts_received"] += 1
            on = self._rank(advert.priority, source, now)
            ours = self.standing.priority
            cause = f"{source} advertises priority {advert.priority}, ours is {ours}"
            if on is On.STRONGER or self.state is State.BACKUP:
                self.master, self._resigned = Master(source, advert.priority), None
            if on is On.STRONGER and self.state in (State.BACKUP, State.MASTER):
                self._learn(advert.interval_cs / 100)
        self._heard_at = now
        self._dispatch(on, now, cause)
        if self.leftover and self.state is State.BACKUP:
            self.leftover = False
            self._emit(RemoveAddresses())

    def reject(self, reason: Rejection, source: Address, now: float) -> None:
        """Count a datagram that is no advert for us. Nothing else changes."""
        if event := self._grievances.rejected(reason, source, now):
            self._emit(event)

    def timeout(self, now: float) -> None:
        """The time of `next_timeout()` has come (being early is harmless)."""
        self._wake(now)
        if self._start_at is not None and now >= self._start_at:
            self._start_at = None
            self.set_fault("start-up delay", None, now)
        if self._timer is not None and now >= self._timer:
            alone = self.held and self.state is State.BACKUP
            self._dispatch(On.WAITS if alone else On.TIMER, now, self._silence(now))
        if self._announce_at is not None and now >= self._announce_at:
            self._announce(self._announce_repeat, now)

    def set_interface(self, source: Address | None, cause: str, now: float) -> None:
        """`source`: the address to advertise from; None: unusable, and `cause` says why."""
        self.source = source
        self.set_fault("interface", None if source else cause, now)

    def set_tier(self, tier: str, well: bool, cause: str, now: float) -> None:
        """Another tier of this node: mastership dies with the data plane."""
        self.set_fault(f"tier {tier}", None if well else f"{tier} is not well: {cause}", now)

    def set_track(self, track: Track, well: bool, cause: str, now: float, value: int = 1) -> None:
        """What one of `settings.tracks` found; `value` is a file's number."""
        self._wake(now)
        broken, priority = bool(self.standing.faults), self.standing.priority
        self.standing.set_track(track, well, cause, value)
        if self.standing.priority != priority:
            self._reprioritize(f"{track.key}: {cause}", priority)
        self._after_fault(broken, track.key, now)

    def set_fault(self, key: str, cause: str | None, now: float) -> None:
        """Something forbids mastership, or (None) does so no more."""
        self._wake(now)
        broken = bool(self.standing.faults)
        self.standing.set_fault(key, cause)
        self._after_fault(broken, key, now)

    def join_masters(self, cause: str, now: float) -> None:
        """The sync group can be master, every member of it."""
        self._dispatch(On.JOIN, now, cause)

    def leave_masters(self, cause: str, now: float) -> None:
        """The sync group is master no more."""
        self._dispatch(On.LEAVE, now, cause)

    # -- outputs

    def next_timeout(self) -> float | None:
        """When to call `timeout`; None: nothing to wait for."""
        timers = (self._timer, self._announce_at, self._start_at)
        return min((at for at in timers if at is not None), default=None)

    def take_effects(self) -> list[Effect]:
        """What is to be done now, in order."""
        effects, self._effects = self._effects, []
        return effects

    @property
    def effective_priority(self) -> int:
        """The priority that this node can stand for right now."""
        return 0 if self.standing.faults else self.standing.priority

    @property
    def master_down_s(self) -> float:
        """How long a BACKUP waits for an advert."""
        return self._times.master_down_s

    # -- deciding what an input is

    def _wake(self, now: float) -> None:
        """Before anything else: a master that slept is no master (its peers' timers ran on)."""
        asleep, allowed = now - self._sent_at, self._times.asleep_s
        if self.state is State.MASTER and asleep >= allowed:
            self.counters["late"] += 1
            cause = f"silent for {asleep:.2f} s, and peers take over after {allowed:.2f} s"
            self._dispatch(On.LATE, now, cause)

    def _rank(self, priority: int, source: Address, now: float) -> On:
        ours = self.standing.priority
        if self.state is State.MASTER:
            higher = self.source is not None and source.packed > self.source.packed
            if priority == ours == OWNER and not higher and self._duel_lost(now):
                return On.STRONGER
            return On.STRONGER if priority > ours or (priority == ours and higher) else On.WEAKER
        if priority >= ours:
            self._preempt_at = None
            return On.STRONGER
        if not self.settings.preempt and ours != OWNER:
            return On.STRONGER
        if self.state is State.BACKUP and self._preempt_at is None:
            self._preempt_at = now + self.settings.preempt_delay_s
        waiting = self._preempt_at is not None and now < self._preempt_at
        return On.STRONGER if waiting else On.WEAKER

    def _duel_lost(self, now: float) -> bool:
        """Another owner with a lower address ought to have given way to us by now: whoever goes
        on for so long will not, and two masters are worse than the wrong one."""
        if self._duel_at is None:
            self._duel_at = now + 3.2 * self._interval_s
        self.standing.demoted = now >= self._duel_at
        return self.standing.demoted

    def _silence(self, now: float) -> str:
        """Why the timer that just fired was left to fire."""
        if self.state is State.RESIGNING:
            return f"no successor was heard within {self._times.resignation_s:g} s"
        if self._resigned:
            return f"{self._resigned} resigned (priority 0)"
        silent = now - self._heard_at
        if self.master is None:
            return f"no advert heard for {silent:.2f} s"
        ours = self.standing.priority
        if self.master.priority < ours and silent < 2 * self._times.interval_s:
            return f"{self.master.address} has only priority {self.master.priority} (preemption)"
        return f"no advert from {self.master.address} for {silent:.2f} s"

    def _learn(self, interval_s: float) -> None:
        """A version 3 backup goes by the master's interval (RFC 9568 §6.4.2)."""
        if self.settings.version == 3 and interval_s != self._learnt_s:
            self._learnt_s = interval_s
            self._retime()

    def _retime(self) -> None:
        version, lost = self.settings.version, self.settings.down_adverts
        priority = self.standing.priority
        self._times = timing(version, priority, lost, self._interval_s, self._learnt_s)

    def _reprioritize(self, cause: str, before: int) -> None:
        """A running master-down timer is moved by the difference of the skews, as keepalived's."""
        skew = self._times.skew_s
        self._retime()
        if self.state is State.BACKUP and self._timer is not None:
            self._timer += self._times.skew_s - skew
        message = f"{self.settings.name}: priority {before} → {self.standing.priority}"
        self._emit(Event("vrrp.priority", message, cause, {"priority": self.standing.priority}))

    def _after_fault(self, broken: bool, key: str, now: float) -> None:
        if self.state is State.STOPPED or broken == bool(self.standing.faults):
            return
        if broken:
            self._dispatch(On.WELL, now, f"recovered: {key}")
        else:
            self._dispatch(On.BROKEN, now, self.standing.cause())

    def _dispatch(self, on: On, now: float, cause: str) -> None:
        rule = TABLE[self.state].get(on)
        if rule is None:
            return
        before = self.state
        self.state, action = rule
        action(self, now)
        if self.state is before:
            return
        self.wants = False
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
        self._forget_interval()
        down = self._times.master_down_s
        self._timer = now if self.standing.priority == OWNER else now + down

    def _follow(self, now: float) -> None:
        self.wants = False
        self._timer = now + self._times.master_down_s

    def _hurry(self, now: float) -> None:
        skewed = now + self._times.skew_s
        self._timer = skewed if self._timer is None else min(self._timer, skewed)

    def _await_mates(self, now: float) -> None:
        self.wants = True
        self._timer = now + self._interval_s

    def _take_over(self, now: float) -> None:
        self.counters["became_master"] += 1
        self.master = self._timer = self._duel_at = None
        self.leftover = False
        if self.standing.demoted:
            self.standing.demoted = False
        self._forget_interval()
        self._renew_at = 0.0
        self._answers_left = ANSWERS_PER_INTERVAL
        self._claim(now, self.settings.garp_repeat, self.settings.garp_delay_s)

    def _beat(self, now: float) -> None:
        self._answers_left = ANSWERS_PER_INTERVAL
        self._advertise(now)

    def _reply(self, now: float) -> None:
        if self._answers_left:
            self._answers_left -= 1
            self._advertise(now)

    def _insist(self, now: float) -> None:
        if self._answers_left and self.settings.answer_weaker:
            self._answers_left -= 1
            settings = self.settings
            self._claim(now, settings.garp_weaker_repeat, settings.garp_weaker_delay_s)

    def _claim(self, now: float, repeat: int, again_s: float) -> None:
        self._advertise(now)
        self._announce(repeat, now)
        if again_s and (self._announce_at is None or now + again_s < self._announce_at):
            self._announce_at = now + again_s  # or the refresh, where that comes sooner
            self._announce_repeat = repeat

    def _advertise(self, now: float) -> None:
        """One advert and the lease renewed; the next one on the grid, not an interval from now."""
        due = now if self._timer is None else self._timer
        self._send(self.standing.priority, now)
        if now >= self._renew_at:
            self._renew_at = now + RENEWAL_S
            self._emit(HoldAddresses(self._times.lease_s))
        self._timer = (due if 0 <= now - due < self._interval_s else now) + self._interval_s

    def _yield(self, now: float) -> None:
        self._drop_addresses()
        self._send(self.standing.priority, now)
        self._retime()
        self._timer = now + self._times.master_down_s
        self._preempt_at = None

    def _step_down(self, now: float) -> None:
        self._drop_addresses()
        self._listen(now)
        self._timer = now + self._times.master_down_s

    def _resign(self, now: float) -> None:
        self._send(RESIGN, now)
        self._announce_at = None
        self._timer = now + self._times.resignation_s

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
        if self.leftover:
            self.leftover = False
            self._emit(RemoveAddresses())

    def _forget_interval(self) -> None:
        self._learnt_s = self._interval_s
        self._retime()

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


Rule = tuple[State, Callable[[Router, float], None]]

# What is not in a row is ignored in that state.
TABLE: dict[State, dict[On, Rule]] = {
    State.STOPPED: {
        On.START: (State.BACKUP, Router._listen),
        On.BROKEN: (State.FAULT, Router._rest),
    },
    State.BACKUP: {
        On.BROKEN: (State.FAULT, Router._rest),
        On.STOP: (State.STOPPED, Router._rest),
        On.TIMER: (State.MASTER, Router._take_over),
        On.WAITS: (State.BACKUP, Router._await_mates),
        On.JOIN: (State.MASTER, Router._take_over),
        On.RESIGNED: (State.BACKUP, Router._hurry),
        On.STRONGER: (State.BACKUP, Router._follow),
    },
    State.MASTER: {
        On.BROKEN: (State.FAULT, Router._abdicate),
        On.STOP: (State.RESIGNING, Router._resign),
        On.TIMER: (State.MASTER, Router._beat),
        On.LATE: (State.BACKUP, Router._step_down),
        On.LEAVE: (State.BACKUP, Router._step_down),
        On.RESIGNED: (State.MASTER, Router._reply),
        On.STRONGER: (State.BACKUP, Router._yield),
        On.WEAKER: (State.MASTER, Router._insist),
    },
    State.FAULT: {
        On.STOP: (State.STOPPED, Router._rest),
        On.WELL: (State.BACKUP, Router._listen),
    },
    State.RESIGNING: {
        On.BROKEN: (State.STOPPED, Router._release),
        On.TIMER: (State.STOPPED, Router._release),
        On.STRONGER: (State.STOPPED, Router._release),
        On.WEAKER: (State.STOPPED, Router._release),
    },
}
