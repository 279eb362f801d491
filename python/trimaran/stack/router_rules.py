"""Checks of what a stack says of its virtual routers, their sync groups and trackers."""

from collections.abc import Iterator

from trimaran.stack.authentication import Authentication
from trimaran.stack.finding import Finding
from trimaran.stack.model import BfdNeighbour, Stack, VirtualRouter
from trimaran.stack.nearest import suggestion

LONGEST_V3_S = 40.95
OWNER = 255
_HMAC_ONLY = {"keys", "active", "replay", "window", "mode"}


def router_values(stack: Stack) -> Iterator[Finding]:
    """Values that do not go together."""
    for name, router in stack.virtual_routers.items():
        path = ("virtual_routers", name)
        yield from _version(path, router)
        yield from _families(path, router)
        if router.preempt_delay and not router.preempt:
            message = "preempt_delay has no effect where preempt is false"
            yield Finding((*path, "preempt_delay"), message, fatal=False, at_key=True)
        weights = [each.weight for each in router.track.interfaces.values()]
        weights += [each.weight for each in router.track.watches.values()]
        if any(weights) and not router.preempt:
            message = "without preemption a weight never moves the addresses"
            help_ = "use weight 0, which is a fault, or let it preempt"
            yield Finding((*path, "track"), message, help_, fatal=False, at_key=True)
        yield from _weak_weights(path, router, weights)


def _version(path: tuple[str, str], router: VirtualRouter) -> Iterator[Finding]:
    interval = router.advert_interval
    if router.spoken_version == 2:
        if router.ipv6:
            help_ = "leave `version` out, or write 3"
            yield Finding((*path, "version"), "IPv6 is spoken by version 3 alone", help_)
        if interval != int(interval):
            message = f"VRRP version 2 has whole seconds, not {interval:g}"
            yield Finding((*path, "advert_interval"), message, "write `version: 3`")
        if router.checksum != "pseudo_header":
            message = "version 2 has one kind of checksum only"
            yield Finding((*path, "checksum"), message, fatal=False, at_key=True)
        return
    if interval > LONGEST_V3_S:
        message = f"VRRP version 3 has at most {LONGEST_V3_S} s, not {interval:g}"
        yield Finding((*path, "advert_interval"), message)
    if abs(interval * 100 - round(interval * 100)) > 1e-6:
        message = f"VRRP version 3 counts in hundredths of a second, not {interval:g}"
        yield Finding((*path, "advert_interval"), message)
    if router.authentication is not None and router.authentication.type != "hmac":
        message = f"VRRP version 3 has no authentication of type '{router.authentication.type}'"
        help_ = "use type hmac, or write `version: 2`, or leave it out"
        yield Finding((*path, "authentication"), message, help_)


def _families(path: tuple[str, str], router: VirtualRouter) -> Iterator[Finding]:
    for index, address in enumerate(router.addresses):
        if (address.version == 6) != router.ipv6:
            message = f"{address.ip} is of another family than the first address"
            yield Finding((*path, "addresses", index), message, "list it under `unadvertised`")
    others = [*router.sources.values(), *(router.unicast.peers if router.unicast else ())]
    for each in others:
        if (each.version == 6) != router.ipv6:
            message = f"{each} is of another family than the addresses: adverts are of theirs"
            yield Finding(path, message, at_key=True)


def _weak_weights(
    path: tuple[str, str], router: VirtualRouter, weights: list[int]
) -> Iterator[Finding]:
    """A weight that is smaller than the distance to the next member moves nothing."""
    priorities = sorted(set(router.members.values()), reverse=True)
    if len(priorities) < 2:
        return
    gap = priorities[0] - priorities[1]
    for weight in weights:
        if weight and abs(weight) <= gap:
            message = f"weight {weight} does not outweigh the {gap} between the first two members"
            yield Finding((*path, "track"), message, fatal=False, at_key=True)


def authentications(stack: Stack) -> Iterator[Finding]:
    """Passwords and keys that are there."""
    for name, router in stack.virtual_routers.items():
        said = router.authentication
        if said is None:
            continue
        path = ("virtual_routers", name, "authentication")
        if said.type == "hmac":
            yield from _keys(path, said)
            continue
        if (said.password is None) == (said.password_file is None):
            message = "authentication needs either `password` or `password_file`"
            yield Finding(path, message, at_key=True)
        if said.password is not None:
            yield from _password(path, len(said.password.get_secret_value().encode()))
        for key in said.model_fields_set & _HMAC_ONLY:
            yield Finding((*path, key), f"{key} belongs to type hmac", at_key=True)


