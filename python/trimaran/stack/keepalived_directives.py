"""keepalived's keywords (2.2 to 2.4), each with what becomes of it.

Where ignoring a word could leave an address unguarded, a failure unseen or a connection where it
must not be, it is refused; where only comfort is lost (mail, logs, priorities of processes), it is
without effect.
"""

from trimaran.stack.directives import Directive, Table, rows, table
from trimaran.stack.report import Status

_YES: Status = "honoured"
_IDLE: Status = "no effect"
_NO: Status = "refused"
_LATER = "not supported yet"

ROOT, GLOBAL, INSTANCE = "the top level", "global_defs", "vrrp_instance"
AUTHENTICATION, HMAC = "authentication", "auth_hmac"
GARP_GROUP = "garp_group"
SERVICE, REAL = "virtual_server", "real_server"
SCRIPT, PROCESS = "vrrp_script", "vrrp_track_process"
SYNC_GROUP = "vrrp_sync_group"
URL, TLS, TRACK_FILE = "url", "SSL", "track_file"
BFD = "bfd_instance"
CHECKERS = {  # keepalived's word: the kind of stack.checks
    "TCP_CHECK": "tcp", "HTTP_GET": "http", "SSL_GET": "http", "MISC_CHECK": "script",
    "PING_CHECK": "ping", "UDP_CHECK": "udp", "DNS_CHECK": "dns", "SMTP_CHECK": "smtp",
    "FILE_CHECK": "file",
}  # fmt: skip

_PROCESSES = "every role has a process of its own; a unit file sets what this sets"


def _root() -> list[list[Directive]]:
    return [
        rows(_YES, "0", "global_defs", block=True),
        rows(_YES, "1", "vrrp_instance", block=True),
        rows(_YES, "1-2", "virtual_server", block=True),
        rows(_YES, "1", "virtual_server_group", block=True),
        rows(_YES, "1", "vrrp_script vrrp_track_process vrrp_track_file track_file", block=True),
        rows(_YES, "1", "vrrp_sync_group", block=True),
        rows(_YES, "1", "bfd_instance", block=True),
        rows(_YES, "0", "SSL", block=True),
        rows(_YES, "0", "garp_group interface_up_down_delays", block=True),
        rows(_YES, "0", "static_ipaddress static_routes static_rules", block=True),
        rows(_IDLE, "0+", "linkbeat_interfaces linkbeat_use_polling",
             "links are watched by netlink, which is told by the driver", block=None),
        rows(_IDLE, "0+", "track_group",
             "static addresses, routes and rules are put back when interfaces change; "
             "track_interface and track_script move mastership", block=None),
        rows(_NO, "0+", "net_namespace net_namespace_ipvs vrf namespace_with_ipsets",
             "start the daemon in that namespace instead", block=None),
        rows(_IDLE, "0+", "instance use_pid_dir", "every node has its own run directory"),
    ]  # fmt: skip


