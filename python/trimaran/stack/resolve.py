"""Questions that other rooms ask of a stack: which addresses, which nodes, which HTTP model.

The stack must have passed its reader's checks; a word that names nothing raises ValueError.
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

from trimaran.stack.checks import Check
from trimaran.stack.http import (
    Files,
    Http,
    Listen,
    Location,
    Peer,
    ProxyPass,
    Server,
    Upstream,
)
from trimaran.stack.mime_types import BUILT_IN_TYPES
from trimaran.stack.model import (
    Forward,
    Proxy,
    RealServer,
    Site,
    Stack,
    TrackedService,
    Tunnel,
    VirtualService,
)

FORWARDED_HEADERS = (
    ("Host", "$host"),
    ("X-Real-IP", "$remote_addr"),
    ("X-Forwarded-For", "$proxy_add_x_forwarded_for"),
)


IPAddress = IPv4Address | IPv6Address


def split_port(word: str) -> tuple[str, int | None]:
    """'node4:80' as ('node4', 80), 'node4' as ('node4', None), '[::1]:80' as ('::1', 80); an IPv6
    address without brackets has no port. Raises ValueError."""
    name, colon, digits = word.rpartition(":")
    if not colon or word.endswith("]") or (":" in name and not name.endswith("]")):
        return word.strip("[]"), None
    if not (digits.isascii() and digits.isdigit() and int(digits) <= 65535):
        raise ValueError(f"'{digits}' is not a port: a number from 1 to 65535")
    return name.strip("[]"), int(digits)


def address_of(stack: Stack, word: str) -> tuple[IPv4Address, int | None]:
    """The address, and the port if one is given, of 'node4', '192.168.31.165' or either with
    ':port'. Raises ValueError."""
    name, port = split_port(word)
    node = stack.nodes.get(name)
    if node is not None:
        if node.address is None:
            raise ValueError(f"node '{name}' has no address")
        return node.address, port
    try:
        return IPv4Address(name), port
    except ValueError:
        raise ValueError(f"'{name}' is neither a node nor an IPv4 address") from None


def real_address_of(stack: Stack, word: str, version: int) -> tuple[IPAddress, int | None]:
    """The same for a real server of a virtual service of that IP version. Raises ValueError."""
    name, port = split_port(word)
    node = stack.nodes.get(name)
    if node is not None:
        address: IPAddress | None = node.address if version == 4 else node.address6
        if address is None:
            key = "address" if version == 4 else "address6"
            raise ValueError(f"node '{name}' has no {key}")
        return address, port
    try:
        address = ip_address(name)
    except ValueError:
        raise ValueError(f"'{name}' is neither a node nor an IP address") from None
    if address.version != version:
        raise ValueError(f"{name} is not IPv{version}, as the virtual service's address is")
    return address, port


def forward_of(service: VirtualService, server: RealServer) -> tuple[Forward, Tunnel]:
    """How flows go to a real server: its own words, or else its service's."""
    forward = server.forward or service.forward
    return forward, server.tunnel or service.tunnel or Tunnel()


def server_address(
    stack: Stack, service: VirtualService, word: str, version: int
) -> tuple[IPAddress, int | None]:
    """The address and port of a real server of a service that listens on that IP version. Through a
    tunnel it may be of the other one. Raises ValueError."""
    forward, _ = forward_of(service, service.real_servers[word])
    if forward == "tunnel" and not _has_version(stack, word, version):
        return real_address_of(stack, word, 10 - version)
    return real_address_of(stack, word, version)


def node_of_address(stack: Stack, address: IPAddress) -> str | None:
    """The name of the node whose address it is."""
    return next(
        (name for name, node in stack.nodes.items() if address in (node.address, node.address6)),
        None,
    )


def listen_addresses(stack: Stack, service: VirtualService) -> list[tuple[IPAddress, int]]:
    """Every (address, port) that a virtual service listens on. Of a virtual router with addresses
    of both IP versions these are the ones that every real server can serve; all, if they have no
    version in common. Raises ValueError."""
    name, port = split_port(service.listen)
    if port is None:
        raise ValueError(f"'{service.listen}' has no port: write ROUTER:port or ADDRESS:port")
    router = stack.virtual_routers.get(name)
    if router is not None:
        versions = _versions(stack, service)
        carried = router.addresses + router.unadvertised
        every = [each.ip for each in carried if not _is_routers_own(each.ip)]
        served = [address for address in every if address.version in versions]
        return [(address, port) for address in served or every]
    try:
        return [(ip_address(name), port)]
    except ValueError:
        raise ValueError(f"'{name}' is neither a virtual router nor an IP address") from None


def _is_routers_own(address: IPAddress) -> bool:
    """The link-local address that an IPv6 virtual router must have (RFC 9568, 5.2.9)."""
    return address.version == 6 and address.is_link_local


def _versions(stack: Stack, service: VirtualService) -> set[int]:
    """The IP versions that each real server has an address of."""
    return {
        version
        for version in (4, 6)
        if all(
            forward_of(service, server)[0] == "tunnel" or _has_version(stack, word, version)
            for word, server in service.real_servers.items()
        )
    }


def _has_version(stack: Stack, word: str, version: int) -> bool:
    try:
        real_address_of(stack, word, version)
    except ValueError:
        return False
    return True


def checks_of(service: VirtualService, server: RealServer) -> dict[str, Check]:
    """The checks of a real server, by name: its own, or else its service's. `check` is named after
    its kind; the service's default one counts where nothing is said, but not where TCP to the
    service's port says nothing: UDP, and any port."""
    own = _named(server.check, server.checks)
    if own:
        return own
    silent = "check" not in service.model_fields_set
    natural = service.protocol == "tcp" and not service.listen.endswith(":0")
    useless = silent and (service.checks or not natural)
    return _named(None if useless else service.check, service.checks)


