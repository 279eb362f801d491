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

from trimaran.node.channel import Channel, ChannelClosedError, Message
from trimaran.node.plain import from_plain
from trimaran.node.vrrp_port import Port
from trimaran.system import clock, realtime
from trimaran.system.announce import Announcer
from trimaran.system.link_monitor import LinkMonitor
from trimaran.system.netlink import Netlink
from trimaran.system.vrrp_socket import VrrpSocket
from trimaran.vrrp.effects import (
    Announce,
    Effect,
    Event,
    HoldAddresses,
    RemoveAddresses,
    SendAdvert,
)
from trimaran.vrrp.packet import Advert, Rejection, decode, encode, router_id_of, unwrap
from trimaran.vrrp.router import Router, State
from trimaran.vrrp.settings import VrrpSettings
from trimaran.vrrp.status import router_status

REALTIME_PRIORITY = 50
MOST_PER_WAKE = 256  # datagrams; a flood must not keep the timers waiting


class VrrpRole:
    """The process's whole life, after it was configured."""

    def __init__(self, channel: Channel, settings: VrrpSettings) -> None:
        self._channel = channel
        self._unsaid = 0
        self._stopping = False
        self._complaints: dict[str, str] = {}
        self._ports: dict[str, Port] = {}
        self._routers = [Router(each) for each in settings.routers]
        for router in self._routers:
            interface = router.settings.interface
            port = self._ports.setdefault(interface, Port(interface))
            number = router.settings.router_id
            if number in port.routers:
                raise ValueError(
                    f"{router.settings.name} and {port.routers[number].settings.name} both have "
                    f"router_id {number} on {interface}: give one of them another"
                )
            port.routers[number] = router
        ours = {address.ip for each in settings.routers for address in each.addresses}
        self._netlink = Netlink()
        self._monitor = LinkMonitor(frozenset(ours))
        self._announcer = Announcer()
        self._signals = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

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

    def _note_signal(self, number: int, frame: FrameType | None) -> None:
        os.eventfd_write(self._signals, 1)

    # -- the loop

    def _start(self) -> None:
        for router in self._routers:
            self._clear_the_ground(router)
        self._look_at_interfaces()
        for router in self._routers:
            router.start(clock.now())
            self._act(router)
        realtime.freeze_garbage()
        self._say({"kind": "ready"})

    def _turn(self) -> None:
        """Wait for what comes first, then: orders, interfaces, packets, and only then timers, so
        that an advert that waited in the socket counts before the silence it would have ended."""
        sources = {
            each.fileno(): each
            for each in (self._channel, self._monitor, *(p.socket for p in self._ports.values()))
            if each is not None and each.fileno() >= 0
        }
        readable = select.select([*sources, self._signals], [], [], self._patience())[0]
        if self._signals in readable:
            os.eventfd_read(self._signals)
            self._stop()
        if self._channel.fileno() in readable:
            self._listen_to_supervisor()
        if self._monitor.fileno() in readable and self._monitor.changed():
            self._look_at_interfaces()
        for port in self._ports.values():
            if port.socket is not None and port.socket.fileno() in readable:
                self._receive(port, port.socket)
        for router in self._routers:
            due = router.next_timeout()
            if due is not None and due <= clock.now():
                router.timeout(clock.now())
                self._act(router)

    def _patience(self) -> float | None:
        due = [at for each in self._routers if (at := each.next_timeout()) is not None]
        return max(0.0, min(due) - clock.now()) if due else None

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
            if router.state in (State.MASTER, State.RESIGNING):
                for effect in (SendAdvert(0), RemoveAddresses()):
                    self._perform(router, effect)

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
            case "request":
                self._say({"kind": "reply", "id": message["id"], **self._answer(message["name"])})

    def _answer(self, name: str) -> dict[str, Any]:
        if name != "status":
            return {"error": f"the vrrp role does not know '{name}'; it knows 'status'"}
        now = clock.now()
        routers = [router_status(router, now) for router in self._routers]
        return {"value": {"routers": routers, "messages_dropped": self._unsaid}}

    def _receive(self, port: Port, socket: VrrpSocket) -> None:
        for _ in range(MOST_PER_WAKE):
            data = socket.receive()
            if data is None:
                return
            datagram = unwrap(data)
            if isinstance(datagram, Rejection):
                continue
            router = port.routers.get(router_id_of(datagram) or 0)
            if router is None:  # other virtual routers live on this LAN too
                continue
            told = decode(
                datagram,
                router_id=router.settings.router_id,
                interval_s=router.interval_s,
                password=router.settings.password,
            )
            if isinstance(told, Rejection):
                router.reject(told, datagram.source, clock.now())
            else:
                router.receive(told, datagram.source, clock.now())
            self._act(router)

    def _look_at_interfaces(self) -> None:
        for port in self._ports.values():
            port.look(self._netlink)
            for router in port.routers.values():
                source, cause = port.source(router.settings)
                router.set_interface(source, cause, clock.now())
                self._act(router)

    # -- what goes out

    def _act(self, router: Router) -> None:
        for effect in router.take_effects():
            self._perform(router, effect)

    def _perform(self, router: Router, effect: Effect) -> None:
        """One refusal of the kernel is told, and the next effect is tried: to stop half-way
        would leave more wrong than to go on."""
        name, port = router.settings.name, self._ports[router.settings.interface]
        try:
            match effect:
                case SendAdvert(priority):
                    self._send(router, port, priority)
                case HoldAddresses(lifetime_s):
                    for address in router.settings.addresses:
                        self._netlink.set_address(port.interface, address, lifetime_s=lifetime_s)
                case RemoveAddresses():
                    for address in router.settings.addresses:
                        self._netlink.remove_address(port.interface, address)
                case Announce(repeat):
                    self._announce(router, port, repeat)
                case Event():
                    self._tell(name, effect)
        except OSError as error:
            self._complain(name, type(effect).__name__, str(error))

    def _send(self, router: Router, port: Port, priority: int) -> None:
        if port.socket is None or router.source is None:
            return  # in FAULT; a resignation that cannot be sent is not an error
        settings = router.settings
        addresses = tuple(address.ip for address in settings.addresses)
        advert = Advert(
            settings.router_id, priority, router.interval_s, addresses, settings.password
        )
        port.socket.send(encode(advert), router.source)

    def _announce(self, router: Router, port: Port, repeat: int) -> None:
        if port.link is None:
            return
        for _ in range(repeat):
            for address in router.settings.addresses:
                self._announcer.announce(port.interface, port.link.mac, address.ip)

    def _complain(self, subject: str, action: str, error: str) -> None:
        """The same trouble is told once, not once a second."""
        if self._complaints.get(f"{subject} {action}") != error:
            self._complaints[f"{subject} {action}"] = error
            self._tell(subject, Event("vrrp.warning", f"{subject}: {action} failed", error))

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

    def _clear_the_ground(self, router: Router) -> None:
        """An address with a lifetime on our interface was left behind by a killed daemon of ours;
        any other holder is somebody else."""
        name, interface = router.settings.name, router.settings.interface
        for address in router.settings.addresses:
            for holding in self._netlink.holdings(address.ip):
                if holding.interface == interface and not holding.permanent:
                    self._netlink.remove_address(interface, holding.address)
                    message = f"{name}: removed {address.ip} from {interface}"
                    cause = "a killed daemon left it behind"
                    self._tell(name, Event("vrrp.warning", message, cause))
                else:
                    message = f"{name}: {address.ip} is on {holding.interface} already"
                    cause = "somebody else configured it for good; remove it there"
                    self._tell(name, Event("preflight.warning", message, cause))


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
    except PermissionError:
        _refuse("raw sockets are refused; run it as root, or with CAP_NET_ADMIN and CAP_NET_RAW")
    except (OSError, ValueError) as error:  # msgspec's ValidationError is a ValueError
        _refuse(str(error))
    role.run(messages[1:])


if __name__ == "__main__":
    main()