def _global() -> list[list[Directive]]:
    return [
        rows(_YES, "1", "router_id"),
        rows(_YES, "1", "lvs_id", "the old word for router_id"),
        rows(_YES, "1", "vrrp_version default_interface vrrp_garp_master_delay "
             "vrrp_garp_master_repeat vrrp_garp_master_refresh vrrp_garp_master_refresh_repeat "
             "vrrp_mcast_group4 vrrp_mcast_group6 vrrp_down_timer_adverts vrrp_startup_delay "
             "vrrp_garp_lower_prio_delay vrrp_garp_lower_prio_repeat vrrp_garp_interval "
             "vrrp_gna_interval"),
        rows(_YES, "0-1", "vrrp_lower_prio_no_advert vrrp_check_unicast_src v3_checksum_as_v2"),
        rows(_YES, "1-2", "script_user"),
        rows(_YES, "0", "notification_email", block=True),
        rows(_YES, "1", "notification_email_from smtp_helo_name smtp_connect_timeout"),
        rows(_YES, "1-2", "smtp_server"),
        rows(_YES, "0-1", "smtp_alert smtp_alert_vrrp no_email_faults "
             "vrrp_notify_priority_changes"),
        rows(_IDLE, "0+", "smtp_alert_checker no_checker_emails email_faults",
             "mail is sent of virtual routers alone; `trimaran events` tells of real servers"),
        rows(_YES, "1-3", "notify_fifo vrrp_notify_fifo notify_fifo_script "
             "vrrp_notify_fifo_script"),
        rows(_YES, "0-1", "vrrp_min_garp"),
        rows(_YES, "1-2", "vrrp_garp_extra_if"),
        rows(_YES, "1", "vmac_prefix"),
        rows(_IDLE, "0+", "vrrp_higher_prio_send_advert",
             "a master that yields always says one last word"),
        rows(_IDLE, "0+", "vrrp_owner_ignore_adverts", "two owners settle it as two masters do"),
        rows(_IDLE, "0+", "vrrp_skip_check_adv_addr", "a differing address list is only reported"),
        rows(_IDLE, "0+", "vrrp_strict",
             "authentication stays allowed, and the addresses answer as without it"),
        rows(_IDLE, "0+", "log_unknown_vrids disable_local_igmp vmac_addr_prefix "
             "nftables nftables_priority nftables_counters nftables_ifindex vrrp_iptables "
             "iptables vrrp_ipsets random_seed",
             "no_accept makes an nftables table of its own; nothing else needs one"),
        rows(_IDLE, "0+", "enable_script_security use_symlink_paths "
             "set_supplementary_groups", "a script runs as the user that is given"),
        rows(_NO, "0+", "startup_script shutdown_script",
             "run it by the unit that starts trimaran (ExecStartPre=, ExecStopPost=)"),
        rows(_NO, "0+", "lvs_notify_fifo lvs_notify_fifo_script",
             "follow `trimaran events`, or use notify_up, notify_down and quorum_up"),
        rows(_IDLE, "0+", "startup_script_timeout shutdown_script_timeout",
             "there is no such script"),
        rows(_IDLE, "0+", "child_wait_time", "a role has 30 s to end"),
        rows(_IDLE, "0+", "fifo_write_vrrp_states_on_reload",
             "a virtual router that a reload changes starts anew, and says so"),
        rows(_IDLE, "0+", "process_names process_name vrrp_process_name checker_process_name "
             "bfd_process_name umask vrrp_priority checker_priority bfd_priority vrrp_rt_priority "
             "checker_rt_priority bfd_rt_priority vrrp_cpu_affinity checker_cpu_affinity "
             "bfd_cpu_affinity vrrp_no_swap checker_no_swap bfd_no_swap vrrp_rlimit_rttime "
             "checker_rlimit_rttime bfd_rlimit_rttime vrrp_rlimit_rtime checker_rlimit_rtime "
             "bfd_rlimit_rtime max_auto_priority min_auto_priority_delay", _PROCESSES),
        rows(_IDLE, "0+", "vrrp_delay_after_boot",
             "the first election waits for the master's adverts anyway"),
        rows(_IDLE, "0+", "vrrp_netlink_cmd_rcv_bufs vrrp_netlink_cmd_rcv_bufs_force "
             "vrrp_netlink_monitor_rcv_bufs vrrp_netlink_monitor_rcv_bufs_force "
             "lvs_netlink_cmd_rcv_bufs lvs_netlink_cmd_rcv_bufs_force "
             "lvs_netlink_monitor_rcv_bufs lvs_netlink_monitor_rcv_bufs_force "
             "process_monitor_rcv_bufs process_monitor_rcv_bufs_force vrrp_rx_bufs_policy "
             "vrrp_rx_bufs_multiplier rs_init_notifies", "buffers are sized as needed"),
        rows(_IDLE, "0+", "dynamic_interfaces allow_if_changes",
             "an interface may come and go anyway"),
        rows(_IDLE, "0+", "reload_check_config reload_time_file reload_repeat reload_file "
             "config_save_dir tmp_config_directory include_check", "a reload is checked anyway"),
        rows(_IDLE, "0+", "lvs_flush lvs_flush_on_stop lvs_timeouts nftables_ipvs "
             "nftables_ipvs_priority nftables_ipvs_start_fwmark checker_log_all_failures",
             "the director is eBPF, not ip_vs"),
        rows(_IDLE, "0+", "lvs_sync_daemon lvs_sync_daemon_interface",
             "flows are synchronised by a stack file's `flow_sync` (key and peers), not by ip_vs"),
        rows(_IDLE, "0+", "snmp_socket enable_traps enable_snmp_keepalived enable_snmp_vrrp "
             "enable_snmp_checker enable_snmp_rfc enable_snmp_rfcv2 enable_snmp_rfcv3 "
             "snmp_vs_stats_update_interval snmp_rs_stats_update_interval enable_dbus "
             "dbus_service_name dbus_no_interface_name state_dump_file stats_dump_file "
             "json_dump_file json_version data_use_instance keepalived_script_user "
             "disable_script_security",
             "`trimaran vrrp dump`, `trimaran status --json` and `trimaran events` tell"),
        rows(_NO, "0+", "net_namespace net_namespace_ipvs",
             "start the daemon in that namespace instead"),
    ]  # fmt: skip


