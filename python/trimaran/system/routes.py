"""The ways to real servers that need not be on the director's own LAN: route, next hop, MAC."""

from collections.abc import Sequence

from trimaran.director.settings import IPAddress
from trimaran.director.tables import Hop, Way
from trimaran.system.neighbours import Neighbours
from trimaran.system.netlink import Link, Netlink, Route

A_LOOK = 256  # routes that are asked for at one look: each costs the kernel a question


class Routes:
    """In the namespace of the calling thread."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink
        self._turn = 0
        self._routes: dict[IPAddress, Route] = {}
        self._neighbours: dict[int, Neighbours] = {}
        self._links: dict[int, Link] = {}

    def close(self) -> None:
        """Forget everything; managed neighbours too."""
        for index, neighbours in self._neighbours.items():
            neighbours.forget(r.next_hop for r in self._routes.values() if r.interface == index)
            neighbours.close()
        self._neighbours.clear()

    def look(self, addresses: Sequence[IPAddress]) -> None:
        """Ask for the routes to these (some of them anew), and for the MACs that are missing."""
        for gone in self._routes.keys() - set(addresses):
            del self._routes[gone]
        for address in self._due(addresses):
            route = self._netlink.route(address)
            if route is None:
                self._routes.pop(address, None)
            else:
                self._routes[address] = route
        wanted = {route.interface for route in self._routes.values()}
        for index in self._neighbours.keys() - wanted:
            self._neighbours.pop(index).close()
        links = {index: self._netlink.link_at(index) for index in wanted}
        self._links = {index: link for index, link in links.items() if link is not None}
        for index in self._links:
            if index not in self._neighbours:
                self._neighbours[index] = Neighbours(index)
            self._want(index, self._neighbours[index])

    def _due(self, addresses: Sequence[IPAddress]) -> set[IPAddress]:
        """Those without a route, and a few of the others by turns."""
        start = self._turn % max(1, len(addresses))
        self._turn = start + A_LOOK
        some = (*addresses[start:], *addresses[:start])[:A_LOOK]
        return {*some, *(address for address in addresses if address not in self._routes)}

    def _want(self, interface: int, neighbours: Neighbours) -> None:
        known = neighbours.resolved()
        hops = {r.next_hop for r in self._routes.values() if r.interface == interface}
        neighbours.want(hop for hop in hops if hop not in known)

    def ways(self) -> dict[IPAddress, Way]:
        """Where there is a route, and the MAC of its next hop is known."""
        macs = {
            index: neighbours.resolved()
            for index, neighbours in self._neighbours.items()
            if index in self._links
        }
        return {
            address: Way(_hop(self._links[route.interface], route, mac), route.source)
            for address, route in self._routes.items()
            if (mac := macs.get(route.interface, {}).get(route.next_hop))
        }


def _hop(link: Link, route: Route, mac: bytes) -> Hop:
    return Hop(mac, link.mac, link.index, min(link.mtu, route.mtu or link.mtu))
