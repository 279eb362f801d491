"""What the vrrp process of a node is told. Pure."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from ipaddress import ip_interface
from typing import Any

from trimaran.stack import resolve
from trimaran.stack.authentication import key_bytes
from trimaran.stack.model import BfdNeighbour, Stack, Static, Tracking, VirtualRouter, Watch
from trimaran.stack.routes import parse_route, parse_rule
from trimaran.vrrp.bfd import BfdSettings
from trimaran.vrrp.packet import Checksum, Peer
from trimaran.vrrp.seal import HmacKey, HmacSettings
from trimaran.vrrp.settings import (
    Belongings,
    GroupSettings,
    LinkDelay,
    RouterSettings,
    RouteSettings,
    RuleSettings,
    Track,
    VmacSettings,
    VrrpSettings,
    WatchSettings,
)

_CHECKSUMS = {
    "pseudo_header": Checksum.PSEUDO_HEADER,
    "message": Checksum.MESSAGE,
    "group": Checksum.GROUP,
}


def vrrp_settings(stack: Stack, node: str) -> VrrpSettings:
    """Every virtual router that the node is a member of, and what they need."""
    routers = tuple(
        _router(stack, node, name, router)
        for name, router in stack.virtual_routers.items()
        if node in router.members
    )
    here = {router.name for router in routers}
    wanted = {track.name for router in routers for track in router.tracks if track.kind == "watch"}
    return VrrpSettings(
        node,
        routers,
        tuple(
            GroupSettings(name, tuple(each for each in group.members if each in here))
            for name, group in stack.sync_groups.items()
            if here & set(group.members)
        ),
        tuple(_watch(name, each) for name, each in stack.watches.items() if name in wanted),
        **_surroundings(stack, node),
    )


def _router(stack: Stack, node: str, name: str, router: VirtualRouter) -> RouterSettings:
    return RouterSettings(
        name=name,
        router_id=router.router_id,
        interface=router.interfaces.get(node, stack.nodes[node].interface),
        priority=router.members[node],
        addresses=router.addresses,
        source=router.sources.get(node, None if router.ipv6 else stack.nodes[node].address),
        version=router.spoken_version,
        advert_interval_s=router.advert_interval,
        preempt=router.preempt,
        preempt_delay_s=router.preempt_delay,
        down_adverts=router.down_adverts,
        start_delay_s=router.start_delay,
        answer_weaker=router.answer_weaker,
        unadvertised=router.unadvertised,
        checksum=_CHECKSUMS[router.checksum],
        tracks=tuple(_tracks(stack, node, name)),
        track_own_interface=router.track.own_interface,
        **_authentication(router),
        **_unicast(stack, node, router),
        **(_announcements(router) | _belongings(stack, node, router)),
    )


def _surroundings(stack: Stack, node: str) -> dict[str, Any]:
    static = stack.static.get(node, Static())
    return {
        "delays": tuple(
            LinkDelay(name, each.down, each.up) for name, each in stack.link_delays.items()
        ),
        "static": tuple(
            (name, each) for name, listed in static.addresses.items() for each in listed
        ),
        "static_belongings": Belongings(
            tuple(map(_route, static.routes)), tuple(map(_rule, static.rules))
        ),
    }


def _belongings(stack: Stack, node: str, router: VirtualRouter) -> dict[str, Any]:
    interface = router.interfaces.get(node, stack.nodes[node].interface)
    groups = {
        name: group.interval
        for name, group in stack.garp_groups.items()
        if interface in group.interfaces
    }
    found: dict[str, Any] = {
        "accept": router.accept,
        "devices": tuple(router.devices.items()),
        "belongings": Belongings(
            tuple(map(_route, router.routes)), tuple(map(_rule, router.rules))
        ),
        "promote_secondaries": router.promote_secondaries,
        "garp_group": next(iter(groups), None),
    }
    if groups:
        own = router.gratuitous_arp.interval
        found["garp_interval_s"] = max(own, next(iter(groups.values())))
    if router.vmac is not None:
        family = "6" if router.ipv6 else ""
        name = router.vmac.name or f"vrrp{family}.{router.router_id}"
        mac = None if router.vmac.mac is None else bytes.fromhex(router.vmac.mac.replace(":", ""))
        found["vmac"] = VmacSettings(name, mac, router.vmac.transmit_base)
    return found


def _route(text: str) -> RouteSettings:
    fields = asdict(parse_route(text.split()))
    if fields["destination"] is not None:
        fields["destination"] = ip_interface(str(fields["destination"]))
    return RouteSettings(**fields, text=text)


def _rule(text: str) -> RuleSettings:
    fields = asdict(parse_rule(text.split()))
    for end in ("source", "destination"):
        if fields[end] is not None:
            fields[end] = ip_interface(str(fields[end]))
    fields["table"] = fields["table"] or 254
    return RuleSettings(**fields, text=text)


def _authentication(router: VirtualRouter) -> dict[str, Any]:
    said = router.authentication
    if said is None:
        return {}
    if said.password is not None:
        return {"password": said.password.get_secret_value().encode(), "ah": said.type == "ah"}
    longest = max(5, math.ceil(3 * router.advert_interval))
    keys = tuple(
        HmacKey(number, key_bytes(secret.get_secret_value()))
        for number, secret in said.keys.items()
    )
    window_s = None if said.replay == "monotonic" else said.window or longest
    return {"hmac": HmacSettings(keys, said.active or keys[0].number, window_s, said.mode)}


def _announcements(router: VirtualRouter) -> dict[str, Any]:
    arp = router.gratuitous_arp
    return {
        "garp_repeat": arp.repeat,
        "garp_delay_s": arp.delay,
        "garp_refresh_s": arp.refresh,
        "garp_refresh_repeat": arp.refresh_repeat,
        "garp_weaker_repeat": arp.repeat if arp.weaker_repeat is None else arp.weaker_repeat,
        "garp_weaker_delay_s": arp.delay if arp.weaker_delay is None else arp.weaker_delay,
        "garp_interval_s": arp.interval,
    }


def _unicast(stack: Stack, node: str, router: VirtualRouter) -> dict[str, Any]:
    unicast = router.unicast
    if unicast is None:
        return {}
    peers = [Peer(each, how.min_ttl, how.max_ttl) for each, how in unicast.peers.items()]
    if not peers:
        others = (each for each in router.members if each != node)
        addresses = (router.sources.get(each, stack.nodes[each].address) for each in others)
        peers = [Peer(each) for each in addresses if each is not None]
    return {
        "peers": tuple(peers),
        "unicast_ttl": unicast.ttl,
        "check_source": unicast.check_source,
    }


def _tracks(stack: Stack, node: str, name: str) -> Iterator[Track]:
    """Its own trackers, and those of its groups, each once."""
    router = stack.virtual_routers[name]
    for word, weight in resolve.tracked_services(stack, name).items():
        if node in resolve.directors(stack, stack.virtual_services[word]):
            yield Track("service", word, weight)
    groups = [group for group in stack.sync_groups.values() if name in group.members]
    own = list(_tracked(router.track))
    if not all(group.weights for group in groups):
        own = [each for each in own if each.weight == 0]
    theirs = [each for group in groups for each in _tracked(group.track)]
    yield from {each.key: each for each in [*theirs, *own]}.values()


def _tracked(track: Tracking) -> Iterator[Track]:
    for name, interface in track.interfaces.items():
        yield Track("interface", name, interface.weight, interface.reverse)
    for name, watch in track.watches.items():
        yield Track("watch", name, watch.weight, watch.reverse)


def _watch(name: str, watch: Watch) -> WatchSettings:
    timeout = watch.interval if watch.timeout is None else watch.timeout
    common: dict[str, Any] = {
        "interval_s": watch.interval,
        "timeout_s": timeout,
        "rise": watch.rise,
        "fall": watch.fall,
        "quorum": watch.quorum,
        "quorum_max": watch.quorum_max,
        "match": watch.match,
        "init_fail": watch.init_fail,
        "up_delay_s": watch.up_delay,
        "down_delay_s": watch.down_delay,
        "user": watch.user,
    }
    if watch.script is not None:
        return WatchSettings(name, "script", watch.script, **common)
    if watch.process is not None:
        return WatchSettings(name, "process", watch.process, **common)
    if watch.bfd is not None:
        return WatchSettings(name, "bfd", (), bfd=_bfd(watch.bfd))
    return WatchSettings(name, "file", (watch.file or "",), **common)


def _bfd(bfd: BfdNeighbour) -> BfdSettings:
    return BfdSettings(
        neighbour=str(bfd.neighbour),
        source=None if bfd.source is None else str(bfd.source),
        min_rx_us=round(bfd.min_rx * 1e6),
        min_tx_us=round(bfd.min_tx * 1e6),
        idle_tx_us=round(bfd.idle_tx * 1e6),
        multiplier=bfd.multiplier,
        passive=bfd.passive,
        ttl=bfd.ttl,
        max_hops=bfd.max_hops,
    )
