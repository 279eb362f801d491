"""BFD: two sessions talk, and what becomes of them when they cannot."""

import heapq
import itertools
import random
from collections.abc import Callable

import pytest

from trimaran.vrrp.bfd import BfdSession, BfdSettings, Changed, Send
from trimaran.vrrp.bfd_packet import BfdRejection, ControlPacket, Diagnostic, State, decode

# RFC 5880 §4.1, written out by hand: version 1, diagnostic 1, UP, poll, multiplier 5.
BYTES = bytes.fromhex("21e005180000000100000002000f4240000027100000000000".ljust(48, "0")[:48])


def test_the_bytes() -> None:
    packet = ControlPacket(State.UP, 5, 1, 2, 1_000_000, 10_000, 1, poll=True)
    assert packet.encode() == BYTES
    assert decode(BYTES, 2) == packet


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [
        (0, 0x41, BfdRejection.VERSION),
        (2, 0, BfdRejection.MULTIPLIER),
        (3, 23, BfdRejection.TRUNCATED),
        (3, 25, BfdRejection.TRUNCATED),
        (1, 0xE1, BfdRejection.MULTIPOINT),
        (7, 0, BfdRejection.DISCRIMINATOR),
        (11, 3, BfdRejection.DISCRIMINATOR),
        (11, 0, BfdRejection.DISCRIMINATOR),  # not known, though it says UP
        (1, 0xE4, BfdRejection.AUTHENTICATION),
    ],
)
def test_what_is_no_packet_for_us(at: int, value: int, why: BfdRejection) -> None:
    data = bytearray(BYTES)
    data[at] = value
    assert decode(bytes(data), 2) is why
    assert decode(BYTES[:23], 2) is BfdRejection.TRUNCATED


def test_one_that_does_not_know_us_yet_may_be_down() -> None:
    packet = ControlPacket(State.DOWN, 3, 1, 0, 1_000_000, 10_000)
    assert decode(packet.encode(), 77) == packet


def test_any_bytes_are_a_packet_or_a_reason() -> None:
    dice = random.Random(1)
    for _ in range(20_000):
        decode(dice.randbytes(dice.choice((0, 10, 24, 30))), dice.randrange(4))


class Pair:
    """Two sessions and the wire between them; `loss` of 1 is a cut."""

    def __init__(self, seed: int, one: BfdSettings, two: BfdSettings) -> None:
        self.dice = random.Random(seed)
        self.now, self.loss = 0.0, 0.0
        self.sessions = [
            BfdSession(each, number + 1, self.dice) for number, each in enumerate((one, two))
        ]
        self.sent: list[tuple[float, int, ControlPacket]] = []
        self.changes: list[tuple[float, int, Changed]] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        for each in self.sessions:
            each.start(0.0)
            self._act(each)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            timers = [(at, s) for s in self.sessions if (at := s.next_timeout()) is not None]
            due = min((at for at, _ in timers), default=end + 1)
            arrives = self._queue[0][0] if self._queue else end + 1
            if min(due, arrives) > end:
                self.now = end
                return
            self.now = max(self.now, min(due, arrives))
            if arrives <= due:
                heapq.heappop(self._queue)[2]()
                continue
            for at, session in timers:
                if at <= self.now:
                    session.timeout(self.now)
                    self._act(session)

    def _act(self, session: BfdSession) -> None:
        number = self.sessions.index(session)
        for effect in session.take_effects():
            if isinstance(effect, Changed):
                self.changes.append((self.now, number, effect))
                continue
            self.sent.append((self.now, number, effect.packet))
            if self.dice.random() >= self.loss:
                self._arrive(self.sessions[1 - number], effect.packet.encode())

    def _arrive(self, to: BfdSession, data: bytes) -> None:
        def arrive() -> None:
            packet = decode(data, to.discriminator)
            assert isinstance(packet, ControlPacket), packet
            to.receive(packet, self.now)
            self._act(to)

        heapq.heappush(self._queue, (self.now + 0.0005, next(self._order), arrive))

    @property
    def states(self) -> tuple[State, State]:
        return self.sessions[0].state, self.sessions[1].state


FAST = BfdSettings("192.0.2.2", multiplier=3)
UP = (State.UP, State.UP)


