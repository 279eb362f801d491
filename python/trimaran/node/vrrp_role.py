"""The vrrp process: virtual routers on real interfaces. See docs/decisions/0001.

One loop, one timer. Nothing here waits for anything but the next packet or deadline: what the
supervisor does not read in time is dropped and counted, an advert never waits for it.
"""

import os
import select
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

from trimaran.node.bfd_watch import BfdWatches
from trimaran.node.channel import Channel, ChannelClosedError, Message
from trimaran.node.plain import from_plain
from trimaran.node.recording import record
from trimaran.node.vrrp_hands import Hands
from trimaran.node.vrrp_links import Links
from trimaran.node.vrrp_port import Port
from trimaran.node.vrrp_surroundings import Surroundings
from trimaran.node.vrrp_timers import Timers
from trimaran.node.vrrp_watch import Watch
from trimaran.system import clock, realtime
from trimaran.system.errors import CannotRunError
from trimaran.system.link_monitor import LinkMonitor
from trimaran.system.netlink import Holding, Netlink
from trimaran.system.vrrp_socket import VrrpSocket
from trimaran.vrrp.address import Address
from trimaran.vrrp.dump import dump
from trimaran.vrrp.effects import Event, RemoveAddresses, SendAdvert
from trimaran.vrrp.group import Group
from trimaran.vrrp.packet import Rejection, router_id_of
from trimaran.vrrp.router import Router
from trimaran.vrrp.settings import GroupSettings, Track, VrrpSettings
from trimaran.vrrp.status import router_status
from trimaran.vrrp.table import State
from trimaran.vrrp.voice import Voice

REALTIME_PRIORITY = 50
MOST_PER_WAKE = 256  # datagrams; a flood must not keep the timers waiting