def _named(check: Check | None, checks: dict[str, Check]) -> dict[str, Check]:
    return ({check.kind: check} if check else {}) | checks


def commands(stack: Stack) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every program that a stack runs, with its path in the model."""
    for name, service in stack.virtual_services.items():
        path = ("virtual_services", name)
        yield from _commands(path, service, ("quorum_up", "quorum_down"))
        for word, server in service.real_servers.items():
            yield from _commands(
                (*path, "real_servers", word), server, ("notify_up", "notify_down")
            )


def _commands(
    path: tuple[str, ...], owner: VirtualService | RealServer, options: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str]]:
    for option in options:
        script = getattr(owner, option)
        if script is not None:
            yield (*path, option), script.command
    every = [(("check",), owner.check), *((("checks", n), c) for n, c in owner.checks.items())]
    for where, check in every:
        if check is not None and check.script is not None:
            yield (*path, *where, "script", "command"), check.script.command


def carriers(stack: Stack, address: IPAddress) -> list[str]:
    """The nodes that may carry an address: members of the virtual router that it belongs to, or
    the node whose own address it is."""
    for router in stack.virtual_routers.values():
        carried = router.addresses + router.unadvertised
        if any(interface.ip == address for interface in carried):
            return list(router.members)
    owner = node_of_address(stack, address)
    return [owner] if owner else []


def directors(stack: Stack, service: VirtualService) -> list[str]:
    """The nodes that balance a virtual service. Where nothing in the stack carries its address,
    the one node of a classic file does."""
    found: dict[str, None] = {}
    for address, _port in listen_addresses(stack, service):
        found |= dict.fromkeys(carriers(stack, address))
    if not found and len(stack.nodes) == 1:
        return list(stack.nodes)
    return list(found)


def tracked_services(stack: Stack, router: str) -> dict[str, int]:
    """The virtual services whose quorum a virtual router's priority depends on: their weights.
    Those that its sync groups name count for it too."""
    track = stack.virtual_routers[router].track
    own = {each.ip for each in stack.virtual_routers[router].addresses}
    found = {
        name: TrackedService().weight
        for name, service in stack.virtual_services.items()
        if track.own_services
        and any(address in own for address, _port in listen_addresses(stack, service))
    }
    groups = [group.track for group in stack.sync_groups.values() if router in group.members]
    for tracking in (*groups, track):
        found |= {name: each.weight for name, each in tracking.services.items()}
    return found


def peer_directors(stack: Stack, node: str) -> list[str]:
    """The other nodes that balance a virtual service which `node` balances too."""
    found: dict[str, None] = {}
    for service in stack.virtual_services.values():
        balancing = directors(stack, service)
        if node in balancing:
            found |= dict.fromkeys(balancing)
    return [name for name in found if name != node]


def real_server_addresses(stack: Stack, node: str) -> tuple[IPv4Address, ...]:
    """The virtual addresses that a node carries on `lo` as a DR real server."""
    found = dict.fromkeys(stack.real_server_addresses.get(node, ()))
    own = stack.nodes[node].address
    for service in stack.virtual_services.values():
        for address, _port in listen_addresses(stack, service):
            servers = {
                server_address(stack, service, word, address.version)[0]
                for word in service.real_servers
            }
            if own in servers and isinstance(address, IPv4Address):
                found[address] = None
    return tuple(found)


def http_of_proxy(stack: Stack, proxy: Proxy) -> Http:
    """What a proxy serves: its nginx.conf, or one location that forwards to its upstream."""
    if proxy.http is not None:
        return proxy.http
    if proxy.listen is None or proxy.upstream is None:
        raise ValueError("a proxy needs `listen` and `upstream`, or `nginx`")
    peers = tuple(
        Peer(address=_peer_address(stack, word), weight=weight)
        for word, weight in proxy.upstream.items()
        if weight > 0
    )
    if not peers:
        raise ValueError("every peer of the proxy has weight 0")
    location = Location(path="/", action=ProxyPass(upstream="peers", set_headers=FORWARDED_HEADERS))
    return Http(
        servers=(Server(listen=(Listen(port=proxy.listen),), locations=(location,)),),
        upstreams=(Upstream(name="peers", peers=peers),),
        types=BUILT_IN_TYPES,
    )


def checks_of_peers(proxy: Proxy) -> dict[str, Check]:
    """By name; none where nothing is said."""
    return _named(proxy.check, proxy.checks)


def names_of_peers(stack: Stack, proxy: Proxy) -> dict[str, str]:
    """The user's word for each peer, by its 'HOST:PORT'."""
    return {_peer_address(stack, word): word for word in proxy.upstream or {}}


def _peer_address(stack: Stack, word: str) -> str:
    """'HOST:PORT'. Without a port: that of the node's site if it has just one, else 80."""
    address, port = address_of(stack, word)
    if port is None:
        owner = node_of_address(stack, address)
        ports = [site.listen for site in stack.sites.values() if site.node == owner]
        port = ports[0] if len(ports) == 1 else 80
    return f"{address}:{port}"


def http_of_site(site: Site) -> Http:
    """What a site serves: its directory. `root` is left as the stack has it."""
    files = Files(root=site.root, index=site.index)
    server = Server(
        listen=(Listen(port=site.listen),), locations=(Location(path="/", action=files),)
    )
    return Http(servers=(server,), types=BUILT_IN_TYPES)