@pytest.mark.parametrize("seed", range(20))
def test_they_come_up_and_speak_as_fast_as_both_like(seed: int) -> None:
    slow = BfdSettings("192.0.2.1", min_rx_us=50_000, min_tx_us=20_000)
    pair = Pair(seed, FAST, slow)
    pair.run(3)
    assert pair.states == UP
    before = len(pair.sent)
    pair.run(10)
    ones = [at for at, number, _ in pair.sent[before:] if number == 0]
    twos = [at for at, number, _ in pair.sent[before:] if number == 1]
    assert 200 <= len(ones) <= 267, "50 ms, for the other wants no more, less up to a quarter"
    assert 500 <= len(twos) <= 667, "20 ms, its own interval"
    assert not any(packet.poll for _, _, packet in pair.sent[before:])
    assert [change.after for _, _, change in pair.changes].count(State.UP) == 2


@pytest.mark.parametrize("seed", range(20))
def test_silence_is_noticed_in_the_detection_time_and_healed(seed: int) -> None:
    pair = Pair(seed, FAST, FAST)
    pair.run(3)
    assert pair.states == UP
    pair.loss, cut_at = 1.0, pair.now
    pair.run(0.05)
    assert pair.states == (State.DOWN, State.DOWN)
    downs = [(at, change) for at, _, change in pair.changes if change.after is State.DOWN]
    assert all(0.015 < at - cut_at < 0.033 for at, _ in downs), "3 × 10 ms since the last packet"
    assert downs[0][1].cause == "nothing from 192.0.2.2 for 0.030 s"
    assert pair.sent[-1][2].diagnostic in (Diagnostic.EXPIRED, Diagnostic.NEIGHBOUR_DOWN)
    silent = len(pair.sent)
    pair.run(5)
    assert len(pair.sent) - silent <= 2 * 7, "once a second at most, while it is down"
    pair.loss = 0.0
    pair.run(3)
    assert pair.states == UP


def test_losses_below_the_multiplier_do_no_harm() -> None:
    five = BfdSettings("192.0.2.2", multiplier=20)
    pair = Pair(1, five, five)
    pair.run(3)
    pair.loss = 0.3
    pair.run(20)
    assert pair.states == UP
    assert [change.after for _, _, change in pair.changes].count(State.DOWN) == 0


def test_one_that_stops_says_so() -> None:
    pair = Pair(2, FAST, FAST)
    pair.run(3)
    pair.sessions[0].stop(pair.now)
    pair._act(pair.sessions[0])
    pair.run(0.01)
    assert pair.states == (State.ADMIN_DOWN, State.DOWN)
    assert pair.changes[-1][2].cause == "192.0.2.2 says ADMIN_DOWN"
    assert pair.sessions[0].next_timeout() is None


def test_a_passive_one_waits_to_be_spoken_to() -> None:
    passive = BfdSettings("192.0.2.1", passive=True)
    pair = Pair(3, passive, passive)
    pair.run(5)
    assert not pair.sent
    pair = Pair(3, FAST, passive)
    pair.run(3)
    assert pair.states == UP


def test_a_poll_is_answered_at_once_and_never_polls_back() -> None:
    session = BfdSession(FAST, 7, random.Random(1))
    session.start(0.0)
    session.take_effects()
    session.receive(ControlPacket(State.INIT, 3, 9, 7, 10_000, 10_000, poll=True), 0.5)
    sent = [each.packet for each in session.take_effects() if isinstance(each, Send)]
    assert [(each.poll, each.final) for each in sent] == [(False, True)]
    session.timeout(0.515)
    sent = [each.packet for each in session.take_effects() if isinstance(each, Send)]
    assert sent[0].poll, "its own interval has changed, too"
    session.receive(ControlPacket(State.UP, 3, 9, 7, 10_000, 10_000, final=True), 0.52)
    session.timeout(0.54)
    assert not any(each.packet.poll for each in session.take_effects() if isinstance(each, Send))


def test_one_that_wants_to_hear_nothing_hears_nothing() -> None:
    session = BfdSession(FAST, 7, random.Random(1))
    session.start(0.0)
    session.receive(ControlPacket(State.INIT, 3, 9, 7, 10_000, 0), 0.5)
    session.take_effects()
    session.timeout(0.52)
    assert not session.take_effects()
