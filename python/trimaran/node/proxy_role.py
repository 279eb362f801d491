"""The proxy process (roles `proxy` and `site`): `python -m trimaran.node.proxy_role`.

Takes its settings over the channel and its listening sockets by LISTEN_FDS (docs/decisions/0001),
opens roots and logs, gives its privileges up, and then only relays: the engine does the work.
"""

import os
import pwd
import select
import socket
import sys
from contextlib import ExitStack, suppress
from typing import Any

from pydantic import ValidationError

from trimaran.node.channel import Channel, ChannelClosedError, Message
from trimaran.node.director_changes import Asked
from trimaran.node.peer_health import PeerChange, PeerHealth
from trimaran.node.plain import from_plain, to_plain
from trimaran.proxy.settings import ProxySettings
from trimaran.proxy.snapshot import snapshot
from trimaran.stack.http import Http
from trimaran.system.descriptors import raise_limit
from trimaran.system.engine import Engine, EngineError

OUR_WORD = "its probes say so"  # the engine's, of what we told it ourselves
FIRST_FD = 3  # sd_listen_fds(3)
GRACEFUL_STOP_S = 10.0
FEW_DESCRIPTORS = 16_384  # a client may need one towards a peer too


class CannotStartError(Exception):
    """One sentence that says why, for stderr."""


def inherited_listeners(expected: int) -> list[socket.socket]:
    """The listening sockets that the supervisor opened, in the order of `settings.listeners`."""
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "0")
    if pid != str(os.getpid()) or int(count) != expected:
        raise CannotStartError(
            f"{expected} listening sockets wanted, but the environment has LISTEN_FDS={count}"
            f" LISTEN_PID={pid or 'unset'}; start this process by `trimaran run`"
        )
    listeners = []
    for fd in range(FIRST_FD, FIRST_FD + expected):
        os.set_inheritable(fd, False)
        listeners.append(socket.socket(fileno=fd))
    return listeners


def drop_privileges(user: str | None) -> None:
    """Become `user` for good: supplementary groups, group and user. Nothing to do when not root."""
    if user is None or os.geteuid() != 0:
        return
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise CannotStartError(f"no user '{user}' on this machine: name another one") from None
    os.setgroups([])
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)