def _instance() -> list[list[Directive]]:
    return [
        rows(_YES, "1", "state interface virtual_router_id priority advert_int version "
             "preempt_delay garp_master_delay garp_master_repeat garp_master_refresh "
             "garp_master_refresh_repeat down_timer_adverts mcast_src_ip mcast_dst_ip "
             "garp_lower_prio_delay garp_lower_prio_repeat garp_interval gna_interval "
             "unicast_src_ip unicast_ttl"),
        rows(_YES, "0-1", "nopreempt preempt accept lower_prio_no_advert v3_checksum_as_v2 "
             "check_unicast_src old_unicast_checksum dont_track_primary"),
        rows(_YES, "0", "unicast_peer virtual_ipaddress_excluded track_script track_process "
             "track_file track_bfd", block=True),
        rows(_YES, "0", "authentication", block=True),
        rows(_YES, "0", "virtual_ipaddress", block=True),
        rows(_YES, "0", "track_interface", block=True),
        rows(_YES, "0-4", "use_vmac"),
        rows(_YES, "0", "vmac_xmit_base"),
        rows(_YES, "0-1", "no_accept promote_secondaries"),
        rows(_YES, "0-1", "track_src_ip",
             "an instance whose source address is gone is in FAULT anyway"),
        rows(_YES, "1-2", "garp_extra_if"),
        rows(_NO, "0+", "use_ipvlan",
             "an ipvlan has the MAC of its interface: leave it out, or write `use_vmac`"),
        rows(_IDLE, "0+", "use_vmac_addr",
             "an address on another interface is announced with that interface's MAC"),
        rows(_IDLE, "0+", "native_ipv6", "the family is that of the addresses"),
        rows(_IDLE, "0+", "higher_prio_send_advert",
             "a master that yields always says one last word"),
        rows(_IDLE, "0+", "owner_ignore_adverts", "two owners settle it as two masters do"),
        rows(_IDLE, "0+", "strict_mode",
             "authentication stays allowed, and the addresses answer as without it"),
        rows(_IDLE, "0+", "skip_check_adv_addr", "a differing address list is only reported"),
        rows(_IDLE, "0+", "unicast_fault_no_peer", "unicast without a peer is refused anyway"),
        rows(_YES, "0-1", "smtp_alert notify_priority_changes"),
        rows(_YES, "1-3", "notify notify_master notify_backup notify_fault notify_stop "
             "notify_master_rx_lower_pri"),
        rows(_IDLE, "0+", "notify_deleted",
             "a virtual router that a reload takes away is told of as STOP"),
        rows(_IDLE, "0+", "debug", "`trimaran events` tells"),
        rows(_IDLE, "0+", "linkbeat_use_polling linkbeat_interfaces",
             "links are watched by netlink, which is told by the driver"),
        rows(_IDLE, "0+", "kernel_rx_buf_size", "the kernel drops what is not for us"),
        rows(_IDLE, "0+", "timer_expired_backup",
             "whoever was asleep longer than its peers wait steps down, whatever is written"),
        rows(_NO, "0+", "no_virtual_ipaddress",
             "a virtual router needs an address; write one on lo (`dev lo`) to elect alone"),
        rows(_IDLE, "0+", "lvs_sync_daemon_interface lvs_sync_daemon_inteface",
             "flows are synchronised by a stack file's `flow_sync` (key and peers), not by ip_vs"),
        rows(_YES, "0", "virtual_routes virtual_rules", block=True),
        rows(_YES, "0", "auth_hmac", block=True),
        rows(_NO, "0+", "vrf", "not possible: run a daemon in that VRF (`ip vrf exec`)"),
    ]  # fmt: skip


