"""What a stack says twice, or about things that it does not have: checks between its parts.

Each rule is a small generator of findings; `find` runs them all.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from trimaran.stack.checks import Check
from trimaran.stack.finding import Finding, Path
from trimaran.stack.forwarding_rules import forwarding
from trimaran.stack.model import Stack, VirtualService
from trimaran.stack.nearest import suggestion
from trimaran.stack.resolve import (
    IPAddress,
    address_of,
    carriers,
    checks_of,
    directors,
    forward_of,
    listen_addresses,
    node_of_address,
    real_address_of,
    server_address,
    split_port,
)
from trimaran.stack.router_rules import authentications, router_values, sync_groups, tracked
from trimaran.stack.service_rules import balancing

SHORTEST_KEY = 16  # bytes


def find(stack: Stack, pruned: Collection[Path] = ()) -> list[Finding]:
    """Every finding. `pruned` are paths that were wrong in themselves and left out of the stack:
    references to them are not reported once more."""
    missing = {
        path[1] for path in pruned if len(path) == 2 and path[0] in ("nodes", "virtual_routers")
    }
    findings: list[Finding] = []
    for rule in _RULES:
        findings += [
            finding
            for finding in rule(stack)
            if not _excused(finding, missing)
            and not any(path[: len(finding.path)] == finding.path for path in pruned)
        ]
    if not pruned:
        findings += _idle_nodes(stack)
    return findings


def _excused(finding: Finding, missing: set[str | int]) -> bool:
    """Whether the finding complains about a word that stands in a part left out."""
    return any(f"'{name}'" in finding.message for name in missing)


def _known_node(stack: Stack, path: Path, name: str, at_key: bool = False) -> Iterator[Finding]:
    if name not in stack.nodes:
        yield Finding(
            path, f"there is no node '{name}'", suggestion(name, stack.nodes), True, at_key
        )


def _nodes(stack: Stack) -> Iterator[Finding]:
    owners: dict[IPv4Address, str] = {}
    for name, node in stack.nodes.items():
        if node.address is not None and owners.setdefault(node.address, name) != name:
            message = f"{node.address} is the address of node '{owners[node.address]}' already"
            yield Finding(("nodes", name, "address"), message)


def _members(stack: Stack) -> Iterator[Finding]:
    for name, router in stack.virtual_routers.items():
        path = ("virtual_routers", name, "members")
        first: dict[int, str] = {}
        for node, priority in router.members.items():
            yield from _known_node(stack, (*path, node), node, at_key=True)
            if first.setdefault(priority, node) != node:
                message = (
                    f"nodes '{first[priority]}' and '{node}' have the same priority {priority}"
                )
                help_ = "the higher address would win; say which is to be master"
                yield Finding((*path, node), message, help_, fatal=False)
        if len(router.members) == 1 and len(stack.nodes) > 1:
            message = f"virtual router '{name}' has one member: nobody stands by"
            yield Finding(path, message, fatal=False, at_key=True)


def _router_ids(stack: Stack) -> Iterator[Finding]:
    used: dict[tuple[str, str, bool, int], str] = {}
    for name, router in stack.virtual_routers.items():
        for member in router.members:
            node = stack.nodes.get(member)
            if node is None:
                continue
            interface = router.interfaces.get(member, node.interface)
            key = (member, interface, router.ipv6, router.router_id)
            other = used.setdefault(key, name)
            if other != name:
                message = (
                    f"router_id {router.router_id} is used by virtual router '{other}' already, "
                    f"on {interface} of node '{member}'"
                )
                yield Finding(("virtual_routers", name, "router_id"), message)
                break


def _virtual_addresses(stack: Stack) -> Iterator[Finding]:
    used: dict[IPv4Address | IPv6Address, str] = {}
    for name, router in stack.virtual_routers.items():
        for index, interface in enumerate(router.addresses):
            path = ("virtual_routers", name, "addresses", index)
            other = used.get(interface.ip)
            if other is not None:
                yield Finding(
                    path, f"{interface.ip} is an address of virtual router '{other}' already"
                )
            used.setdefault(interface.ip, name)
            owner = node_of_address(stack, interface.ip)
            if owner is not None and router.members.get(owner) != 255:
                message = f"{interface.ip} is the own address of node '{owner}'"
                help_ = "a virtual address belongs to no node, or to the member with priority 255"
                yield Finding(path, message, help_)


def _listens(stack: Stack) -> Iterator[Finding]:
    used: dict[tuple[IPAddress, int, str], str] = {}
    for name, service in stack.virtual_services.items():
        path = ("virtual_services", name, "listen")
        try:
            addresses = listen_addresses(stack, service)
        except ValueError as error:
            word, port = _split(service.listen)
            help_ = suggestion(word, stack.virtual_routers) if port else ""
            yield Finding(path, str(error), help_)
            continue
        yield from _unserved(stack, service, path, addresses)
        for address, port in addresses:
            other = used.setdefault((address, port, service.protocol), name)
            if other != name:
                message = f"virtual service '{other}' listens on {address}:{port} already"
                yield Finding(path, message)
            if not carriers(stack, address):
                message = f"nobody carries {address}: no virtual router has it, and no node"
                help_ = "" if len(stack.nodes) == 1 else "so no node directs this service"
                yield Finding(path, message, help_, fatal=False)


def _unserved(
    stack: Stack, service: VirtualService, path: Path, served: list[tuple[IPAddress, int]]
) -> Iterator[Finding]:
    """A virtual router of both IP versions, and real servers of one."""
    router = stack.virtual_routers.get(_split(service.listen)[0])
    versions = {address.version for address, _ in served}
    carried = router.addresses + router.unadvertised if router else ()
    for version in sorted({each.ip.version for each in carried} - versions):
        message = f"the IPv{version} addresses of '{_split(service.listen)[0]}' are not served"
        help_ = f"not every real server has an IPv{version} address"
        yield Finding(path, message, help_, fatal=False)


def _real_servers(stack: Stack) -> Iterator[Finding]:
    for name, service in stack.virtual_services.items():
        path = ("virtual_services", name, "real_servers")
        _word, service_port = _split(service.listen)
        balancing = _directors(stack, service)
        version = _version(stack, service)
        used: dict[IPAddress, str] = {}
        for word in service.real_servers:
            try:
                address, port = server_address(stack, service, word, version)
            except ValueError as error:
                help_ = suggestion(word, stack.nodes)
                yield Finding((*path, word), str(error), help_, at_key=True)
                continue
            if port is not None and service_port is not None and port != service_port:
                message = f"port {port} differs from the service's port {service_port}"
                forward, _ = forward_of(service, service.real_servers[word])
                method = "direct routing (dr)" if forward == "dr" else "a tunnel"
                help_ = f"{method} cannot change the port"
                yield Finding((*path, word), message, help_, at_key=True)
            if used.setdefault(address, word) != word:
                message = f"'{word}' is the same machine as '{used[address]}'"
                yield Finding((*path, word), message, at_key=True)
            owner = node_of_address(stack, address)
            if owner in balancing and len(balancing) > 1:
                message = f"node '{owner}' directs this service and cannot be its real server too"
                help_ = "it can where no other node directs the service: use another node"
                yield Finding((*path, word), message, help_, at_key=True)
        yield from _checks(name, service, service_port)
        yield from _sorry_server(stack, name, service, used)
        if not any(server.weight for server in service.real_servers.values()):
            message = f"virtual service '{name}' has no real server with a weight above 0"
            yield Finding(path, message, "every connection to it will be dropped", False, True)


def _checks(name: str, service: VirtualService, port: int | None) -> Iterator[Finding]:
    path = ("virtual_services", name)
    every = [checks_of(service, server) for server in service.real_servers.values()]
    if port == 0 and any(_needs_port(check) for checks in every for check in checks.values()):
        message = "a check needs a port where the service has none of its own"
        yield Finding((*path, "listen"), message, "write `check: {tcp: {port: 80}}`")
    elif service.check is not None and not all(every):
        message = f"virtual service '{name}' is not checked: a dead real server stays in the table"
        help_ = "write `check: {tcp: {port: 80}}`, or `check: null` if that is meant"
        yield Finding(path, message, help_, fatal=False, at_key=True)


def _needs_port(check: Check) -> bool:
    asked = getattr(check, check.kind)
    return hasattr(asked, "port") and asked.port is None


def _version(stack: Stack, service: VirtualService) -> int:
    """The IP version of a service; 4 where `listen` is wrong, which another rule reports."""
    try:
        return next((address.version for address, _ in listen_addresses(stack, service)), 4)
    except ValueError:
        return 4


def _sorry_server(
    stack: Stack, name: str, service: VirtualService, used: dict[IPAddress, str]
) -> Iterator[Finding]:
    path = ("virtual_services", name, "sorry_server")
    if service.sorry_server is None:
        return
    try:
        address, port = real_address_of(stack, service.sorry_server, _version(stack, service))
    except ValueError as error:
        yield Finding(path, str(error), suggestion(service.sorry_server, stack.nodes))
        return
    if address in used:
        yield Finding(path, f"'{service.sorry_server}' is the real server '{used[address]}' too")
    if port not in (None, _split(service.listen)[1]):
        message = f"port {port} differs from the service's port {_split(service.listen)[1]}"
        yield Finding(path, message, "direct routing (dr) cannot change the port")


def _directors(stack: Stack, service: VirtualService) -> list[str]:
    """None where `listen` is wrong, which another rule reports."""
    try:
        return directors(stack, service)
    except ValueError:
        return []


def _split(word: str) -> tuple[str, int | None]:
    try:
        return split_port(word)
    except ValueError:
        return word, None


def _flow_sync(stack: Stack) -> Iterator[Finding]:
    balancing = {
        name for each in stack.virtual_services.values() for name in _directors(stack, each)
    }
    sync = stack.flow_sync
    if sync is None:
        if len(balancing) > 1:
            message = "flows are not synchronised: connections break when a director dies"
            help_ = "give the directors a shared secret: flow_sync: {key_file: …}"
            yield Finding(("virtual_services",), message, help_, fatal=False, at_key=True)
        return
    path = ("flow_sync",)
    if (sync.key is None) == (sync.key_file is None):
        yield Finding(path, "flow_sync needs either `key` or `key_file`", at_key=True)
    if sync.key is not None and len(sync.key.get_secret_value().encode()) < SHORTEST_KEY:
        message = f"the key is shorter than {SHORTEST_KEY} bytes"
        yield Finding((*path, "key"), message, "make one with: openssl rand -hex 32")
    if len(balancing) < 2:
        message = "flow_sync has no effect: there are no two directors of one service"
        yield Finding(path, message, fatal=False, at_key=True)
    for name in sorted(balancing) if len(balancing) > 1 else ():
        if name in stack.nodes and stack.nodes[name].address is None:
            message = f"node '{name}' needs an address: its peers send their flows there"
            yield Finding(("nodes", name), message, at_key=True)


def _ipvs(stack: Stack) -> Iterator[Finding]:
    """What the kernel's IPVS does otherwise than our own data plane."""
    if stack.datapath != "ipvs":
        return
    for name, service in stack.virtual_services.items():
        if _split(service.listen)[1] == 0:
            message = "the kernel's IPVS serves every port only to persistent clients"
            help_ = "name a port, or write datapath: auto"
            yield Finding(("virtual_services", name, "listen"), message, help_)
    if stack.flow_sync is not None:
        message = "flow_sync has no effect with datapath: ipvs"
        help_ = "the kernel's own daemons do that: ipvsadm --start-daemon"
        yield Finding(("flow_sync",), message, help_, fatal=False, at_key=True)


