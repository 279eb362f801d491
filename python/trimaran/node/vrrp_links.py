"""The interfaces that the vrrp process has to do with, as they were when it looked last."""

from collections.abc import Iterable

from trimaran.system.netlink import Link, Netlink
from trimaran.vrrp.settings import LinkDelay
from trimaran.vrrp.watch import Delayed


class Links:
    """By name. One with a delay counts as it was until the change has lasted."""

    def __init__(self, names: Iterable[str], delays: Iterable[LinkDelay]) -> None:
        self._links: dict[str, Link | None] = dict.fromkeys(names)
        self._delayed = {each.interface: Delayed(each.up_s, each.down_s) for each in delays}

    def look(self, netlink: Netlink, now: float) -> None:
        """Take note of what they are now."""
        for name in self._links:
            self._links[name] = netlink.link(name)
            if name in self._delayed:
                self._delayed[name].hear(not link_trouble(name, self._links[name]), now)

    def __getitem__(self, name: str) -> Link | None:
        """What is there; None: nothing of that name."""
        return self._links[name]

    def trouble(self, name: str) -> str:
        """Why an interface is of no use, as far as that counts; empty when it is."""
        trouble = link_trouble(name, self._links[name])
        delayed = self._delayed.get(name)
        if delayed is None or delayed.well == (not trouble):
            return trouble
        return "" if delayed.well else f"{name} has not been up for long enough"

    def next_due(self) -> float | None:
        """When to look again, though nothing has changed."""
        times = (each.next_due() for each in self._delayed.values())
        return min((at for at in times if at is not None), default=None)


def link_trouble(name: str, link: Link | None) -> str:
    """Why an interface is of no use; empty when it is."""
    if link is None:
        return f"there is no interface {name}"
    if not link.up:
        return f"{name} is down"
    return "" if link.carrier else f"{name} has no carrier"