_TIMING = "delay_loop retry delay_before_retry connect_timeout warmup"


def _service() -> list[list[Directive]]:
    return [
        rows(_YES, "1", f"{_TIMING} lb_algo lvs_sched protocol quorum hysteresis ip_family"),
        rows(_YES, "1-6", "lb_kind lvs_method"),
        rows(_YES, "1", "nb_get_retry", "the old word for retry"),
        rows(_YES, "1-2", "real_server", block=True),
        rows(_YES, "0-1", "alpha omega inhibit_on_failure sorry_server_inhibit log_all_failures "
             "ha_suspend"),
        rows(_YES, "1", "virtualhost"),
        rows(_YES, "1-2", "sorry_server"),
        rows(_YES, "1-3", "quorum_up quorum_down"),
        rows(_IDLE, "0+", "snmp_name smtp_alert", "nothing uses it"),
        rows(_YES, "0", "sh-port sh-fallback mh-port mh-fallback flag-1 flag-2"),
        rows(_IDLE, "0+", "flag-3 hashed", "no scheduler heeds it"),
        rows(_IDLE, "0+", "lvs_netlink_cmd_rcv_bufs", "buffers are sized as needed"),
        rows(_YES, "0-1", "persistence_timeout"),
        rows(_YES, "1", "persistence_granularity"),
        rows(_NO, "0+", "persistence_engine",
             f"{_LATER}: a client would not stay with its real server"),
        rows(_YES, "1+", "sorry_server_lvs_method"),
        rows(_YES, "0", "ops"),
    ]  # fmt: skip


def _real() -> list[list[Directive]]:
    return [
        rows(_YES, "1", f"{_TIMING} weight"),
        rows(_YES, "1-6", "lvs_method"),
        rows(_YES, "1", "nb_get_retry", "the old word for retry"),
        rows(_YES, "0", " ".join(CHECKERS), block=True),
        rows(_YES, "0-1", "alpha inhibit_on_failure log_all_failures"),
        rows(_YES, "1", "virtualhost"),
        rows(_YES, "1-3", "notify_up notify_down"),
        rows(_IDLE, "0+", "snmp_name smtp_alert", "nothing uses it"),
        rows(_YES, "1", "uthreshold lthreshold"),
        rows(_NO, "0+", "BFD_CHECK", f"{_LATER}: this failure would not be seen", block=None),
    ]  # fmt: skip


def _checker() -> list[list[Directive]]:
    """What every checker knows."""
    return [
        rows(_YES, "1", f"{_TIMING}"),
        rows(_YES, "1", "nb_get_retry", "the old word for retry"),
        rows(_YES, "0-1", "alpha log_all_failures"),
    ]


def _connecting() -> list[list[Directive]]:
    return [*_checker(), rows(_YES, "1", "connect_ip connect_port bindto bind_if bind_port fwmark")]


def _http() -> list[list[Directive]]:
    return [
        *_connecting(),
        rows(_YES, "0", "url", block=True),
        rows(_YES, "1", "http_protocol virtualhost"),
        rows(_YES, "0-1", "fast_recovery", "every url is asked for at every check"),
        rows(_IDLE, "0-1", "tls_compliant", "a connection may end without TLS's own farewell"),
    ]