def _proxies(stack: Stack) -> Iterator[Finding]:
    for name, proxy in stack.proxies.items():
        path = ("proxies", name)
        for index, node in enumerate(proxy.nodes):
            yield from _known_node(stack, (*path, "nodes", index), node)
        own = (proxy.listen, proxy.upstream)
        if proxy.nginx is not None and own != (None, None):
            message = "a proxy has `nginx`, or `listen` and `upstream`, not both"
            yield Finding((*path, "nginx"), message, at_key=True)
        elif proxy.nginx is None and None in own:
            missing = "listen" if proxy.listen is None else "upstream"
            message = f"'{missing}' is missing in {'.'.join(path)}"
            help_ = "a proxy has `listen` and `upstream`, or `nginx`"
            yield Finding(path, message, help_, at_key=True)
        yield from _peers(stack, name)


def _peers(stack: Stack, name: str) -> Iterator[Finding]:
    proxy = stack.proxies[name]
    path = ("proxies", name, "upstream")
    for word in proxy.upstream or {}:
        try:
            address, port = address_of(stack, word)
        except ValueError as error:
            yield Finding((*path, word), str(error), suggestion(word, stack.nodes), at_key=True)
            continue
        owner = node_of_address(stack, address)
        if owner in proxy.nodes and (port or 80) == proxy.listen:
            message = f"'{word}' is the proxy itself: requests would go round in a circle"
            yield Finding((*path, word), message, at_key=True)
    if proxy.upstream is not None and not any(proxy.upstream.values()):
        yield Finding(path, f"proxy '{name}' has no peer with a weight above 0", at_key=True)


