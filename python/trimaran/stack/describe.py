"""What each node of a stack will do, in one sentence a task."""

from trimaran.stack.checks import Check
from trimaran.stack.http import Files, Http, Location, ProxyPass, Return
from trimaran.stack.model import Stack, VirtualService
from trimaran.stack.resolve import (
    checks_of,
    directors,
    http_of_proxy,
    listen_addresses,
    real_server_addresses,
)


def describe(stack: Stack) -> dict[str, list[str]]:
    """Node: sentences, in the order in which its roles start."""
    return {name: _tasks(stack, name) or ["nothing to do"] for name in stack.nodes}


def _tasks(stack: Stack, node: str) -> list[str]:
    tasks: list[str] = []
    for name, service in stack.virtual_services.items():
        if node in directors(stack, service):
            tasks.append(_director(stack, name, service))
    carried = real_server_addresses(stack, node)
    if carried:
        tasks.append(f"real server: carries {', '.join(map(str, carried))} on lo, hidden from ARP")
    for name, proxy in stack.proxies.items():
        if node in proxy.nodes:
            tasks += [f"proxy {name}: {line}" for line in _http(http_of_proxy(stack, proxy))]
    for name, site in stack.sites.items():
        if site.node == node:
            tasks.append(f"site {name}: port {site.listen}, files of {site.root}")
    tasks += _routers(stack, node)
    return tasks


def _director(stack: Stack, name: str, service: VirtualService) -> str:
    listens = ", ".join(f"{address}:{port}" for address, port in listen_addresses(stack, service))
    servers = ", ".join(
        word if server.weight == 1 else f"{word} (weight {server.weight})"
        for word, server in service.real_servers.items()
    )
    checks = [checks_of(service, server) for server in service.real_servers.values()]
    same = all(each == checks[0] for each in checks)
    check = _checks(checks[0]) if checks and same else "each with its own checks"
    title = "" if name in listens.split(", ") else f"{name} "
    return (
        f"director for {title}{listens} {service.scheduler} by {service.forward.upper()} "
        f"over {servers or 'no real server'}; {check if checks else 'not checked'}"
        f"{_pool(service)}"
    )


def _checks(checks: dict[str, Check]) -> str:
    return " and ".join(map(_check, checks.values())) or "not checked"


def _check(check: Check) -> str:
    return (
        f"{check.kind.upper()} check every {check.interval:g} s, timeout {check.timeout:g} s, "
        f"down after {1 + check.retries} failures {check.retry_delay:g} s apart"
        + (f", up after {check.rise}" if check.rise > 1 else "")
    )


def _pool(service: VirtualService) -> str:
    parts = []
    if service.quorum != 1 or service.hysteresis:
        parts.append(f"; quorum {service.quorum} ± {service.hysteresis}")
    if service.sorry_server:
        parts.append(f"; without quorum {service.sorry_server}")
    return "".join(parts)


def _routers(stack: Stack, node: str) -> list[str]:
    tasks: list[str] = []
    for name, router in stack.virtual_routers.items():
        if node not in router.members:
            continue
        addresses = ", ".join(
            str(each.ip) if each.network.prefixlen == 32 else str(each) for each in router.addresses
        )
        rank = sorted(router.members.values(), reverse=True).index(router.members[node])
        place = "" if len(router.members) == 1 else ", first" if rank == 0 else ", stands by"
        tasks.append(
            f"vrrp {name}: id {router.router_id}, priority {router.members[node]}{place}, "
            f"carries {addresses} on {stack.nodes[node].interface} while it is master"
        )
    return tasks


def _http(http: Http) -> list[str]:
    lines: list[str] = []
    for server in http.servers:
        ports = ", ".join(
            str(each.port) if each.address == "0.0.0.0" else f"{each.address}:{each.port}"
            for each in server.listen
        )
        names = f" ({', '.join(server.names)})" if server.names else ""
        does = ", ".join(_location(http, location) for location in server.locations)
        lines.append(f"port {ports}{names}: {does}")
    return lines


def _location(http: Http, location: Location) -> str:
    path = f"{location.match} {location.path}".strip()
    match location.action:
        case ProxyPass(upstream=name):
            peers = next(each.peers for each in http.upstreams if each.name == name)
            return f"{path} to {' '.join(peer.address for peer in peers)}"
        case Files(root=root):
            return f"{path} files of {root}"
        case Return(status=status, text=text):
            return f"{path} answers {status} {text}".rstrip()
