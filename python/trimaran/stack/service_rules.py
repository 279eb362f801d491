"""What a virtual service's schedulers and their options ask for, beyond what a type can say."""

from collections.abc import Iterator

from trimaran.stack.balancing import scheduler_of
from trimaran.stack.finding import Finding
from trimaran.stack.model import Stack, VirtualService
from trimaran.stack.nearest import suggestion
from trimaran.stack.resolve import forward_of, listen_addresses

BY_DESTINATION = {"dh", "lblc", "lblcr"}


def balancing(stack: Stack) -> Iterator[Finding]:
    """Flags, one-packet scheduling, persistence, thresholds."""
    for name, service in stack.virtual_services.items():
        path = ("virtual_services", name)
        yield from _flags(path, service)
        if service.one_packet:
            yield from _one_packet((*path, "one_packet"), service)
        yield from _persistence(stack, path, service)
        yield from _thresholds(path, service)
        if service.scheduler in BY_DESTINATION:
            message = (
                f"{service.scheduler} chooses by the virtual address: all of an address's flows "
                "have one real server"
            )
            yield Finding((*path, "scheduler"), message, "sh and mh choose by client", fatal=False)


def _one_packet(path: tuple[str, ...], service: VirtualService) -> Iterator[Finding]:
    if service.protocol != "udp":
        message = "one_packet is for UDP: a TCP connection has more than one packet"
        yield Finding(path, message, "leave it out")
    elif any(forward_of(service, each)[0] == "nat" for each in service.real_servers.values()):
        message = "one_packet keeps no flow, by which answers through NAT are recognised"
        help_ = "leave it out, unless the real servers do not answer"
        yield Finding(path, message, help_, fatal=False)


def _flags(path: tuple[str, str], service: VirtualService) -> Iterator[Finding]:
    for index, flag in enumerate(service.scheduler_flags):
        if scheduler_of(flag) != service.scheduler:
            message = f"the flag {flag} is not one of the scheduler {service.scheduler}"
            help_ = suggestion(
                f"{service.scheduler}-{flag.partition('-')[2]}",
                [f"{each}-{what}" for each in ("sh", "mh") for what in ("port", "fallback")
                 if each == service.scheduler],
            )  # fmt: skip
            yield Finding((*path, "scheduler_flags", index), message, help_)


def _persistence(stack: Stack, path: tuple[str, str], service: VirtualService) -> Iterator[Finding]:
    persistence = service.persistence
    if persistence is None or persistence.granularity is None:
        return
    try:
        versions = {address.version for address, _ in listen_addresses(stack, service)}
    except ValueError:  # which another rule reports
        return
    if 4 in versions and persistence.granularity > 32:
        message = f"an IPv4 client has no {persistence.granularity} bits"
        help_ = "write a netmask such as 255.255.255.0, or 1 to 32"
        yield Finding((*path, "persistence", "granularity"), message, help_)


def _thresholds(path: tuple[str, str], service: VirtualService) -> Iterator[Finding]:
    for word, server in service.real_servers.items():
        upper, lower = server.upper_threshold, server.lower_threshold
        at = (*path, "real_servers", word, "lower_threshold")
        if lower and not upper:
            message = "lower_threshold has no effect without upper_threshold"
            yield Finding(at, message, fatal=False)
        elif lower > upper:
            message = f"lower_threshold {lower} is above upper_threshold {upper}"
            yield Finding(at, message, "a real server would never be overloaded for long")
