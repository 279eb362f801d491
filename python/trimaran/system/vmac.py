"""Virtual MACs: macvlan interfaces that carry virtual addresses, and the kernel's parameters that
make the right interface answer ARP for them."""

import errno
from contextlib import suppress

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from trimaran.system import sysctl
from trimaran.system.netlink import IFF_UP, NetworkError

# The base interface must not answer for addresses that the macvlan carries, and what comes in on
# the macvlan may well come from an address of the base interface's network. Replies leave by the
# base interface: who is asked for on the way must not learn its MAC for the virtual address.
_ON_BASE = {"arp_ignore": "1", "arp_filter": "1", "arp_announce": "2"}
_ON_VMAC = {"arp_ignore": "1", "accept_local": "1", "rp_filter": "0", "promote_secondaries": "1"}


def standard_mac(router_id: int, ipv6: bool) -> bytes:
    """RFC 9568 §7.3."""
    return bytes([0, 0, 0x5E, 0, 2 if ipv6 else 1, router_id])


class Vmacs:
    """Makes, finds and removes them, in the namespace of the calling thread. What was changed on
    base interfaces is restored by `close`."""

    def __init__(self) -> None:
        self._route = IPRoute()
        self._before: dict[str, str] = {}
        self._made: set[str] = set()

    def ensure(self, name: str, base: str, mac: bytes) -> bool:
        """The macvlan is there, up, on `base`, and has that MAC; False while there is no `base`.
        Raises NetworkError."""
        parents = self._route.link_lookup(ifname=base)
        if not parents:
            return False
        wanted = mac.hex(":")
        try:
            if not self._is_ours(name, parents[0], wanted):
                self._route.link(
                    "add", ifname=name, kind="macvlan", link=parents[0], macvlan_mode="private",
                    address=wanted,
                )  # fmt: skip
            self._made.add(name)
            self._parameters(base, _ON_BASE, remember=True)
            self._parameters(name, _ON_VMAC, remember=False)
            with suppress(OSError):  # without IPv6 there is no such parameter
                sysctl.write(f"net/ipv6/conf/{name}/addr_gen_mode", "1")  # no link-local address
            index = self._route.link_lookup(ifname=name)[0]
            if not self._route.get_links(index)[0]["flags"] & IFF_UP:
                self._route.link("set", index=index, state="up")
        except NetlinkError as error:
            said = f"cannot make the virtual MAC {name} on {base}: {error}"
            if error.code == errno.EOPNOTSUPP:
                said += "; this kernel has no macvlan: leave use_vmac out"
            raise NetworkError(error.code, said) from error
        return True

    def close(self) -> None:
        """Remove what was made, and put parameters back."""
        for name in self._made:
            for index in self._route.link_lookup(ifname=name):
                with suppress(NetlinkError):
                    self._route.link("del", index=index)
        for name, value in self._before.items():
            with suppress(OSError):
                sysctl.write(name, value)
        self._route.close()

    def _is_ours(self, name: str, parent: int, mac: str) -> bool:
        """True when it is there as it must be; one that is not is removed."""
        for index in self._route.link_lookup(ifname=name):
            link = self._route.get_links(index)[0]
            if link.get_attr("IFLA_LINK") == parent and link.get_attr("IFLA_ADDRESS") == mac:
                return True
            self._route.link("del", index=index)
        return False

    def _parameters(self, interface: str, values: dict[str, str], remember: bool) -> None:
        for key, value in values.items():
            name = f"net/ipv4/conf/{interface}/{key}"
            before = sysctl.read(name)
            if before == value:
                continue
            if remember:
                self._before.setdefault(name, before)
            sysctl.write(name, value)
