"""Which roles a node has, and what each is told. Pure."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from math import ceil
from pathlib import PurePath
from typing import Any

import msgspec

from trimaran.director.settings import (
    DirectorSettings,
    FlowSyncSettings,
    IPAddress,
    RealServerSettings,
    ServiceSettings,
    TunnelSettings,
)
from trimaran.health.settings import (
    CheckSettings,
    PoolSettings,
    Probe,
    ScriptSettings,
    Target,
)
from trimaran.node.plan_notify import notify_settings
from trimaran.node.plan_vrrp import vrrp_settings
from trimaran.node.settings import NodePlan, RealServerRoleSettings, RoleSettings
from trimaran.proxy.settings import ProxySettings
from trimaran.stack import resolve
from trimaran.stack.checks import Check, Script
from trimaran.stack.errors import Place, Problem, StackError
from trimaran.stack.http import Http
from trimaran.stack.model import Proxy, RealServer, Stack, Tunnel, VirtualService
from trimaran.stack.nearest import suggestion


def plan(stack: Stack, node: str, state: PurePath, pins: PurePath, file: str = "") -> NodePlan:
    """The roles of `node` in starting order (docs/decisions/0001). State files go to the directory
    `state`, eBPF objects to `pins`; `file` names the stack in errors.
    Raises StackError for a node that the stack does not have."""
    if node not in stack.nodes:
        raise StackError(
            [Problem(Place(file), f"there is no node '{node}'", suggestion(node, stack.nodes))]
        )
    roles: dict[str, RoleSettings] = {}
    director = _director(stack, node, state, pins)
    if director.services:
        roles["director"] = director
    addresses = resolve.real_server_addresses(stack, node)
    if addresses:
        roles["real_server"] = RealServerRoleSettings(
            node, addresses, str(state / "real_server.json")
        )
    roles |= _named("proxy", _proxies(stack, node))
    roles |= _named("site", _sites(stack, node))
    vrrp = vrrp_settings(stack, node)
    if vrrp.routers and (notify := notify_settings(stack, node)):
        roles["notify"] = notify  # before vrrp, whose last words it passes on
    if vrrp.routers:
        roles["vrrp"] = vrrp
    return NodePlan(node, roles)


def _director(stack: Stack, node: str, state: PurePath, pins: PurePath) -> DirectorSettings:
    services = tuple(
        settings
        for name, service in stack.virtual_services.items()
        if node in resolve.directors(stack, service)
        for settings in _services(stack, name, service)
    )
    return DirectorSettings(
        node,
        stack.nodes[node].interface,
        str(pins),
        services,
        flow_sync=None if stack.datapath == "ipvs" else _flow_sync(stack, node),
        hook=stack.datapath,
        state_file=str(state / "ipvs.json"),
        max_flows=stack.flow_table.ipv4,
        max_flows6=stack.flow_table.ipv6,
        max_clients=stack.flow_table.persistent_clients,
    )


def _flow_sync(stack: Stack, node: str) -> FlowSyncSettings | None:
    """None without a key, or without another director to speak with."""
    sync, address = stack.flow_sync, stack.nodes[node].address
    peers = [(name, stack.nodes[name].address) for name in resolve.peer_directors(stack, node)]
    placed = tuple((name, place) for name, place in peers if place is not None)
    if sync is None or sync.key is None or address is None or not placed:
        return None
    key = sync.key.get_secret_value().encode()
    return FlowSyncSettings(key, address, sync.port, placed, sync.interval, sync.hold)


def _services(stack: Stack, name: str, service: VirtualService) -> Iterator[ServiceSettings]:
    for address, port in resolve.listen_addresses(stack, service):
        servers = tuple(
            _real_server(stack, service, word, server, (address, port))
            for word, server in service.real_servers.items()
        )
        yield ServiceSettings(
            name,
            address,
            port,
            service.protocol,
            service.scheduler,
            servers,
            _pool(service),
            _sorry(stack, service, (address, port)),
            service.scheduler_flags,
            service.one_packet,
            *_persistence(service, address.version),
            service.dead_flows,
        )


def _persistence(service: VirtualService, version: int) -> tuple[int, int]:
    """(timeout in seconds, bits of a client's address); (0, 0) without."""
    persistence = service.persistence
    if persistence is None:
        return 0, 0
    return ceil(persistence.timeout), persistence.granularity or (32 if version == 4 else 128)


def _real_server(
    stack: Stack,
    service: VirtualService,
    word: str,
    server: RealServer,
    listen: tuple[IPAddress, int],
) -> RealServerSettings:
    vip, port = listen
    address, own = resolve.server_address(stack, service, word, vip.version)
    port = port if own is None else own
    forward, tunnel = resolve.forward_of(service, server)
    inhibit = server.inhibit_on_failure
    return RealServerSettings(
        word,
        address,
        port,
        server.weight,
        {
            name: _check(check, address, port)
            for name, check in resolve.checks_of(service, server).items()
        },
        service.inhibit_on_failure if inhibit is None else inhibit,
        _script(server.notify_up),
        _script(server.notify_down),
        forward,
        _tunnel(tunnel),
        upper_threshold=server.upper_threshold,
        lower_threshold=server.lower_threshold,
        last_weight=server.weight,
    )


def _sorry(
    stack: Stack, service: VirtualService, listen: tuple[IPAddress, int]
) -> RealServerSettings | None:
    if service.sorry_server is None:
        return None
    vip, port = listen
    address, own = resolve.real_address_of(stack, service.sorry_server, vip.version)
    port = port if own is None else own
    tunnel = _tunnel(service.tunnel or Tunnel())
    forward = service.forward
    return RealServerSettings(
        service.sorry_server, address, port, 1, forward=forward, tunnel=tunnel
    )


def _tunnel(tunnel: Tunnel) -> TunnelSettings:
    return TunnelSettings(tunnel.type, tunnel.port or 0, tunnel.checksum)


def _pool(service: VirtualService) -> PoolSettings:
    return PoolSettings(
        quorum=service.quorum,
        hysteresis=service.hysteresis,
        quorum_up=_script(service.quorum_up),
        quorum_down=_script(service.quorum_down),
        sorry_inhibit=service.sorry_server_inhibit,
        slow_start_s=service.slow_start,
        omega=service.omega,
        ha_suspend=service.ha_suspend,
    )


def _script(script: Script | None) -> ScriptSettings | None:
    return ScriptSettings(script.command, script.user, script.timeout) if script else None


_TARGET = {"address", "port", "source", "source_port", "interface", "mark"}


def _check(check: Check, address: IPAddress, port: int) -> CheckSettings:
    asked = getattr(check, check.kind)
    own = {name: getattr(asked, name, None) for name in _TARGET}
    return CheckSettings(
        target=Target(
            own["address"] or address,
            own["port"] or port,
            own["source"],
            own["source_port"],
            own["interface"],
            own["mark"],
        ),
        probe=_probe(check.kind, asked.model_dump(mode="json", exclude=_TARGET)),
        interval_s=check.interval,
        timeout_s=check.timeout,
        retries=check.retries,
        retry_delay_s=check.retry_delay,
        rise=check.rise,
        warmup_s=check.warmup,
        alpha=check.alpha,
        log_all_failures=check.log_all_failures,
    )


def _probe(kind: str, asked: dict[str, Any]) -> Probe:
    """The same words on both sides; mappings become pairs, so that settings can be compared and
    shared."""
    plain = {
        name: list(value.items()) if name in ("headers", "json_value") else value
        for name, value in asked.items()
    }
    probe: Probe = msgspec.convert({"kind": kind, **plain}, Probe)
    return probe


def _proxies(stack: Stack, node: str) -> Iterator[ProxySettings]:
    for name, proxy in stack.proxies.items():
        if node in proxy.nodes:
            settings = _http(node, "proxy", name, resolve.http_of_proxy(stack, proxy))
            names = resolve.names_of_peers(stack, proxy)
            yield replace(settings, checks=_checks_of_peers(proxy, settings), names=names)


def _checks_of_peers(proxy: Proxy, settings: ProxySettings) -> dict[str, dict[str, CheckSettings]]:
    """Of those peers that are addresses: a name may stand for several."""
    wanted = resolve.checks_of_peers(proxy)
    found: dict[str, dict[str, CheckSettings]] = {}
    peers = (peer for each in settings.http["upstreams"] for peer in each["peers"])
    for word in {peer["address"] for peer in peers} if wanted else ():
        host, _, port = word.rpartition(":")
        with suppress(ValueError):
            address = ip_address(host.strip("[]"))
            found[word] = {
                name: _check(check, address, int(port)) for name, check in wanted.items()
            }
    return found


def _sites(stack: Stack, node: str) -> Iterator[ProxySettings]:
    for name, site in stack.sites.items():
        if node == site.node:
            yield _http(node, "site", name, resolve.http_of_site(site))


def _http(node: str, role: str, name: str, http: Http) -> ProxySettings:
    listeners = dict.fromkeys(
        (listen.address, listen.port) for server in http.servers for listen in server.listen
    )
    return ProxySettings(node, role, name, http.model_dump(mode="json"), tuple(listeners))


def _named(role: str, all_settings: Iterator[ProxySettings]) -> dict[str, RoleSettings]:
    """One role of a kind has the kind's name; several are told apart: 'proxy:edge'."""
    found = list(all_settings)
    if len(found) == 1:
        return {role: found[0]}
    return {f"{role}:{settings.name}": settings for settings in found}
