"""What a virtual router does on its own: adverts, leases, announcements, and the timers of both.

The table (table.py) says when. Effects are collected in order, the driver carries them out.
"""

from collections import Counter

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
from trimaran.vrrp.packet import OWNER, RESIGN
from trimaran.vrrp.settings import RouterSettings
from trimaran.vrrp.standing import Standing
from trimaran.vrrp.timing import timing

ANSWERS_PER_INTERVAL = 5  # a flood of adverts must not become a flood of ours and of ARP
RENEWAL_S = 0.5  # leases are whole seconds, at least 2: to renew them more often gains nothing


class Actions:
    """The public methods are what the table names: each takes the time, and leaves effects."""

    def __init__(self, settings: RouterSettings) -> None:
        self.settings = settings
        self.master: Master | None = None  # whom we heard last; None while we are it
        self.counters: Counter[str] = Counter()
        self.standing = Standing(settings)
        self.wants = False  # held by a sync group, it says that it would take over
        self.lingering = False  # no master, yet holding the addresses until another one speaks
        self._interval_s = settings.interval_cs / 100
        self._learnt_s = self._interval_s
        self._retime()
        self._effects: list[Effect] = []
        self._timer: float | None = None  # master down, next advert, or end of resignation
        self._announce_at: float | None = None
        self._announce_repeat = 0
        self._preempt_at: float | None = None
        self._duel_at: float | None = None
        self._answers_left = 0
        self._weaker_told = False
        self._sent_at = 0.0
        self._heard_at = 0.0
        self._renew_at = 0.0
        self._resigned: Address | None = None

    # -- of the table

    def listen(self, now: float) -> None:
        """Wait for a master; an owner does not."""
        self.master = self._resigned = self._preempt_at = None
        self._heard_at = now
        self._forget_interval()
        down = self._times.master_down_s
        self._timer = now if self.standing.priority == OWNER else now + down

    def follow(self, now: float) -> None:
        """The master lives: wait anew."""
        self.wants = False
        self._timer = now + self._times.master_down_s

    def hurry(self, now: float) -> None:
        """The master resigned: wait for those before us, and no longer."""
        skewed = now + self._times.skew_s
        self._timer = skewed if self._timer is None else min(self._timer, skewed)

    def await_mates(self, now: float) -> None:
        """Nobody advertises, and the sync group is not complete."""
        self.wants = True
        self._timer = now + self._interval_s

    def take_over(self, now: float) -> None:
        """Become master: advert, addresses, announcements."""
        self.counters["became_master"] += 1
        self.master = self._timer = self._duel_at = None
        self.lingering = False
        if self.standing.demoted:
            self.standing.demoted = False
        self._forget_interval()
        self._renew_at = 0.0
        self._answers_left = ANSWERS_PER_INTERVAL
        self._claim(now, self.settings.garp_repeat, self.settings.garp_delay_s)

    def beat(self, now: float) -> None:
        """The next advert is due."""
        self._weaker_told = False
        self._answers_left = ANSWERS_PER_INTERVAL
        self._advertise(now)

    def reply(self, now: float) -> None:
        """Somebody resigned: tell the others at once that there is a master."""
        if self._answers_left:
            self._answers_left -= 1
            self._advertise(now)

    def insist(self, now: float) -> None:
        """A weaker master: tell it, and the LAN, who holds the addresses."""
        if not self._weaker_told:
            self._weaker_told = True
            message = f"{self.settings.name}: a weaker master was heard"
            cause = "it did not hear us, or has not yet"
            priority = self.standing.priority
            self._emit(Event("vrrp.weaker_master", message, cause, {"priority": priority}))
        if self._answers_left and self.settings.answer_weaker:
            self._answers_left -= 1
            settings = self.settings
            self._claim(now, settings.garp_weaker_repeat, settings.garp_weaker_delay_s)

    def give_way(self, now: float) -> None:
        """Obey a stronger master: addresses off, and one last advert for it to answer."""
        self._drop_addresses()
        self._send(self.standing.priority, now)
        self._retime()
        self._timer = now + self._times.master_down_s
        self._preempt_at = None

    def make_room(self, now: float) -> None:
        """Leave on purpose, to listen: priority 0, and keep the addresses until another speaks."""
        self._linger(now)
        self.listen(now)
        self._timer = now + self._times.master_down_s

    def stand_aside(self, now: float) -> None:
        """Leave because we ought not to serve: priority 0, and keep the addresses until a
        successor speaks."""
        self._linger(now)
        self.master = None

    def step_down(self, now: float) -> None:
        """Stop being master without a word."""
        self._drop_addresses()
        self.listen(now)
        self._timer = now + self._times.master_down_s

    def resign(self, now: float) -> None:
        """Leave on purpose: priority 0, and keep the addresses until a successor speaks."""
        self._linger(now)
        self.lingering = False  # the state says it

    def abdicate(self, now: float) -> None:
        """The interface cannot be used: priority 0, if that is still possible; addresses off."""
        self._send(RESIGN, now)
        self._drop_addresses()
        self.rest(now)

    def release(self, now: float) -> None:
        """The end of a resignation."""
        self._drop_addresses()
        self.rest(now)

    def rest(self, now: float) -> None:
        """Wait for nothing, hold nothing."""
        self.master = self._timer = None
        self._announce_at = None
        self._let_go()

    # -- what they are made of

    def _linger(self, now: float) -> None:
        """Hold the addresses for as long as any successor may wait, at most."""
        self._send(RESIGN, now)
        self._announce_at = None
        self.lingering = True
        self._emit(HoldAddresses(self._times.last_lease_s))
        self._timer = now + self._times.resignation_s

    def _let_go(self) -> None:
        """Another master was heard, or will never be."""
        if self.lingering:
            self.lingering = False
            self._emit(RemoveAddresses())

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

    def _forget_interval(self) -> None:
        self._learnt_s = self._interval_s
        self._retime()

    def _retime(self) -> None:
        version, lost = self.settings.version, self.settings.down_adverts
        priority = self.standing.priority
        self._times = timing(version, priority, lost, self._interval_s, self._learnt_s)

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