class VrrpRole:
    """The process's whole life, after it was configured."""

    def __init__(self, channel: Channel, settings: VrrpSettings) -> None:
        self._channel = channel
        self._breath = realtime.Breath()
        self._unsaid = 0
        self._stopping = False
        self._ports: dict[str, Port] = {}
        self._routers = [
            record(each, settings.record) if settings.record else Router(each)
            for each in settings.routers
        ]
        self._voices = {router: Voice(router.settings) for router in self._routers}
        for router in self._routers:
            wire, base = router.settings.wire, router.settings.interface
            self._ports.setdefault(wire, Port(wire, base)).add(router)
        self._groups = {
            router: group
            for group in (self._group(each) for each in settings.groups)
            for router in group.members
        }
        self._kinds = {each.name: each.kind for each in settings.watches}
        self._watches: list[Watch | BfdWatches] = [
            Watch(each, self._heard_of) for each in settings.watches if each.kind != "bfd"
        ]
        self._bfd = [each for each in settings.watches if each.kind == "bfd"]
        ours = {address.ip for each in settings.routers for address in each.carried}
        ours |= {address.ip for _, address in settings.static}
        self._links = Links(_interfaces(settings), settings.delays)
        self._surroundings = Surroundings(settings, self._tell)
        self._netlink = Netlink()
        self._monitor = LinkMonitor(frozenset(ours))
        self._hands = Hands(self._ports, self._links, self._voices, self._tell)
        self._timers = Timers()
        self._surroundings.put()
        self._signals = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def _group(self, settings: GroupSettings) -> Group:
        members = [each for each in self._routers if each.settings.name in settings.members]
        return Group(settings.name, members)

    def run(self, messages: list[Message]) -> None:
        """Until told to stop and every router has stopped. However it ends, no address stays.
        `messages` came with the configuration."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_signal)
        self._be_on_time()
        try:
            self._start()
            for message in messages:
                self._obey(message)
            while not (self._stopping and self._all_stopped()):
                self._turn()
        finally:
            self._leave()
            self._surroundings.close(self._netlink)

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        os.eventfd_write(self._signals, 1)

    # -- the loop

    def _start(self) -> None:
        holdings: dict[Address, list[Holding]] = {}
        for holding in self._netlink.every_holding():
            holdings.setdefault(holding.address.ip, []).append(holding)
        leftovers = {each for each in self._routers if self._finds_leftovers(each, holdings)}
        self._look_at_interfaces()
        if self._bfd:
            self._watches.append(BfdWatches(self._bfd, self._heard_of))
        for watch in self._watches:
            watch.look(clock.now())
        for router in self._routers:
            router.start(clock.now(), router in leftovers)
            self._act(router)
        realtime.freeze_garbage()
        self._say({"kind": "ready"})

    def _turn(self) -> None:
        """Wait for what comes first, then: orders, interfaces, packets, and only then timers, so
        that an advert that waited in the socket counts before the silence it would have ended."""
        sockets = [
            (port, socket) for port in self._ports.values() for socket in port.sockets.values()
        ]
        waiting: list[Any] = [self._monitor, self._signals, *(socket for _, socket in sockets)]
        if self._channel.fileno() >= 0:
            waiting.append(self._channel)
        for watch in self._watches:
            waiting += watch.descriptors()
        self._breath.take()  # what follows returns at once while there is always more to read
        readable = select.select(waiting, [], [], self._patience())[0]
        if readable:
            self._read(readable, sockets)
        self._look_at_watches(readable)
        settled_at = self._links.next_due()
        if settled_at is not None and clock.now() >= settled_at:
            self._look_at_interfaces()
        now = clock.now()
        for router in self._timers.due(now):
            router.timeout(max(now, clock.now()))
            self._act(router)
        self._hands.announcing.pump(clock.now())

    def _read(self, readable: list[Any], sockets: list[tuple[Port, VrrpSocket]]) -> None:
        if self._signals in readable:
            os.eventfd_read(self._signals)
            self._stop()
        if self._channel in readable:
            self._listen_to_supervisor()
        if self._monitor in readable and self._monitor.changed():
            self._look_at_interfaces()
        for port, socket in sockets:
            if socket in readable and socket.fileno() >= 0:
                self._receive(port, socket)

    def _patience(self) -> float | None:
        times = (
            self._timers.next(),
            self._hands.announcing.next_due(),
            self._links.next_due(),
            *(w.next_due() for w in self._watches),
        )
        due = min((at for at in times if at is not None), default=None)
        return None if due is None else max(0.0, due - clock.now())

    def _look_at_watches(self, readable: list[Any]) -> None:
        for watch in self._watches:
            if clock.now() >= watch.next_due() or not set(readable).isdisjoint(watch.descriptors()):
                watch.look(clock.now())

    def _all_stopped(self) -> bool:
        return all(router.state is State.STOPPED for router in self._routers)

    def _stop(self) -> None:
        self._stopping = True
        for router in self._routers:
            router.stop(clock.now())
            self._act(router)

    def _leave(self) -> None:
        """Whatever happened: say goodbye and leave no address behind."""
        for router in self._routers:
            if router.lingering or router.state in (State.MASTER, State.RESIGNING):
                for effect in (SendAdvert(0), RemoveAddresses()):
                    self._hands.perform(router, effect)
                self._breath.take()
        for watch in self._watches:
            watch.close()

    # -- what comes in

    def _listen_to_supervisor(self) -> None:
        try:
            messages = self._channel.receive()
        except ChannelClosedError:
            self._channel.close()
            self._stop()
            return
        for message in messages:
            self._obey(message)

    def _obey(self, message: Message) -> None:
        match message["kind"]:
            case "stop":
                self._stop()
            case "tier":
                for router in self._routers:
                    well, cause = message["well"], message.get("cause", "")
                    router.set_tier(message["tier"], well, cause, clock.now())
                    self._act(router)
            case "quorum":
                self._heard_of_quorum(message["service"], message["met"], message["cause"])
            case "request":
                self._say({"kind": "reply", "id": message["id"], **self._answer(message["name"])})

    def _answer(self, name: str) -> dict[str, Any]:
        now = clock.now()
        if name == "dump":
            wall = clock.time_of_day()
            return {"value": [dump(router, wall, now) for router in self._routers]}
        if name != "status":
            known = "it knows 'status' and 'dump'"
            return {"error": f"the vrrp role does not know '{name}'; {known}"}
        routers = [router_status(router, now) for router in self._routers]
        sockets = [each for port in self._ports.values() for each in port.sockets.values()]
        overflowed = sum(each.overflowed() for each in sockets)
        value = {
            "routers": routers,
            "messages_dropped": self._unsaid,
            "datagrams_dropped": overflowed,  # a flood faster than we read
        }
        return {"value": value}

    def _receive(self, port: Port, socket: VrrpSocket) -> None:
        for _ in range(MOST_PER_WAKE):
            datagram = socket.receive()
            if datagram is None:
                return
            if isinstance(datagram, Rejection):
                continue
            router = port.routers.get((socket.lane, router_id_of(datagram) or 0))
            if router is None:  # other virtual routers live on this LAN too
                continue
            told = self._voices[router].understand(datagram, clock.time_of_day())
            if isinstance(told, Rejection):
                router.reject(told, datagram.source, clock.now())
            else:
                router.receive(told, datagram.source, clock.now())
            self._act(router)

    def _look_at_interfaces(self) -> None:
        self._surroundings.ensure(self._netlink)
        self._links.look(self._netlink, clock.now())
        for port in self._ports.values():
            port.look(self._netlink, self._links)
            for router in port.routers.values():
                source, cause = port.source(router.settings)
                router.set_interface(source, cause, clock.now())
                self._act(router)
        self._look_at_tracked_interfaces()

    def _look_at_tracked_interfaces(self) -> None:
        for router, track in self._tracks("interface"):
            trouble = self._links.trouble(track.name)
            router.set_track(track, not trouble, trouble or f"{track.name} is up", clock.now())
            self._act(router)

    def _heard_of(self, name: str, well: bool, cause: str, value: int) -> None:
        """What a watch found."""
        for router, track in self._tracks("watch"):
            if track.name != name:
                continue
            if self._kinds[name] == "file" and track.weight:  # its number counts, whatever it is
                well = (track.weight > 0) is not track.reverse
            router.set_track(track, well, cause, clock.now(), value)
            self._act(router)

    def _heard_of_quorum(self, service: str, met: bool, cause: str) -> None:
        """What the director says of a virtual service."""
        said = f"{'has its' if met else 'has no'} quorum: {cause}"
        for router, track in self._tracks("service"):
            if track.name == service:
                router.set_track(track, met, said, clock.now())
                self._act(router)

    def _tracks(self, kind: str) -> list[tuple[Router, Track]]:
        return [
            (router, track)
            for router in self._routers
            for track in router.settings.tracks
            if track.kind == kind
        ]

    # -- what goes out

    def _act(self, router: Router) -> None:
        """Carry out what the router wants, and what its group wants because of it."""
        group = self._groups.get(router)
        if group is not None:
            group.settle(clock.now())
        for each in group.members if group else (router,):
            for effect in each.take_effects():
                self._hands.perform(each, effect)
            self._timers.arm(each)
        self._breath.take()  # hundreds of routers may have much to do at the same moment

    def _tell(self, subject: str, event: Event) -> None:
        self._say(
            {
                "kind": "event",
                "name": event.name,
                "subject": subject,
                "message": event.message,
                "cause": event.cause,
                "data": event.data,
            }
        )

    def _say(self, message: Message) -> None:
        """Never waits: a supervisor that does not read loses messages, and is told how many."""
        channel = self._channel.fileno()
        if channel < 0:
            return
        if not select.select([], [channel], [], 0)[1]:
            self._unsaid += 1
            return
        try:
            self._channel.send(message)
        except ChannelClosedError:
            return  # the end of the channel is seen, and obeyed, where it is read

    # -- start-up

    def _be_on_time(self) -> None:
        attempts: tuple[tuple[str, Callable[[], None]], ...] = (
            ("real-time scheduling", lambda: realtime.set_realtime(REALTIME_PRIORITY)),
            ("locking memory", realtime.lock_memory),
        )
        for what, attempt in attempts:
            try:
                attempt()
            except (OSError, ValueError) as error:
                message = f"{what} was refused: adverts may be late on a busy machine"
                self._tell("vrrp", Event("preflight.warning", message, str(error)))

    def _finds_leftovers(self, router: Router, holdings: dict[Address, list[Holding]]) -> bool:
        """An address with a lifetime on our interface was left behind by a killed daemon of ours:
        it stays until we know who is master, or its lease ends. Any other is somebody else's."""
        name = router.settings.name
        found = False
        devices = {
            address: device
            for device, addresses in router.settings.carrying.items()
            for address in addresses
        }
        for address, interface in devices.items():
            for holding in holdings.get(address.ip, []):
                if holding.interface == interface and not holding.permanent:
                    found = True
                    message = f"{name}: found {address.ip} on {interface}"
                    cause = "a killed daemon left it behind"
                    self._tell(name, Event("vrrp.warning", message, cause))
                else:
                    message = f"{name}: {address.ip} is on {holding.interface} already"
                    cause = "somebody else configured it for good; remove it there"
                    self._tell(name, Event("preflight.warning", message, cause))
        return found


