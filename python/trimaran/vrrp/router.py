"""One virtual router: an election for addresses.

Adverts and `now` (monotonic seconds) come in, effects come out; the driver keeps one timer.
What is done in which state stands in table.py, how it is done in actions.py. How long anything is
waited for: timing.py. Priority and faults: standing.py. Here inputs become words of the table.
"""

from trimaran.vrrp.actions import Actions
from trimaran.vrrp.address import Address
from trimaran.vrrp.effects import Effect, Event, Master
from trimaran.vrrp.grievances import Grievances
from trimaran.vrrp.packet import OWNER, RESIGN, Advert, Checksum, Rejection
from trimaran.vrrp.settings import RouterSettings, Track
from trimaran.vrrp.table import TABLE, On, State


class Router(Actions):
    """One virtual router on one node. Call `take_effects()` after every input and carry them out
    in order; call `timeout(now)` at `next_timeout()`."""

    def __init__(self, settings: RouterSettings) -> None:
        super().__init__(settings)
        self.state = State.STOPPED
        self.source: Address | None = None  # where we advertise from
        self.last_transition: tuple[State, State, str, float] | None = None
        self.checksum: Checksum | None = None  # how the last advert heard was summed up
        self.held = False  # by a sync group: it does not take over alone
        self._grievances = Grievances(settings, self.counters)
        self._start_at: float | None = None  # the end of the start-up delay

    # -- inputs

    def start(self, now: float, leftover: bool = False) -> None:
        """Take part in the election. Tell it of the interface and its trackers first. `leftover`:
        the interface still carries leased addresses of a killed process of ours."""
        self._heard_at, self.lingering = now, leftover
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
        if self.lingering and on is not On.RESIGNED:
            self._let_go()
            message = f"{self.settings.name}: {source} has the addresses now"
            self._emit(Event("vrrp.released", message, cause))

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
    def interval_s(self) -> float:
        """The advert interval that it goes by: the master's, where that was heard."""
        return self._times.interval_s

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

    def _reprioritize(self, cause: str, before: int) -> None:
        """A running master-down timer is moved by the difference of the skews, as keepalived's."""
        skew = self._times.skew_s
        self._retime()
        if self.state is State.BACKUP and self._timer is not None:
            self._timer += self._times.skew_s - skew
        message = f"{self.settings.name}: priority {before} → {self.standing.priority}"
        self._emit(Event("vrrp.priority", message, cause, {"priority": self.standing.priority}))

    def _after_fault(self, broken: bool, key: str, now: float) -> None:
        """`broken`: whether there was a fault before."""
        if self.state is State.STOPPED:
            return
        faults = self.standing.faults
        if key == "interface" and key in faults:
            self._dispatch(On.CUT, now, self.standing.cause())
        elif faults and not broken:
            self._dispatch(On.BROKEN, now, self.standing.cause())
        elif broken and not faults:
            self._dispatch(On.WELL, now, f"recovered: {key}")

    def _dispatch(self, on: On, now: float, cause: str) -> None:
        rule = TABLE[self.state][on]
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
                {
                    "from": before.value,
                    "to": self.state.value,
                    "priority": self.standing.priority,
                },
            )
        )
