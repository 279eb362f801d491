"""From a plan to what the supervisor runs."""

import socket
from collections.abc import Mapping

from trimaran.node.keeper import RoleSpec
from trimaran.node.plain import to_plain
from trimaran.node.settings import NodePlan, RoleSettings
from trimaran.proxy.settings import ProxySettings
from trimaran.system.sockets import listen_tcp

MODULES = {
    "director": "trimaran.node.director_role",
    "real_server": "trimaran.node.real_server_role",
    "proxy": "trimaran.node.proxy_role",
    "site": "trimaran.node.proxy_role",
    "vrrp": "trimaran.node.vrrp_role",
}


def specs(plan: NodePlan, modules: Mapping[str, str] = MODULES) -> list[RoleSpec]:
    """What each role of the plan is made of, in starting order. `modules` maps a role's kind to
    the module that its process runs."""
    return [_spec(name, settings, modules) for name, settings in plan.roles.items()]


def _spec(name: str, settings: RoleSettings, modules: Mapping[str, str]) -> RoleSpec:
    module = modules[name.partition(":")[0]]
    if not isinstance(settings, ProxySettings):
        return RoleSpec(name, module, to_plain(settings))

    def listen() -> list[socket.socket]:
        """All the sockets or none. Raises CannotRunError."""
        several = int(settings.http.get("workers", 1)) > 1
        opened: list[socket.socket] = []
        try:
            for address, port in settings.listeners:
                opened.append(listen_tcp(address, port, reuse_port=several))
        except BaseException:
            for each in opened:
                each.close()
            raise
        return opened

    return RoleSpec(name, module, to_plain(settings), listen)