def _url() -> list[list[Directive]]:
    return [
        rows(_YES, "1", "path digest virtualhost regex regex_min_offset regex_max_offset"),
        rows(_YES, "1+", "status_code regex_options"),
        rows(_YES, "0", "regex_no_match"),
        rows(_IDLE, "0+", "regex_stack", "the matcher has no stack to be sized"),
        rows(_IDLE, "0-1", "tls_compliant", "a connection may end without TLS's own farewell"),
    ]


KEEPALIVED: Table = table(
    {
        ROOT: _root(),
        GLOBAL: _global(),
        INSTANCE: _instance(),
        AUTHENTICATION: [rows(_YES, "1", "auth_type auth_pass")],
        GARP_GROUP: [
            rows(_YES, "1", "garp_interval gna_interval interface"),
            rows(_YES, "0", "interfaces", block=True),
        ],
        HMAC: [
            rows(_YES, "2", "key"),
            rows(_YES, "1", "active_key anti_replay time_window mode"),
        ],
        SERVICE: _service(),
        REAL: _real(),
        SCRIPT: [
            rows(_YES, "1+", "script user"),
            rows(_YES, "1", "interval timeout rise fall weight"),
            rows(_YES, "0", "init_fail"),
        ],
        PROCESS: [
            rows(_YES, "1+", "process"),
            rows(_YES, "1", "quorum quorum_max weight param_match"),
            rows(_YES, "1", "delay fork_delay terminate_delay"),
            rows(_YES, "0-1", "full_command", "the whole command line is looked at anyway"),
        ],
        TRACK_FILE: [
            rows(_YES, "1", "file weight"),
            rows(_IDLE, "0+", "init_file", "a file that is not there counts as 0"),
        ],
        BFD: [
            rows(_YES, "1", "neighbor_ip source_ip min_rx min_tx idle_tx multiplier max_hops"),
            rows(_YES, "1", "ttl hoplimit"),
            rows(_YES, "1-2", "weight"),
            rows(_YES, "0", "passive"),
            rows(_IDLE, "0", "vrrp checker", "whoever tracks it hears of it"),
            rows(_NO, "0", "multihop", "its port is not spoken; sessions are with neighbours"),
        ],
        SYNC_GROUP: [
            rows(_YES, "0", "group", block=True),
            rows(_YES, "0-1", "smtp_alert notify_priority_changes"),
            rows(_YES, "0", "global_tracking sync_group_tracking_weight"),
            rows(_YES, "1-3", "notify notify_master notify_backup notify_fault notify_stop"),
            rows(
                _YES,
                "0",
                "track_interface track_script track_file track_process track_bfd",
                block=True,
            ),
        ],
        "TCP_CHECK": _connecting(),
        "HTTP_GET": _http(),
        "SSL_GET": [*_http(), rows(_YES, "0-1", "enable_sni"), rows(_YES, "1", "sni_name")],
        URL: _url(),
        "SMTP_CHECK": [*_connecting(), rows(_YES, "1", "helo_name")],
        "DNS_CHECK": [*_connecting(), rows(_YES, "1", "type name")],
        "PING_CHECK": _connecting(),
        "UDP_CHECK": [
            *_connecting(),
            rows(_YES, "1", "min_reply_length max_reply_length"),
            rows(_YES, "1+", "payload"),
            rows(_YES, "0+", "require_reply"),
        ],
        "MISC_CHECK": [
            *_checker(),
            rows(_YES, "1", "misc_path misc_timeout"),
            rows(_YES, "0-1", "misc_dynamic"),
            rows(_YES, "1-2", "user"),
        ],
        "FILE_CHECK": [
            *_checker(),
            rows(_YES, "1", "track_file"),
            rows(_YES, "1-2", "weight"),
            rows(_IDLE, "0-1", "dynamic", "a weight is always that of now"),
        ],
        TLS: [
            rows(_YES, "1", "certificate key"),
            rows(_IDLE, "1", "ca", "keepalived verifies no certificate; tls.verify does"),
            rows(_NO, "1", "password", "keys in clear only: decrypt it, and guard the file"),
        ],
    }
)
