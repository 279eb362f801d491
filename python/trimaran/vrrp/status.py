"""A virtual router as its node's status shows it (docs/decisions/0002)."""

from typing import Any

from trimaran.vrrp.effects import Master
from trimaran.vrrp.router import Router
from trimaran.vrrp.table import State


def router_status(router: Router, now: float) -> dict[str, Any]:
    """One entry of `routers`. `addresses` are the virtual ones, held or not; `master` is who
    holds them as far as this node knows."""
    settings = router.settings
    return {
        "name": settings.name,
        "router_id": settings.router_id,
        "interface": settings.interface,
        "state": router.state.value,
        "priority": settings.priority,
        "effective_priority": router.effective_priority,
        "version": settings.version,
        "addresses": [str(address) for address in settings.carried],
        "preempts": settings.preempt,
        "lingering": router.lingering,
        "faults": dict(router.standing.faults),
        "weights": router.standing.counted(),
        "master_down_s": round(router.master_down_s, 3),
        "master": _master(router),
        "last_transition": _last_transition(router, now),
        "counters": dict(router.counters),
        "checksum": router.checksum.value if router.checksum else None,
    }


def _master(router: Router) -> dict[str, Any] | None:
    master = router.master
    if router.state is State.MASTER and router.source is not None:
        master = Master(router.source, router.standing.priority)
    if master is None:
        return None
    return {"address": str(master.address), "priority": master.priority}


def _last_transition(router: Router, now: float) -> dict[str, Any] | None:
    if router.last_transition is None:
        return None
    before, after, cause, at = router.last_transition
    return {
        "from": before.value,
        "to": after.value,
        "cause": cause,
        "ago_s": round(now - at, 3),
    }
