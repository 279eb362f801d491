"""A virtual router in the shape of keepalived's JSON (SIGJSON), for what reads that. Pure.

What keepalived has and we have not is left out, or stands at the value that it has without it."""

from typing import Any

from trimaran.vrrp.router import Router
from trimaran.vrrp.table import State

_STATES = {State.BACKUP: 1, State.MASTER: 2, State.FAULT: 3}  # 0 is INIT
_STATISTICS = {  # keepalived's word: ours
    "advert_rcvd": ("adverts_received", "priority_zero_received"),
    "advert_sent": ("adverts_sent", "priority_zero_sent"),
    "become_master": ("became_master",),
    "release_master": ("released_master",),
    "packet_len_err": ("rejected_length", "rejected_truncated"),
    "advert_interval_err": ("rejected_interval",),
    "ip_ttl_err": ("rejected_ttl",),
    "invalid_type_rcvd": ("rejected_type",),
    "addr_list_err": (),
    "invalid_authtype": (),
    "authtype_mismatch": ("rejected_authentication_type",),
    "auth_failure": ("rejected_authentication",),
    "auth_ext_missing": ("rejected_unsigned",),
    "auth_ext_malformed": ("rejected_trailer",),
    "auth_ext_unknown_key": ("rejected_key",),
    "auth_ext_stale": ("rejected_stale",),
    "auth_ext_replay": ("rejected_replay",),
    "pri_zero_rcvd": ("priority_zero_received",),
    "pri_zero_sent": ("priority_zero_sent",),
}


def dump(router: Router, wall_of_now: float, now: float) -> dict[str, Any]:
    """One entry of keepalived's array. Secrets are in none of it. `wall_of_now` is the time of day
    at `now`."""
    settings, standing = router.settings, router.standing
    changed = router.last_transition
    state = _STATES.get(router.state, 0)
    advertised = router.state is State.MASTER
    return {
        "data": {
            "iname": settings.name,
            "dont_track_primary": int(not settings.track_own_interface),
            "skip_check_adv_addr": 1,
            "strict_mode": 0,
            "vmac_ifname": settings.vmac.name if settings.vmac else "",
            "ifp_ifname": settings.interface,
            "master_priority": router.master.priority if router.master else 0,
            "last_transition": 0.0 if changed is None else wall_of_now - (now - changed[3]),
            "garp_delay": settings.garp_delay_s,
            "garp_refresh": settings.garp_refresh_s,
            "garp_rep": settings.garp_repeat,
            "garp_refresh_rep": settings.garp_refresh_repeat,
            "garp_lower_prio_delay": settings.garp_weaker_delay_s,
            "garp_lower_prio_rep": settings.garp_weaker_repeat,
            "lower_prio_no_advert": int(not settings.answer_weaker),
            "higher_prio_send_advert": 1,
            "vrid": settings.router_id,
            "base_priority": settings.priority,
            "effective_priority": standing.priority,
            "vipset": advertised,
            "promote_secondaries": settings.promote_secondaries,
            "adver_int": settings.advert_interval_s,
            "master_adver_int": router.interval_s,
            "accept": int(settings.accept),
            "nopreempt": not settings.preempt,
            "preempt_delay": settings.preempt_delay_s,
            "state": state,
            "wantstate": state,
            "version": settings.version,
            "vips": [str(each) for each in settings.addresses],
            "evips": [str(each) for each in settings.unadvertised],
            "vroutes": [each.text for each in settings.belongings.routes],
            "vrules": [each.text for each in settings.belongings.rules],
            "track_ifp": [each.name for each in settings.tracks if each.kind == "interface"],
            "track_script": [each.name for each in settings.tracks if each.kind == "watch"],
            "auth_type": 2 if settings.ah else int(settings.password is not None),
        },
        "stats": {
            word: sum(router.counters[each] for each in ours) for word, ours in _STATISTICS.items()
        },
    }
