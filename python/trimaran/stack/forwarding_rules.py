"""What a forwarding method cannot do: checks of `forward` and `tunnel`."""

from collections.abc import Iterator

from trimaran.stack.finding import Finding, Path
from trimaran.stack.model import Forward, Stack, Tunnel


def forwarding(stack: Stack) -> Iterator[Finding]:
    """Every finding about the methods of services and of their real servers."""
    for name, service in stack.virtual_services.items():
        path: Path = ("virtual_services", name)
        tunnelled = [s for s in service.real_servers.values() if s.forward == "tunnel"]
        if service.tunnel is not None:
            unused = service.forward != "tunnel" and not tunnelled
            yield from _tunnel((*path, "tunnel"), service.tunnel, unused)
        for word, server in service.real_servers.items():
            if server.tunnel is not None:
                forward: Forward = server.forward or service.forward
                place = (*path, "real_servers", word, "tunnel")
                yield from _tunnel(place, server.tunnel, forward != "tunnel")


def _tunnel(path: Path, tunnel: Tunnel, unused: bool) -> Iterator[Finding]:
    if unused:
        yield Finding(path, "only `forward: tunnel` has a tunnel", "write that too", at_key=True)
    if tunnel.type == "gue" and tunnel.port is None:
        help_ = "write where the real server takes it: port: 6080"
        yield Finding(path, "a tunnel of type gue needs a port", help_, at_key=True)
    if tunnel.type != "gue" and tunnel.port is not None:
        yield Finding((*path, "port"), f"a tunnel of type {tunnel.type} has no port", at_key=True)
    if tunnel.type == "ipip" and tunnel.checksum:
        message = "a tunnel of type ipip has no checksum"
        yield Finding((*path, "checksum"), message, "gue and gre have one", at_key=True)
