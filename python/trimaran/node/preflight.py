"""What would stop a node's roles, found before they start: `look` asks, `judge` decides.

The vrrp process itself says what only it can know: whether it got real-time scheduling, and who
else holds its addresses."""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from trimaran.director.settings import DirectorSettings
from trimaran.node.firewall import TCP, VRRP, Chain, Packet, dropped_by, from_iptables, from_nft
from trimaran.node.settings import NodePlan, RealServerRoleSettings
from trimaran.proxy.settings import ProxySettings
from trimaran.system import facts, ipvs_machine
from trimaran.system.errors import CannotRunError
from trimaran.system.netlink import Holding, Netlink
from trimaran.system.sockets import bind_refusal
from trimaran.vrrp.settings import VrrpSettings

VRRP_GROUP = IPv4Address("224.0.0.18")


@dataclass(frozen=True)
class Finding:
    """Something in the way of a role. `refuses`: the node cannot run; else it may, but badly."""

    role: str
    message: str
    mend: str
    refuses: bool = False


@dataclass(frozen=True)
class Facts:
    """What `look` saw. `ebpf_refusal` is in the kernel's words, None where it does not refuse;
    `holders` are the interfaces that carry a real server's virtual address; `ports` says why one
    cannot be had; `has_ipvs` is asked where it is used."""

    capabilities: frozenset[int]
    ebpf_refusal: str | None
    holders: dict[IPv4Address, tuple[Holding, ...]]
    ports: dict[tuple[str, int], CannotRunError]
    chains: dict[str, Chain]
    has_ipvs: bool = True


def look(plan: NodePlan) -> Facts:
    """Ask the machine what the plan's roles depend on."""
    kinds = {type(settings) for settings in plan.roles.values()}
    with Netlink() as netlink:
        holders = {
            address: tuple(netlink.holdings(address))
            for settings in plan.roles.values()
            if isinstance(settings, RealServerRoleSettings)
            for address in settings.addresses
        }
    ports = {
        (address, port): refusal
        for settings in plan.roles.values()
        if isinstance(settings, ProxySettings)
        for address, port in settings.listeners
        if (refusal := bind_refusal(address, port))
    }
    return Facts(
        capabilities=facts.capabilities(),
        ebpf_refusal=facts.ebpf_refusal() if DirectorSettings in kinds else None,
        has_ipvs=not _uses_ipvs(plan) or ipvs_machine.is_possible(),
        holders=holders,
        ports=ports,
        chains=from_nft(facts.nft_ruleset()) | from_iptables(facts.legacy_iptables_rules()),
    )


def _uses_ipvs(plan: NodePlan) -> bool:
    directors = (each for each in plan.roles.values() if isinstance(each, DirectorSettings))
    return any(settings.hook == "ipvs" for settings in directors)


def judge(plan: NodePlan, seen: Facts) -> list[Finding]:
    """Everything that is in the way, refusals first."""
    found = [
        finding
        for role, settings in plan.roles.items()
        for finding in _judge_role(role, settings, seen)
    ]
    return sorted(found, key=lambda finding: not finding.refuses)


def _judge_role(role: str, settings: object, seen: Facts) -> Iterator[Finding]:
    if isinstance(settings, ProxySettings):
        yield from _judge_proxy(role, settings, seen)
        return
    needed = {facts.CAP_NET_ADMIN}
    if isinstance(settings, VrrpSettings):
        needed.add(facts.CAP_NET_RAW)
    if not needed <= seen.capabilities:
        message = f"the role {role} changes the network, which this user may not"
        yield Finding(role, message, "run as root", refuses=True)
        return
    if isinstance(settings, DirectorSettings):
        yield from _judge_director(role, settings, seen)
    elif isinstance(settings, VrrpSettings):
        yield from _judge_vrrp(role, settings, seen)
    elif isinstance(settings, RealServerRoleSettings):
        yield from _judge_real_server(role, settings, seen)


def _judge_director(role: str, settings: DirectorSettings, seen: Facts) -> Iterator[Finding]:
    if settings.hook == "ipvs":
        if not seen.has_ipvs:
            yield Finding(role, ipvs_machine.NO_IPVS, ipvs_machine.MEND, refuses=True)
        return
    if seen.ebpf_refusal is not None:
        message = f"the kernel lets us use no eBPF ({seen.ebpf_refusal}), which the director needs"
        mend = "use Linux 5.17 or later with CONFIG_BPF_SYSCALL, as root, without a filter on bpf()"
        yield Finding(role, message, mend, refuses=True)


def _judge_vrrp(role: str, settings: VrrpSettings, seen: Facts) -> Iterator[Finding]:
    for router in settings.routers:
        packet = Packet(router.interface, VRRP_GROUP, VRRP)
        chain = dropped_by(seen.chains, packet)
        if chain:
            message = f"{router.name}: the firewall drops adverts on {router.interface} ({chain})"
            yield Finding(role, f"{message}: two masters may arise", _accept(chain, packet))


def _judge_real_server(
    role: str, settings: RealServerRoleSettings, seen: Facts
) -> Iterator[Finding]:
    for address in settings.addresses:
        for holding in seen.holders.get(address, ()):
            if holding.interface != "lo":
                message = f"{address} is on {holding.interface}, which so answers ARP for it"
                yield Finding(role, message, _remove(holding))


def _judge_proxy(role: str, settings: ProxySettings, seen: Facts) -> Iterator[Finding]:
    for address, port in settings.listeners:
        refusal = seen.ports.get((address, port))
        if refusal is not None:
            yield Finding(role, refusal.sentence, refusal.mend, refuses=True)
        # Any address of ours will do: rules for single addresses are rare.
        packet = Packet("", IPv4Address(address), TCP, port)
        chain = dropped_by(seen.chains, packet)
        if chain:
            message = f"the firewall drops what comes to port {port} ({chain})"
            yield Finding(role, message, _accept(chain, packet))


def _remove(holding: Holding) -> str:
    return f"remove it: ip address delete {holding.address} dev {holding.interface}"


def _accept(chain: str, packet: Packet) -> str:
    what = "protocol vrrp" if packet.protocol == VRRP else f"TCP port {packet.port}"
    return f"accept {what} in it"