def _sites(stack: Stack) -> Iterator[Finding]:
    for name, site in stack.sites.items():
        yield from _known_node(stack, ("sites", name, "node"), site.node)


def _ports(stack: Stack) -> Iterator[Finding]:
    """Two things on one node cannot listen on one port."""
    used: dict[tuple[str, int], Path] = {}
    wanted: list[tuple[Path, Iterable[str], int]] = [
        (("proxies", name, "listen"), dict.fromkeys(proxy.nodes), proxy.listen)
        for name, proxy in stack.proxies.items()
        if proxy.listen is not None
    ]
    wanted += [
        (("sites", name, "listen"), [site.node], site.listen) for name, site in stack.sites.items()
    ]
    for path, nodes, port in wanted:
        for node in nodes:
            other = used.setdefault((node, port), path)
            if other != path:
                message = f"{other[0]}.{other[1]} listens on port {port} of node '{node}' already"
                yield Finding(path, message)


def _carried(stack: Stack) -> Iterator[Finding]:
    for name in stack.real_server_addresses:
        yield from _known_node(stack, ("real_server_addresses", name), name, at_key=True)


def _idle_nodes(stack: Stack) -> Iterator[Finding]:
    busy = set(stack.real_server_addresses) | {site.node for site in stack.sites.values()}
    for router in stack.virtual_routers.values():
        busy |= set(router.members)
    for proxy in stack.proxies.values():
        busy |= set(proxy.nodes)
        busy |= {_split(word)[0] for word in proxy.upstream or {}}
    for service in stack.virtual_services.values():
        busy |= {_split(word)[0] for word in service.real_servers}
        busy |= set(_directors(stack, service))
    for name, node in stack.nodes.items():
        if not busy & {name, str(node.address)}:
            message = f"node '{name}' has nothing to do in this stack"
            yield Finding(("nodes", name), message, fatal=False, at_key=True)


_RULES: tuple[Callable[[Stack], Iterator[Finding]], ...] = (
    _nodes,
    _members,
    _router_ids,
    _virtual_addresses,
    router_values,
    sync_groups,
    tracked,
    authentications,
    _listens,
    _real_servers,
    balancing,
    forwarding,
    _flow_sync,
    _ipvs,
    _proxies,
    _sites,
    _ports,
    _carried,
)
