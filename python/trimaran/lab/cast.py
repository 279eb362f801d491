"""Who plays what: the parts of a stack that the demo needs, found in it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from trimaran.stack.model import Stack, VirtualRouter, VirtualService

AIM_GRACEFUL_MS = 100.0  # the longest gap aimed at when the master leaves on purpose
AIM_NOISE_MS = 200.0  # what the machine may add to the protocol's bound, when it does not


class CastError(ValueError):
    """The stack is not one that the demo can play; the message says what it lacks."""


@dataclass(frozen=True)
class Cast:
    """Directors in order of priority (the first is the master when all is well), proxies behind
    them, sites behind these. `pages` are the texts that a client may get; `takeover_s` is the
    longest time that the protocol needs to notice a dead master, `skew_s` what the backup waits
    after the master has resigned."""

    router: str
    service: str
    vip: IPv4Address
    port: int
    directors: tuple[str, ...]
    proxies: tuple[str, ...]
    sites: tuple[str, ...]
    pages: tuple[str, ...]
    scheduler: str
    takeover_s: float
    skew_s: float

    @property
    def master(self) -> str:
        """The director with the highest priority."""
        return self.directors[0]

    @property
    def backup(self) -> str:
        """The director that takes over when the master is gone."""
        return self.directors[1]

    @property
    def aim_takeover_ms(self) -> float:
        """The longest gap aimed at when the master is lost."""
        return self.takeover_s * 1000 + AIM_NOISE_MS

    def part(self, node: str) -> str:
        """What the node does, in a word."""
        for part, nodes in (
            ("director", self.directors),
            ("proxy", self.proxies),
            ("site", self.sites),
        ):
            if node in nodes:
                return part
        return ""


def cast(stack: Stack, pages: Mapping[str, str]) -> Cast:
    """The cast of a stack; `pages` maps the stack's sites to their texts. Raises CastError."""
    name, router = _router(stack)
    service_name, service = _service(stack, name)
    proxies = tuple(node for node in service.real_servers if node in stack.nodes)
    by_priority = sorted(router.members, key=lambda node: -router.members[node])
    for what, found in (
        ("members of a virtual router", by_priority),
        ("real servers that are nodes", proxies),
        ("sites", stack.sites),
    ):
        if len(found) < 2:
            raise CastError(f"the demo needs two {what}; this stack has {len(found)}")
    return Cast(
        router=name,
        service=service_name,
        vip=router.addresses[0].ip,
        port=int(service.listen.rpartition(":")[2]),
        directors=tuple(by_priority),
        proxies=proxies,
        sites=tuple(site.node for site in stack.sites.values()),
        pages=tuple(pages[site] for site in stack.sites),
        scheduler=service.scheduler,
        takeover_s=_takeover_s(router, by_priority[1]),
        skew_s=_skew_s(router, by_priority[1]),
    )


def _router(stack: Stack) -> tuple[str, VirtualRouter]:
    for found in stack.virtual_routers.items():
        return found
    raise CastError("the demo needs a virtual router; this stack has none")


def _service(stack: Stack, router: str) -> tuple[str, VirtualService]:
    for name, service in stack.virtual_services.items():
        if service.listen.startswith(f"{router}:"):
            return name, service
    raise CastError(f"no virtual service listens on the virtual router {router}")


def _skew_s(router: VirtualRouter, backup: str) -> float:
    """Skew_Time of VRRPv2 (RFC 3768 §6.1): of a second, whatever the interval."""
    return (256 - router.members[backup]) / 256


def _takeover_s(router: VirtualRouter, backup: str) -> float:
    """Master_Down_Interval = 3 x Advertisement_Interval + Skew_Time (RFC 3768 §6.1)."""
    return 3 * router.advert_interval + _skew_s(router, backup)
