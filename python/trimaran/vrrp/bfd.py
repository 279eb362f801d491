"""One BFD session (RFC 5880): is the neighbour alive? Asynchronous, no echo, no authentication.

Packets and `now` (monotonic seconds) come in, effects come out. `dice` spreads the transmissions.

§6.8.6  the neighbour says   DOWN       INIT     UP       ADMIN_DOWN
        ours is DOWN         INIT       UP       -        -
                INIT         -          UP       UP       DOWN (diagnostic 3)
                UP           DOWN (3)   -        -        DOWN (3)
        silence for the detection time: DOWN (diagnostic 1)                       §6.8.4
detection time  the neighbour's multiplier × the slower of its TX and our RX interval
transmission    every max(our TX, its RX) interval, less 0-25 %, at most 90 % of it when our
                multiplier is 1 (§6.8.7); at most once a second until the session is UP (§6.8.3);
                never when it wants none, nor (passive) before it was heard
poll            after our intervals changed: P until an F answers (§6.5); P is answered at once
"""

import random
from dataclasses import dataclass, replace

from trimaran.vrrp.bfd_packet import ControlPacket, Diagnostic, State

SLOW_US = 1_000_000


@dataclass(frozen=True)
class BfdSettings:
    """Addresses as text. Intervals in microseconds; `idle_tx_us` while the session is not up."""

    neighbour: str
    source: str | None = None
    min_rx_us: int = 10_000
    min_tx_us: int = 10_000
    idle_tx_us: int = SLOW_US
    multiplier: int = 5
    passive: bool = False
    ttl: int = 255
    max_hops: int = 0


@dataclass(frozen=True)
class Send:
    """Send this to the neighbour."""

    packet: ControlPacket


@dataclass(frozen=True)
class Changed:
    """The session's state changed; `cause` says why."""

    before: State
    after: State
    cause: str


BfdEffect = Send | Changed

# What the neighbour's state makes of ours. What is not there changes nothing.
_TABLE: dict[tuple[State, State], State] = {
    (State.DOWN, State.DOWN): State.INIT,
    (State.DOWN, State.INIT): State.UP,
    (State.INIT, State.INIT): State.UP,
    (State.INIT, State.UP): State.UP,
    (State.INIT, State.ADMIN_DOWN): State.DOWN,
    (State.UP, State.DOWN): State.DOWN,
    (State.UP, State.ADMIN_DOWN): State.DOWN,
}


class BfdSession:
    """Call `take_effects()` after every input, and `timeout(now)` at `next_timeout()`."""

    def __init__(self, settings: BfdSettings, discriminator: int, dice: random.Random) -> None:
        self.settings = settings
        self.discriminator = discriminator
        self.state = State.DOWN
        self._dice = dice
        self._effects: list[BfdEffect] = []
        self._diagnostic = Diagnostic.NONE
        self._theirs = 0  # discriminator; 0: not known
        self._their_rx_us = 1
        self._their_tx_us = 0
        self._their_multiplier = 1
        self._polling = False
        self._send_at: float | None = None
        self._expires_at: float | None = None

    # -- inputs

    def start(self, now: float) -> None:
        """Take part."""
        self._send_at = None if self.settings.passive else now

    def stop(self, now: float) -> None:
        """Say that it is on purpose (§6.8.16), and be silent."""
        self._diagnostic = Diagnostic.ADMIN_DOWN
        self._become(State.ADMIN_DOWN, "told to stop")
        self._send()
        self._send_at = self._expires_at = None

    def receive(self, packet: ControlPacket, now: float) -> None:
        """A packet that `bfd_packet.decode` took."""
        if self.state is State.ADMIN_DOWN:
            return
        slower = packet.required_min_rx_us > self._their_rx_us
        self._theirs, self._their_multiplier = packet.mine, packet.multiplier
        self._their_rx_us, self._their_tx_us = packet.required_min_rx_us, packet.desired_min_tx_us
        if packet.final:
            self._polling = False
        after = _TABLE.get((self.state, packet.state))
        if after is not None:
            if after is State.DOWN:
                self._diagnostic = Diagnostic.NEIGHBOUR_DOWN
            cause = f"{self.settings.neighbour} says {packet.state.name}"
            self._become(after, cause)
        self._expires_at = now + self.detection_time_s
        if packet.poll:
            self._send(final=True)
        if after is not None and not packet.poll:
            self._send()
        if after is not None or self._send_at is None or not slower:
            self._rearm(now)

    def timeout(self, now: float) -> None:
        """The time of `next_timeout()` has come."""
        if self._expires_at is not None and now >= self._expires_at:
            self._expires_at = None
            self._theirs, self._their_rx_us = 0, 1
            if self.state in (State.INIT, State.UP):
                self._diagnostic = Diagnostic.EXPIRED
                silent = f"nothing from {self.settings.neighbour} for {self._detected_s:.3f} s"
                self._become(State.DOWN, silent)
                self._send()
            self._rearm(now)
        if self._send_at is not None and now >= self._send_at:
            self._send()
            self._send_at = now + self._interval_s()

    # -- outputs

    def next_timeout(self) -> float | None:
        """When to call `timeout`; None: nothing to wait for."""
        timers = (self._send_at, self._expires_at)
        return min((at for at in timers if at is not None), default=None)

    def take_effects(self) -> list[BfdEffect]:
        """What is to be done now, in order."""
        effects, self._effects = self._effects, []
        return effects

    @property
    def detection_time_s(self) -> float:
        """After how much silence the neighbour is gone (§6.8.4)."""
        slowest_us = max(self.settings.min_rx_us, self._their_tx_us)
        self._detected_s = self._their_multiplier * slowest_us / 1e6
        return self._detected_s

    # -- how

    def _desired_us(self) -> int:
        if self.state is State.UP:
            return self.settings.min_tx_us
        return max(SLOW_US, self.settings.idle_tx_us)

    def _interval_s(self) -> float:
        most = 0.9 if self.settings.multiplier == 1 else 1.0
        spread = 0.75 + self._dice.random() * (most - 0.75)
        return max(self._desired_us(), self._their_rx_us) / 1e6 * spread

    def _rearm(self, now: float) -> None:
        """Only ever sooner than planned: who hears much must not put off what it has to say."""
        if self._their_rx_us == 0 or (self.settings.passive and self._theirs == 0):
            self._send_at = None
            return
        due = now + self._interval_s()
        self._send_at = due if self._send_at is None else min(self._send_at, due)

    def _become(self, state: State, cause: str) -> None:
        before, self.state = self.state, state
        if before is state:
            return
        self._polling = state is State.UP  # our TX interval is another one now
        if state is State.UP:
            self._diagnostic = Diagnostic.NONE
        self._effects.append(Changed(before, state, cause))

    def _send(self, *, final: bool = False) -> None:
        packet = ControlPacket(
            self.state, self.settings.multiplier, self.discriminator, self._theirs,
            self._desired_us(), self.settings.min_rx_us, int(self._diagnostic),
            poll=self._polling,
        )  # fmt: skip
        if final:  # never both (§6.5)
            packet = replace(packet, poll=False, final=True)
        self._effects.append(Send(packet))
