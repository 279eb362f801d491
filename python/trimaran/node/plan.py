"""Which roles a node has, and what each is told. Pure."""

from collections.abc import Iterator
from pathlib import PurePath

from trimaran.director.settings import (
    DirectorSettings,
    IPAddress,
    RealServerSettings,
    ServiceSettings,
)
from trimaran.health.settings import CheckSettings
from trimaran.node.settings import NodePlan, RealServerRoleSettings, RoleSettings
from trimaran.proxy.settings import ProxySettings
from trimaran.stack import resolve
from trimaran.stack.errors import Place, Problem, StackError
from trimaran.stack.http import Http
from trimaran.stack.model import Check, Stack, VirtualRouter, VirtualService
from trimaran.stack.nearest import suggestion
from trimaran.vrrp.settings import RouterSettings, VrrpSettings


def plan(stack: Stack, node: str, state: PurePath, pins: PurePath, file: str = "") -> NodePlan:
    """The roles of `node` in starting order (docs/decisions/0001). State files go to the directory
    `state`, eBPF objects to `pins`; `file` names the stack in errors.
    Raises StackError for a node that the stack does not have."""
    if node not in stack.nodes:
        raise StackError(
            [Problem(Place(file), f"there is no node '{node}'", suggestion(node, stack.nodes))]
        )
    roles: dict[str, RoleSettings] = {}
    director = _director(stack, node, pins)
    if director.services:
        roles["director"] = director
    addresses = resolve.real_server_addresses(stack, node)
    if addresses:
        roles["real_server"] = RealServerRoleSettings(
            node, addresses, str(state / "real_server.json")
        )
    roles |= _named("proxy", _proxies(stack, node))
    roles |= _named("site", _sites(stack, node))
    routers = tuple(
        _router(stack, node, name, router)
        for name, router in stack.virtual_routers.items()
        if node in router.members
    )
    if routers:
        roles["vrrp"] = VrrpSettings(node, routers)
    return NodePlan(node, roles)


def _director(stack: Stack, node: str, pins: PurePath) -> DirectorSettings:
    services = tuple(
        settings
        for name, service in stack.virtual_services.items()
        if node in resolve.directors(stack, service)
        for settings in _services(stack, name, service)
    )
    return DirectorSettings(
        node, stack.nodes[node].interface, str(pins), services, hook=stack.datapath
    )


def _services(stack: Stack, name: str, service: VirtualService) -> Iterator[ServiceSettings]:
    for address, port in resolve.listen_addresses(stack, service):
        servers = []
        for word, server in service.real_servers.items():
            real, _port = resolve.real_address_of(stack, word, address.version)
            check = resolve.check_of(service, server)
            servers.append(
                RealServerSettings(
                    word, real, port, server.weight, _check(check, real, port) if check else None
                )
            )
        yield ServiceSettings(
            name, address, port, service.protocol, service.scheduler, tuple(servers)
        )


def _check(check: Check, address: IPAddress, port: int) -> CheckSettings:
    return CheckSettings(
        address=check.tcp.address or address,
        port=check.tcp.port or port,
        interval_s=check.interval,
        timeout_s=check.timeout,
        retries=check.retries,
        retry_delay_s=check.retry_delay,
        rise=check.rise,
    )


def _proxies(stack: Stack, node: str) -> Iterator[ProxySettings]:
    for name, proxy in stack.proxies.items():
        if node in proxy.nodes:
            yield _http(node, "proxy", name, resolve.http_of_proxy(stack, proxy))


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


def _router(stack: Stack, node: str, name: str, router: VirtualRouter) -> RouterSettings:
    authentication = router.authentication
    password = authentication.password if authentication else None
    arp = router.gratuitous_arp
    return RouterSettings(
        name=name,
        router_id=router.router_id,
        interface=stack.nodes[node].interface,
        priority=router.members[node],
        addresses=router.addresses,
        source=stack.nodes[node].address,
        advert_interval_s=router.advert_interval,
        password=password.get_secret_value().encode() if password else None,
        preempt=router.preempt,
        preempt_delay_s=router.preempt_delay,
        garp_repeat=arp.repeat,
        garp_delay_s=arp.delay,
        garp_refresh_s=arp.refresh,
        garp_refresh_repeat=arp.refresh_repeat,
    )