def _interfaces(settings: VrrpSettings) -> set[str]:
    """Every interface that a router uses, carries addresses on, or tracks."""
    names: set[str] = set()
    for router in settings.routers:
        names |= {router.interface, router.wire, *router.carrying}
        names |= {track.name for track in router.tracks if track.kind == "interface"}
    return names


def _first_messages(channel: Channel) -> list[Message]:
    """The configuration and what came with it; [] when the supervisor left before it spoke."""
    while True:
        select.select([channel], [], [])
        try:
            messages = channel.receive()
        except ChannelClosedError:
            return []
        if messages:
            return messages


def _refuse(why: str) -> NoReturn:
    print(f"trimaran: the vrrp role cannot start: {why}", file=sys.stderr)
    sys.exit(2)


def main() -> None:
    """The process. Exits 2 with one sentence when it cannot start."""
    channel = Channel.inherited()
    messages = _first_messages(channel)
    if not messages:
        return
    try:
        role = VrrpRole(channel, from_plain(VrrpSettings, messages[0]["settings"]))
    except CannotRunError as error:
        _refuse(str(error))
    except PermissionError:
        _refuse("raw sockets are refused; run it as root, or with CAP_NET_ADMIN and CAP_NET_RAW")
    except (OSError, ValueError) as error:  # msgspec's ValidationError is a ValueError
        _refuse(str(error))
    role.run(messages[1:])


if __name__ == "__main__":
    main()
