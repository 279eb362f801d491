"""From a plan to what the supervisor runs."""

from collections.abc import Mapping

from trimaran.director.settings import DirectorSettings
from trimaran.node.keeper import Listeners, RoleSpec
from trimaran.node.plain import to_plain
from trimaran.node.settings import NodePlan, RoleSettings
from trimaran.proxy.settings import ProxySettings
from trimaran.system.sockets import listen_tcp

MODULES = {
    "director": "trimaran.node.director_role",
    "real_server": "trimaran.node.real_server_role",
    "proxy": "trimaran.node.proxy_role",
    "site": "trimaran.node.proxy_role",
    "notify": "trimaran.node.notify_role",
    "vrrp": "trimaran.node.vrrp_role",
}


def specs(
    plan: NodePlan, lock: int | None = None, modules: Mapping[str, str] = MODULES
) -> list[RoleSpec]:
    """What each role of the plan is made of, in starting order. Every role holds the descriptor
    `lock` until it ends; `modules` maps a role's kind to the module that its process runs."""
    inherited = () if lock is None else (lock,)
    return [
        _spec(name, settings, modules[name.partition(":")[0]], inherited)
        for name, settings in plan.roles.items()
    ]


def _spec(name: str, settings: RoleSettings, module: str, inherited: tuple[int, ...]) -> RoleSpec:
    if not isinstance(settings, ProxySettings):
        changes = isinstance(settings, DirectorSettings)
        return RoleSpec(name, module, to_plain(settings), inherited=inherited, changes=changes)

    def listen(held: Listeners) -> Listeners:
        """All the sockets, those of `held` among them, or none is opened. Raises CannotRunError."""
        several = int(settings.http.get("workers", 1)) > 1
        there = {each.getsockname(): each for each in held}
        opened: Listeners = []
        try:
            for door in settings.listeners:
                if door not in there:
                    there[door] = listen_tcp(*door, reuse_port=several)
                    opened.append(there[door])
        except BaseException:
            for each in opened:
                each.close()
            raise
        return [there[door] for door in settings.listeners]

    changes = bool(settings.http["upstreams"])
    return RoleSpec(name, module, to_plain(settings), listen, inherited, True, changes)
