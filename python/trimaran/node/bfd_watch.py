"""The BFD sessions that virtual routers track: the machines of vrrp/bfd.py on real sockets."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from trimaran.node.vrrp_watch import Report
from trimaran.system import clock
from trimaran.system.bfd_socket import BfdListener, BfdSpeaker
from trimaran.vrrp.bfd import BfdSession, Changed, Send
from trimaran.vrrp.bfd_packet import TTL, BfdRejection, State, decode
from trimaran.vrrp.settings import WatchSettings

MOST_PER_LOOK = 256  # datagrams; a flood must not keep the adverts waiting


@dataclass
class _Watched:
    name: str
    session: BfdSession
    speaker: BfdSpeaker
    nearest_ttl: int


class BfdWatches:
    """All of them, looked at as one watch (vrrp_watch.py). Raises OSError when the port of BFD is
    taken, or a source address is not there."""

    def __init__(self, settings: Sequence[WatchSettings], report: Report) -> None:
        self._report = report
        dice = random.Random()
        self._sessions: dict[object, _Watched] = {}
        for each in settings:
            if each.bfd is None:
                continue
            neighbour = ip_address(each.bfd.neighbour.partition("%")[0])
            session = BfdSession(each.bfd, dice.randrange(1, 1 << 32), dice)
            speaker = BfdSpeaker(each.bfd.neighbour, each.bfd.source, each.bfd.ttl, dice)
            nearest = TTL - each.bfd.max_hops
            self._sessions[neighbour] = _Watched(each.name, session, speaker, nearest)
        families = {ip_address(str(neighbour)).version == 6 for neighbour in self._sessions}
        self._listeners = [BfdListener(ipv6) for ipv6 in sorted(families)]
        for watched in self._sessions.values():
            watched.session.start(clock.now())
            report(watched.name, False, f"no BFD session with {watched.session.settings.neighbour}"
                   " is up yet", 1)  # fmt: skip

    def next_due(self) -> float:
        """When `look` is to be called."""
        timers = (each.session.next_timeout() for each in self._sessions.values())
        return min((at for at in timers if at is not None), default=clock.now() + 3600)

    def descriptors(self) -> list[int]:
        """What to wait for besides the time."""
        return [each.fileno() for each in self._listeners]

    def look(self, now: float) -> None:
        """Packets before timers: what waited was no silence."""
        for listener in self._listeners:
            for _ in range(MOST_PER_LOOK):
                heard = listener.receive()
                if heard is None:
                    break
                self._hear(*heard)
        for watched in self._sessions.values():
            due = watched.session.next_timeout()
            if due is not None and due <= now:
                watched.session.timeout(clock.now())
                self._act(watched)

    def close(self) -> None:
        """Tell the neighbours that it is on purpose."""
        for watched in self._sessions.values():
            watched.session.stop(clock.now())
            for effect in watched.session.take_effects():
                if isinstance(effect, Send):
                    watched.speaker.send(effect.packet.encode())
            watched.speaker.close()
        for listener in self._listeners:
            listener.close()

    def _hear(self, payload: bytes, source: str, ttl: int) -> None:
        watched = self._sessions.get(ip_address(source.partition("%")[0]))
        if watched is None or ttl < watched.nearest_ttl:  # RFC 5881 §5: from the wire itself
            return
        packet = decode(payload, watched.session.discriminator)
        if not isinstance(packet, BfdRejection):
            watched.session.receive(packet, clock.now())
            self._act(watched)

    def _act(self, watched: _Watched) -> None:
        for effect in watched.session.take_effects():
            if isinstance(effect, Send):
                watched.speaker.send(effect.packet.encode())
            elif isinstance(effect, Changed) and State.UP in (effect.before, effect.after):
                cause = f"BFD session is {effect.after.name}: {effect.cause}"
                self._report(watched.name, effect.after is State.UP, cause, 1)
