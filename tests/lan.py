"""A LAN of network namespaces for tests: a switch, machines plugged into it, and an observer.

Everything carries the test process's id in its name and is removed at the end. The machine is
looked at from outside, with iproute2.
"""

import ctypes
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimaran.node.channel import CHANNEL_VARIABLE, Channel, ChannelClosedError
from trimaran.node.plain import to_plain

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
SO_TIMESTAMPNS = 35
_libc = ctypes.CDLL(None, use_errno=True)


def ip(*words: str) -> str:
    """iproute2's answer. Raises with what it said."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def wait_until(what: str, condition: Callable[[], Any], within_s: float = 15.0) -> Any:
    """The condition's first true value; fails with `what` when it does not come in time."""
    deadline = time.monotonic() + within_s
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s: {what}")
        time.sleep(0.01)


@dataclass(frozen=True)
class Frame:
    """An Ethernet frame and when the observer's kernel saw it (wall clock seconds)."""

    at: float
    data: bytes


class Capture:
    """Every frame that a machine's `ens33` sees, in order."""

    def __init__(self, namespace: str) -> None:
        self.frames: list[Frame] = []
        with inside(namespace):
            kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
            self._socket = socket.socket(socket.AF_PACKET, kind, socket.htons(ETH_P_ALL))
            self._socket.bind(("ens33", 0))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.settimeout(0.1)
        self._ended = False
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._ended:
            with suppress(TimeoutError):
                data, control, _, _ = self._socket.recvmsg(2048, 64)
                seconds, nanoseconds = struct.unpack("qq", control[0][2][:16])
                self.frames.append(Frame(seconds + nanoseconds / 1e9, data))

    def close(self) -> None:
        self._ended = True
        self._thread.join()
        self._socket.close()

    def adverts(self, source: str, priority: int | None = None) -> list[Frame]:
        """VRRP messages from that address (and of that priority)."""
        found = [
            frame
            for frame in list(self.frames)
            if frame.data[12:14] == b"\x08\x00"
            and frame.data[23] == 112
            and frame.data[26:30] == socket.inet_aton(source)
        ]
        return [each for each in found if priority is None or each.data[36] == priority]

    def arps(self, mac: bytes, address: str) -> list[Frame]:
        """Gratuitous ARP for the address, byte for byte as it must be."""
        packed = socket.inet_aton(address)
        wanted = (
            b"\xff" * 6 + mac + b"\x08\x06" + b"\0\x01\x08\0\x06\x04\0\x01"
            + mac + packed + b"\xff" * 6 + packed
        )  # fmt: skip
        return [frame for frame in list(self.frames) if frame.data[:42] == wanted]


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """The calling thread is in the namespace within the block; sockets made there stay there."""
    here, wanted = Path("/proc/thread-self/ns/net"), Path("/run/netns") / namespace
    with here.open() as home, wanted.open() as there:
        assert _libc.setns(there.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            assert _libc.setns(home.fileno(), CLONE_NEWNET) == 0


class Lan:
    """One switch, and machines with an interface called ens33."""

    def __init__(self) -> None:
        self._sweep()
        self._prefix = f"trimaran-test-{os.getpid()}-"
        self._namespaces: list[str] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._captures: list[Capture] = []
        self._switch = self._make("switch")
        ip("-n", self._switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0",
           "forward_delay", "0")  # fmt: skip
        ip("-n", self._switch, "link", "set", "br0", "up")

    @staticmethod
    def _sweep() -> None:
        """Remove what a killed test run left behind."""
        for place in Path("/run/netns").glob("trimaran-test-*"):
            if not Path(f"/proc/{place.name.split('-')[2]}").exists():
                with suppress(RuntimeError):
                    ip("netns", "del", place.name)

    def _make(self, name: str) -> str:
        namespace = self._prefix + name
        ip("netns", "add", namespace)
        self._namespaces.append(namespace)
        ip("-n", namespace, "link", "set", "lo", "up")
        return namespace

    def machine(self, name: str, address: str) -> str:
        """A machine with `address`/24 on ens33; returns its namespace."""
        namespace = self._make(name)
        self.plug_in(name)
        ip("-n", namespace, "address", "add", f"{address}/24", "dev", "ens33")
        return namespace

    def namespace(self, name: str) -> str:
        """Where that machine lives."""
        return self._prefix + name

    def plug_in(self, name: str) -> None:
        """Lay the cable of a machine (which makes its ens33)."""
        namespace = self._prefix + name
        ip("-n", self._switch, "link", "add", f"to-{name}", "type", "veth",
           "peer", "name", "ens33", "netns", namespace)  # fmt: skip
        self.heal(name)
        ip("-n", namespace, "link", "set", "ens33", "up")

    def unplug(self, name: str) -> None:
        """Take the cable away, and ens33 with it."""
        ip("-n", self._switch, "link", "del", f"to-{name}")

    def cut(self, name: str, silent: bool = False) -> None:
        """Carrier lost; silent: frames are dropped and the carrier stays."""
        how = ["nomaster"] if silent else ["down"]
        ip("-n", self._switch, "link", "set", f"to-{name}", *how)

    def heal(self, name: str) -> None:
        ip("-n", self._switch, "link", "set", f"to-{name}", "master", "br0", "up")

    def holds(self, name: str, address: str) -> bool:
        """True when that machine's ens33 carries the address."""
        return any(row["local"] == address for row in self._addresses(name))

    def lifetime(self, name: str, address: str) -> int | None:
        """How long it will, in seconds; None when it does not carry it."""
        left = [row["valid_life_time"] for row in self._addresses(name) if row["local"] == address]
        return left[0] if left else None

    def _addresses(self, name: str) -> list[dict[str, Any]]:
        rows = json.loads(ip("-j", "-n", self._prefix + name, "-4", "address", "show"))
        return [entry for row in rows if row["ifname"] == "ens33" for entry in row["addr_info"]]

    def mac(self, name: str) -> bytes:
        rows = json.loads(ip("-j", "-n", self._prefix + name, "link", "show", "ens33"))
        return bytes.fromhex(rows[0]["address"].replace(":", ""))

    def capture(self, name: str) -> Capture:
        self._captures.append(Capture(self._prefix + name))
        return self._captures[-1]

    def run(self, name: str, *command: str, **options: Any) -> subprocess.Popen[bytes]:
        """A process on that machine: its pid is the command's own, so are its group and end. Not
        by `ip netns exec`, which hides bpffs."""
        with inside(self._prefix + name):
            process = subprocess.Popen(command, start_new_session=True, **options)
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in self._processes:
            kill(process)
        for capture in self._captures:
            capture.close()
        for namespace in reversed(self._namespaces):
            with suppress(RuntimeError):
                ip("netns", "del", namespace)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Power loss for the process and its children."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


class Role:
    """A role process as its supervisor sees it: settings in, messages out."""

    def __init__(
        self, lan: Lan, machine: str, module: str, settings: object, *,
        under: tuple[str, ...] = (), overlay: Any = None,
    ) -> None:  # fmt: skip
        """`under` is a command that runs it (setpriv, …)."""
        self.channel, theirs = Channel.pair()
        with theirs:
            environment = {**os.environ, CHANNEL_VARIABLE: str(theirs.fileno())}
            self.process = lan.run(
                machine, *under, sys.executable, "-m", module,
                pass_fds=[theirs.fileno()], env=environment, stderr=subprocess.PIPE,
            )  # fmt: skip
        self.messages: list[dict[str, Any]] = []
        plain = to_plain(settings)
        self.channel.send({"kind": "configure", "settings": plain, "overlay": overlay})

    def _read(self) -> None:
        with suppress(ChannelClosedError):
            self.messages += self.channel.receive()

    def wait_for(self, within_s: float = 15.0, **fields: Any) -> dict[str, Any]:
        """The first message with these fields."""

        def found() -> dict[str, Any] | None:
            self._read()
            for message in self.messages:
                if all(message.get(key) == value for key, value in fields.items()):
                    return message
            return None

        return wait_until(f"{fields} from the role; it said {self.messages}", found, within_s)

    def events(self, name: str) -> list[dict[str, Any]]:
        self._read()
        return [each for each in self.messages if each.get("name") == name]

    def status(self) -> Any:
        return self.ask("status")

    def ask(self, name: str, /, **arguments: Any) -> Any:
        """Its answer to a request."""
        number = len(self.messages) + 1000
        request = {"kind": "request", "id": number, "name": name, "arguments": arguments}
        self.channel.send(request)
        return self.wait_for(kind="reply", id=number)["value"]

    def stop(self) -> None:
        self.channel.send({"kind": "stop"})

    def ended(self, within_s: float = 10.0) -> tuple[int, str]:
        """Its exit status and what it wrote to stderr."""
        _, said = self.process.communicate(timeout=within_s)
        return self.process.returncode, said.decode()

    def kill(self) -> None:
        kill(self.process)

    def close(self) -> None:
        kill(self.process)
        self.channel.close()


@contextmanager
def lan() -> Iterator[Lan]:
    """A LAN with nobody on it yet."""
    made = Lan()
    try:
        yield made
    finally:
        made.close()
