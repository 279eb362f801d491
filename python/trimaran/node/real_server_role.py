"""The real server's side of DR: VIPs on `lo`, routed there, and hidden from ARP.

arp_ignore=1: answer ARP only for addresses of the interface that was asked, so not for those on
`lo`. arp_announce=2: never name a VIP as the source of our own ARP requests.

What was found is written down before anything is changed. So whatever kills this process, the
next one knows what was there at first, and `stop` restores exactly that.
"""

import json
import os
import select
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

from trimaran.node.channel import Channel, ChannelClosedError, Message
from trimaran.node.plain import from_plain
from trimaran.node.settings import RealServerRoleSettings
from trimaran.system import sysctl
from trimaran.system.errors import CannotRunError
from trimaran.system.netlink import Netlink
from trimaran.system.state_file import remove, write_atomic

INTERFACE = "lo"
HIDING = {
    f"net/ipv4/conf/{interface}/{name}": value
    for interface in ("all", INTERFACE)
    for name, value in (("arp_ignore", "1"), ("arp_announce", "2"))
}


@dataclass(frozen=True)
class Found:
    """What was there before us: parameters and their values, and what we added because it was
    not there. `namespace` says where and in which boot this is true."""

    namespace: str
    parameters: dict[str, str]
    addresses: tuple[str, ...]
    routes: tuple[str, ...]


def carry(addresses: Sequence[IPv4Address], state_file: Path) -> None:
    """Carry these addresses and no other of ours: idempotent, also after a crash."""
    with Netlink() as netlink:
        before = remembered(state_file)
        found = _look(netlink, addresses, before)
        write_atomic(state_file, json.dumps(found.__dict__).encode())
        for name, value in HIDING.items():
            sysctl.write(name, value)
        for number, address in enumerate(addresses):
            if str(address) in found.addresses:
                netlink.set_address(
                    INTERFACE, IPv4Interface(address), label=f"{INTERFACE}:{number}"
                )
            if str(address) in found.routes:
                netlink.set_host_route(INTERFACE, address)
        if before is not None:  # carried by an earlier configuration only
            _remove(
                netlink,
                set(before.addresses) - set(found.addresses),
                set(before.routes) - set(found.routes),
            )


def drop(state_file: Path) -> None:
    """Undo: remove what we added, restore what was found. Does nothing when nothing is left of
    us. A parameter that somebody else has changed since is left to them."""
    found = remembered(state_file)
    if found is not None:
        with Netlink() as netlink:
            _remove(netlink, set(found.addresses), set(found.routes))
        for name, value in found.parameters.items():
            if sysctl.read(name) == HIDING.get(name):
                sysctl.write(name, value)
    remove(state_file)


def remembered(state_file: Path) -> Found | None:
    """What an earlier process of this namespace and boot found; None when there was none, or it
    undid everything."""
    try:
        data = json.loads(state_file.read_bytes())
        found = Found(
            data["namespace"],
            data["parameters"],
            tuple(data["addresses"]),
            tuple(data["routes"]),
        )
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return found if found.namespace == sysctl.network_namespace() else None


def _look(netlink: Netlink, addresses: Sequence[IPv4Address], before: Found | None) -> Found:
    present = {interface.ip for interface in netlink.addresses(INTERFACE)}
    ours = before or Found("", {}, (), ())
    return Found(
        sysctl.network_namespace(),
        ours.parameters or {name: sysctl.read(name) for name in HIDING},
        tuple(
            str(address)
            for address in addresses
            if address not in present or str(address) in ours.addresses
        ),
        tuple(
            str(address)
            for address in addresses
            if str(address) in ours.routes or not netlink.has_host_route(INTERFACE, address)
        ),
    )


def _remove(netlink: Netlink, addresses: set[str], routes: set[str]) -> None:
    for address in sorted(routes):
        netlink.remove_host_route(INTERFACE, IPv4Address(address))
    for address in sorted(addresses):
        netlink.remove_address(INTERFACE, IPv4Interface(address))


class _Role:
    """The process: one channel, one set of addresses."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._settings: RealServerRoleSettings | None = None

    def run(self) -> None:
        """Serve the channel until it says stop, or ends."""
        with suppress(ChannelClosedError):
            while True:
                select.select([self._channel], [], [])
                for message in self._channel.receive():
                    if message["kind"] == "stop":
                        return
                    self._obey(message)

    def undo(self) -> None:
        """Leave the machine as it was found."""
        if self._settings is not None:
            drop(Path(self._settings.state_file))

    def _obey(self, message: Message) -> None:
        if message["kind"] == "configure":
            self._settings = from_plain(RealServerRoleSettings, message["settings"])
            carry(self._settings.addresses, Path(self._settings.state_file))
            self._channel.send({"kind": "ready"})
        elif message["kind"] == "request":
            self._channel.send({"kind": "reply", "id": message["id"], **self._answer(message)})

    def _answer(self, message: Message) -> dict[str, Any]:
        if message["name"] != "status" or self._settings is None:
            return {"error": f"no such request: {message['name']}"}
        addresses = [str(address) for address in self._settings.addresses]
        return {"value": {"addresses": addresses, "interface": INTERFACE}}


def main() -> int:
    """The exit status: 2, after one sentence, where this machine does not allow it."""
    role = _Role(Channel.inherited())
    # SIGTERM ends the wait in select by an exception, so that the way out is the same.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        role.run()
    except (OSError, CannotRunError) as error:
        print(f"cannot carry the virtual addresses on {INTERFACE}: {error}", file=sys.stderr)
        return 2
    finally:
        role.undo()
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
