"""Cables and switches: veth pairs and bridges, for machines that are network namespaces.

Every call works in the namespace of the calling thread (see namespaces.entered).
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Interface
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from trimaran.system.netlink import NetworkError


@contextmanager
def _explained(action: str) -> Iterator[None]:
    """Turns pyroute2's error into ours, with what was being done."""
    try:
        yield
    except NetlinkError as error:
        raise NetworkError(error.code, f"cannot {action}: {error}") from error


def make_switch(bridge: str) -> None:
    """A bridge that forwards everything at once: no spanning tree, no learning delay, and no
    multicast snooping (without a querier it may withhold 224.0.0.18)."""
    with IPRoute() as route, _explained(f"make the bridge {bridge}"):
        route.link(
            "add",
            ifname=bridge,
            kind="bridge",
            br_stp_state=0,
            br_forward_delay=0,
            br_mcast_snooping=0,
        )
        route.link("set", index=route.link_lookup(ifname=bridge)[0], state="up")


def plug_in(port: str, bridge: str, *, namespace: str, interface: str, mac: str) -> None:
    """Lay a cable: `port` on `bridge` here, `interface` in the other namespace. Both are left
    down."""
    with IPRoute() as route, _explained(f"lay a cable from {bridge} to {namespace}"):
        peer = {"ifname": interface, "address": mac, "net_ns_fd": namespace}
        route.link("add", ifname=port, kind="veth", peer=peer)
        attach(port, bridge)


def attach(port: str, bridge: str | None) -> None:
    """Make the port one of the bridge's, or (None) of nobody's: its frames are then dropped while
    both ends keep their carrier."""
    with IPRoute() as route, _explained(f"attach {port} to {bridge or 'nothing'}"):
        master = route.link_lookup(ifname=bridge)[0] if bridge else 0
        route.link("set", index=route.link_lookup(ifname=port)[0], master=master)


def master_of(port: str) -> str | None:
    """The bridge that the port belongs to."""
    with IPRoute() as route, _explained(f"look at {port}"):
        index = route.link_lookup(ifname=port)
        master = route.get_links(index[0])[0].get_attr("IFLA_MASTER") if index else None
        return str(route.get_links(master)[0].get_attr("IFLA_IFNAME")) if master else None


def set_up(interface: str, up: bool) -> None:
    """Bring the interface up or down; the other end of a veth follows with its carrier."""
    with IPRoute() as route, _explained(f"bring {interface} {'up' if up else 'down'}"):
        state = "up" if up else "down"
        route.link("set", index=route.link_lookup(ifname=interface)[0], state=state)


def add_address(interface: str, address: IPv4Interface) -> None:
    """Give the interface an address for good."""
    with IPRoute() as route, _explained(f"add {address} to {interface}"):
        route.addr(
            "add",
            index=route.link_lookup(ifname=interface)[0],
            address=str(address.ip),
            prefixlen=address.network.prefixlen,
            broadcast=str(address.network.broadcast_address),
        )


def unplug(port: str) -> None:
    """Remove the port, and with it the other end of its cable, at once. Idempotent."""
    with IPRoute() as route:
        try:
            for index in route.link_lookup(ifname=port):
                route.link("del", index=index)
        except NetlinkError as error:
            if error.code != errno.ENODEV:
                raise


def neighbour_mac(address: str) -> str | None:
    """The MAC address that this machine believes `address` has; None when it knows none."""
    with IPRoute() as route:
        for row in route.get_neighbours(dst=address):
            mac = row.get_attr("NDA_LLADDR")
            if mac is not None:
                return str(mac)
    return None


def without_ipv6() -> None:
    """No IPv6 in this namespace: what is not tested must not be on the wire."""
    for scope in ("all", "default"):
        place = Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
        if place.exists():
            place.write_text("1")


def unplug_all() -> None:
    """Remove every interface but `lo`, with the other ends of the cables."""
    with IPRoute() as route:
        for row in route.get_links():
            if row.get_attr("IFLA_IFNAME") != "lo":
                try:
                    route.link("del", index=row["index"])
                except NetlinkError as error:
                    if error.code != errno.ENODEV:
                        raise