def _keys(path: tuple[str, ...], said: Authentication) -> Iterator[Finding]:
    for key in said.model_fields_set & {"password", "password_file"}:
        message = f"type hmac has `keys`, no {key}"
        yield Finding((*path, key), message, at_key=True)
    if not said.keys or said.active is None:
        message = "type hmac needs `keys`, and `active`: the number of the one to sign with"
        yield Finding(path, message, at_key=True)
    elif said.active not in said.keys:
        yield Finding((*path, "active"), f"there is no key {said.active}")


def _password(path: tuple[str, ...], size: int) -> Iterator[Finding]:
    if size == 0:
        yield Finding((*path, "password"), "the password is empty")
    if size > 8:
        message = "longer than 8 bytes: only the first 8 are used, as VRRPv2 has no room for more"
        yield Finding((*path, "password"), message, fatal=False)


def sync_groups(stack: Stack) -> Iterator[Finding]:
    """Groups of routers that there are, each in one group, with one first member."""
    group_of: dict[str, str] = {}
    for name, group in stack.sync_groups.items():
        first = stack.virtual_routers.get(group.members[0])
        for index, member in enumerate(group.members):
            path = ("sync_groups", name, index)
            router = stack.virtual_routers.get(member)
            if router is None:
                message = f"there is no virtual router '{member}'"
                yield Finding(path, message, suggestion(member, stack.virtual_routers))
                continue
            if group_of.setdefault(member, name) != name:
                message = f"virtual router '{member}' is in sync group '{group_of[member]}' already"
                yield Finding(path, message)
            if first is not None and router.members != first.members:
                message = f"'{member}' has other members or priorities than '{group.members[0]}'"
                help_ = "they are master together: give them the same"
                yield Finding(path, message, help_, fatal=False)
            if OWNER in router.members.values():
                message = f"'{member}' has an owner (255), which is master without the others"
                yield Finding(path, message, "give it a priority below 255")


def tracked(stack: Stack) -> Iterator[Finding]:
    """Watches that there are, and that watch something."""
    for name, watch in stack.watches.items():
        kinds = watch.script, watch.process, watch.file, watch.bfd
        if sum(each is not None for each in kinds) != 1:
            message = "a watch needs exactly one of `script`, `process`, `file` and `bfd`"
            yield Finding(("watches", name), message, at_key=True)
        if watch.bfd is not None:
            yield from _one_session(stack, name, watch.bfd)
        for key in ("script", "process"):
            if getattr(watch, key) == ():
                yield Finding(("watches", name, key), "names no command")
    routers, groups = stack.virtual_routers.items(), stack.sync_groups.items()
    owners = [(("virtual_routers", name), each.track) for name, each in routers]
    owners += [(("sync_groups", name), each.track) for name, each in groups]
    for owner, track in owners:
        for word in track.services:
            if word not in stack.virtual_services:
                path = (*owner, "track", "services", word)
                message = f"there is no virtual service '{word}'"
                yield Finding(path, message, suggestion(word, stack.virtual_services), at_key=True)
        for word in track.watches:
            if word not in stack.watches:
                path = (*owner, "track", "watches", word)
                message = f"there is no watch '{word}'"
                yield Finding(path, message, suggestion(word, stack.watches), at_key=True)


def _one_session(stack: Stack, name: str, bfd: BfdNeighbour) -> Iterator[Finding]:
    """RFC 5881 §3: there is one session between two addresses."""
    if bfd.source is not None and bfd.source.version != bfd.neighbour.version:
        yield Finding(("watches", name, "bfd", "source"), "is of another family than `neighbour`")
    for other, watch in stack.watches.items():
        if other == name:
            return
        if watch.bfd is not None and watch.bfd.neighbour == bfd.neighbour:
            message = f"'{other}' has a session with {bfd.neighbour} already"
            yield Finding(("watches", name, "bfd", "neighbour"), message, f"track '{other}'")
