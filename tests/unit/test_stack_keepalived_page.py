"""The page of keepalived's keywords, and the table that it is made from."""

from pathlib import Path

import pytest

from trimaran.stack.keepalived_directives import KEEPALIVED
from trimaran.stack.keepalived_page import page

ROOT = Path(__file__).parents[2]


def test_the_published_page_is_current() -> None:
    assert (ROOT / "docs" / "keepalived.md").read_text() == page(), "run tools/keepalived-page"


@pytest.mark.parametrize("context", KEEPALIVED)
def test_whatever_does_nothing_or_is_refused_has_a_reason(context: str) -> None:
    for directive in KEEPALIVED[context].values():
        assert directive.status in ("honoured", "no effect", "refused")
        if directive.status != "honoured":
            assert directive.note, f"{context}: {directive.name}"
            assert directive.note != "not needed here"


# What keepalived's manual (2.4) lists for its VRRP part: none may be unknown to the table.
WORDS = {
    "global_defs": """
        router_id vrrp_version vrrp_mcast_group4 vrrp_mcast_group6 default_interface
        vrrp_garp_master_repeat vrrp_garp_master_delay vrrp_garp_master_refresh
        vrrp_garp_master_refresh_repeat vrrp_garp_lower_prio_repeat vrrp_garp_lower_prio_delay
        vrrp_garp_interval vrrp_gna_interval vrrp_min_garp vrrp_garp_extra_if
        vrrp_down_timer_adverts vrrp_lower_prio_no_advert vrrp_higher_prio_send_advert
        vrrp_owner_ignore_adverts v3_checksum_as_v2 vrrp_check_unicast_src
        vrrp_skip_check_adv_addr vrrp_strict log_unknown_vrids nftables nftables_priority
        nftables_counters nftables_ifindex vrrp_iptables vrrp_ipsets disable_local_igmp
        vmac_prefix vmac_addr_prefix random_seed vrrp_startup_delay vrrp_delay_after_boot
        dynamic_interfaces notify_fifo notify_fifo_script vrrp_notify_fifo
        vrrp_notify_fifo_script lvs_notify_fifo lvs_notify_fifo_script
        vrrp_notify_priority_changes fifo_write_vrrp_states_on_reload script_user
        enable_script_security use_symlink_paths set_supplementary_groups notification_email
        notification_email_from smtp_server smtp_helo_name smtp_connect_timeout smtp_alert
        smtp_alert_vrrp smtp_alert_checker no_email_faults no_checker_emails json_version
        state_dump_file stats_dump_file json_dump_file data_use_instance
        startup_script shutdown_script startup_script_timeout shutdown_script_timeout
        child_wait_time vrrp_priority vrrp_rt_priority vrrp_cpu_affinity vrrp_no_swap
        vrrp_rlimit_rttime max_auto_priority min_auto_priority_delay vrrp_rx_bufs_policy
        vrrp_rx_bufs_multiplier vrrp_netlink_cmd_rcv_bufs vrrp_netlink_monitor_rcv_bufs
        process_monitor_rcv_bufs reload_check_config reload_time_file reload_repeat reload_file
        config_save_dir tmp_config_directory include_check umask process_names
        vrrp_process_name bfd_process_name enable_dbus dbus_service_name snmp_socket
        enable_traps enable_snmp_vrrp enable_snmp_rfc enable_snmp_rfcv2 enable_snmp_rfcv3
    """,
    "vrrp_instance": """
        state interface virtual_router_id priority advert_int virtual_ipaddress
        virtual_ipaddress_excluded no_virtual_ipaddress virtual_routes virtual_rules nopreempt
        preempt preempt_delay unicast_src_ip unicast_peer unicast_ttl check_unicast_src
        unicast_fault_no_peer old_unicast_checksum vrf mcast_src_ip mcast_dst_ip track_src_ip
        version native_ipv6 authentication auth_hmac use_vmac vmac_xmit_base use_vmac_addr
        use_ipvlan accept no_accept dont_track_primary garp_master_delay garp_master_repeat
        garp_master_refresh garp_master_refresh_repeat garp_lower_prio_delay
        garp_lower_prio_repeat garp_interval gna_interval garp_extra_if down_timer_adverts
        lower_prio_no_advert higher_prio_send_advert skip_check_adv_addr strict_mode
        v3_checksum_as_v2 owner_ignore_adverts timer_expired_backup promote_secondaries
        track_interface track_script track_process track_file track_bfd notify notify_master
        notify_backup notify_fault notify_stop notify_deleted notify_master_rx_lower_pri
        notify_priority_changes smtp_alert linkbeat_use_polling debug kernel_rx_buf_size
    """,
    "vrrp_sync_group": """
        group track_interface track_script track_process track_file track_bfd
        sync_group_tracking_weight global_tracking notify notify_master notify_backup
        notify_fault notify_stop notify_priority_changes smtp_alert
    """,
    "vrrp_script": "script interval timeout rise fall weight user init_fail",
    "vrrp_track_process": "process param_match weight quorum quorum_max fork_delay "
    "terminate_delay delay full_command",
    "track_file": "file weight init_file",
    "auth_hmac": "key active_key anti_replay time_window mode",
    "garp_group": "garp_interval gna_interval interface interfaces",
    "the top level": """
        global_defs static_ipaddress static_routes static_rules track_group vrrp_sync_group
        vrrp_instance vrrp_script vrrp_track_process track_file vrrp_track_file bfd_instance
        garp_group linkbeat_interfaces interface_up_down_delays net_namespace instance use_pid_dir
    """,
}


@pytest.mark.parametrize("context", WORDS)
def test_every_keyword_of_the_vrrp_part_is_in_the_table(context: str) -> None:
    missing = set(WORDS[context].split()) - KEEPALIVED[context].keys()
    assert missing == set()
