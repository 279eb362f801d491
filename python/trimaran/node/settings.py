"""What the roles that belong to no tier's room are told, and the plan of a whole node."""

from dataclasses import dataclass
from ipaddress import IPv4Address

from trimaran.director.settings import DirectorSettings
from trimaran.node.notices import NotifySettings
from trimaran.proxy.settings import ProxySettings
from trimaran.vrrp.settings import VrrpSettings


@dataclass(frozen=True)
class RealServerRoleSettings:
    """The real server's side of DR: these VIPs on `lo`, hidden from ARP on every interface.
    `state_file` remembers what was found, so that stop (or the next start) can restore it."""

    node: str
    addresses: tuple[IPv4Address, ...]
    state_file: str


RoleSettings = (
    VrrpSettings | DirectorSettings | ProxySettings | RealServerRoleSettings | NotifySettings
)


@dataclass(frozen=True)
class NodePlan:
    """The roles of one node, in starting order; they stop in the reverse order.

    Order matters: tables before addresses (director before vrrp), so that a packet for the VIP
    never reaches a director that could not forward it.
    """

    node: str
    roles: dict[str, RoleSettings]