class ProxyRole:
    """One engine, and the channel that orders it about."""

    def __init__(
        self, channel: Channel, settings: ProxySettings, changes: tuple[PeerChange, ...] = ()
    ) -> None:
        self._channel = channel
        self._name = settings.name
        http = Http.model_validate(settings.http)
        self._descriptors = raise_limit()
        listeners = inherited_listeners(len(settings.listeners))
        # Roots and logs are opened by the engine's start, while we may. The C library then changes
        # the user of every thread of the process, the engine's included.
        self._engine = Engine(snapshot(http), listeners, http.workers)
        self._doors, self._workers, self._user = settings.listeners, http.workers, settings.user
        drop_privileges(settings.user)
        self._peers = PeerHealth(settings, changes, self._engine.set_peer, self._tell)

    def run(self) -> None:
        """Serve until told to stop, or until the supervisor is gone."""
        self._peers.start()
        self._channel.send({"kind": "ready"})
        if self._descriptors < FEW_DESCRIPTORS:
            self._channel.send(self._few_descriptors())
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(self._engine.fileno(), select.POLLIN)
        while self._relay_once({fd for fd, _ in poll.poll()}):
            pass

    def stop(self) -> None:
        """Finish what runs."""
        self._peers.stop()
        self._engine.stop(GRACEFUL_STOP_S)

    def _relay_once(self, ready: set[int]) -> bool:
        if self._engine.fileno() in ready:
            for event in self._engine.events():
                if event["cause"] != OUR_WORD:
                    self._channel.send(self._event(event))
        if self._channel.fileno() in ready:
            return not any(self._stops(message) for message in self._channel.receive())
        return True

    def _few_descriptors(self) -> Message:
        limit = self._descriptors
        return {
            "kind": "event",
            "name": "proxy.warning",
            "subject": self._name,
            "message": f"it holds {limit // 2} clients at most: it may open {limit} files",
            "cause": "the hard limit is that low",
            "data": {"mend": "raise it: LimitNOFILE= of the systemd unit, or ulimit -Hn"},
        }

    def _tell(
        self, name: str, subject: str, message: str, cause: str, data: dict[str, Any]
    ) -> None:
        said = {"name": name, "subject": subject, "message": message, "cause": cause, "data": data}
        with suppress(ChannelClosedError):
            self._channel.send({"kind": "event", **said})

    def _event(self, event: dict[str, str]) -> Message:
        word = "is back" if event["name"] == "proxy.peer_up" else "is out"
        return {
            "kind": "event",
            "name": event["name"],
            "subject": self._name,
            "message": f"{event['upstream']}: {event['peer']} {word}",
            "cause": event["cause"],
            "data": {"upstream": event["upstream"], "peer": event["peer"]},
        }

    def _stops(self, message: Message) -> bool:
        if message["kind"] == "request":
            self._channel.send({"kind": "reply", "id": message["id"], **self._answer(message)})
        return bool(message["kind"] == "stop")

    def _answer(self, message: Message) -> Message:
        if message["name"] == "status":
            return {"value": self._peers.complete(self._engine.status())}
        if message["name"] == "change":
            try:
                rows = self._peers.obey(from_plain(Asked, message["arguments"]))
            except ValueError as error:
                return {"error": str(error)}
            return {"value": {"overlay": to_plain(self._peers.changes), "changed": rows}}
        if message["name"] in ("check", "reload"):
            try:
                settings = from_plain(ProxySettings, message["arguments"]["settings"])
                return {"value": getattr(self, f"_{message['name']}")(settings)}
            except (EngineError, ValidationError) as error:
                return {"error": str(error)}
        return {"error": f"the proxy knows no request '{message['name']}'"}

    def _check(self, settings: ProxySettings) -> list[str]:
        """What of these settings a reload cannot change. Raises EngineError, ValidationError."""
        http = Http.model_validate(settings.http)
        self._engine.check(snapshot(http))
        notes = []
        if http.workers != self._workers:
            notes.append(f"it goes on with {self._workers} workers: their number needs a restart")
        if settings.user != self._user:
            notes.append(f"it goes on as the user {self._user}: another one needs a restart")
        return notes

    def _reload(self, settings: ProxySettings) -> None:
        """The sockets of new listeners came with the message, in their order in the settings."""
        new = [door for door in settings.listeners if door not in self._doors]
        sockets = [socket.socket(fileno=fd) for fd in self._channel.descriptors]
        self._channel.descriptors.clear()
        with ExitStack() as closing:  # the engine makes copies
            for each in sockets:
                closing.enter_context(each)
            came = dict(zip(new, sockets, strict=True))
            doors = [came.get(door, door) for door in settings.listeners]
            self._engine.swap(snapshot(Http.model_validate(settings.http)), doors)
        self._doors = settings.listeners
        self._peers.configure(settings)


def configuration(channel: Channel) -> tuple[ProxySettings, tuple[PeerChange, ...]]:
    """Wait for the first message."""
    while True:
        select.select([channel.fileno()], [], [])
        for message in channel.receive():
            if message["kind"] != "configure":
                raise CannotStartError(f"'configure' must come first, not '{message['kind']}'")
            changes = from_plain(tuple[PeerChange, ...], message.get("overlay") or ())
            return from_plain(ProxySettings, message["settings"]), changes


def main() -> int:
    """The exit code: 0 after a stop, 2 when it cannot start."""
    channel = Channel.inherited()
    try:
        role = ProxyRole(channel, *configuration(channel))
    except ChannelClosedError:
        return 0
    except (CannotStartError, EngineError, ValidationError, OSError) as error:
        print(f"trimaran proxy: {error}", file=sys.stderr)
        return 2
    try:
        role.run()
    except ChannelClosedError:
        pass  # the supervisor is gone: the same as stop
    finally:
        role.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
