"""keepalived.conf: the classic files, the grammar's corners, and every refusal."""
# ruff: noqa: E501 - golden texts stay on one line

from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from stack_files import MemoryFiles

from trimaran.stack.authentication import Authentication
from trimaran.stack.balancing import Persistence
from trimaran.stack.errors import StackError
from trimaran.stack.keepalived import read_keepalived
from trimaran.stack.keepalived_directives import KEEPALIVED
from trimaran.stack.model import (
    Check,
    Node,
    RealServer,
    Stack,
    Tracking,
    VirtualRouter,
    VirtualService,
)
from trimaran.stack.report import Note, remarkable, summary
from trimaran.stack.yaml import read_stack

EXAMPLES = Path(__file__).parents[2] / "examples" / "seven-nodes"
NODE2 = (EXAMPLES / "classic" / "node2.keepalived.conf").read_text()
NODE3 = (EXAMPLES / "classic" / "node3.keepalived.conf").read_text()

INSTANCE = """vrrp_instance VI {
    interface ens33
    virtual_router_id 7
    virtual_ipaddress {
        10.0.0.1
    }
    OPTION
}
"""
SERVICE = """virtual_server 10.0.0.1 80 {
    lb_kind DR
    lb_algo rr
    OPTION
    real_server 10.0.0.2 80 {
        REAL
        TCP_CHECK {
            CHECK
        }
    }
}
"""


def instance(option: str = "") -> str:
    return INSTANCE.replace("OPTION", option)


def service(option: str = "", real: str = "", check: str = "") -> str:
    return SERVICE.replace("OPTION", option).replace("REAL", real).replace("CHECK\n", check + "\n")


def read(text: str, **files: str) -> tuple[Stack, list[Note]]:
    names = {name.replace("_", "."): content for name, content in files.items()}
    return read_keepalived(text, "k.conf", MemoryFiles(names))


def router(text: str) -> VirtualRouter:
    return next(iter(read(text)[0].virtual_routers.values()))


def only_service(text: str) -> VirtualService:
    return next(iter(read(text)[0].virtual_services.values()))


def problems(text: str, **files: str) -> list[str]:
    with pytest.raises(StackError) as caught:
        read(text, **files)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "name", "priority"), [(NODE2, "director1", 151), (NODE3, "director2", 101)]
)
def test_the_classic_files_load_as_they_stand(text: str, name: str, priority: int) -> None:
    stack, notes = read_keepalived(text, "k.conf")
    assert stack == Stack(
        nodes={name: Node(interface="ens33")},
        virtual_routers={
            "VI_1": VirtualRouter(
                router_id=51,
                addresses=(IPv4Interface("192.168.31.145/32"),),
                authentication=Authentication(type="pass", password=SecretStr("1111")),
                track=Tracking(own_services=False),
                members={name: priority},
            )
        },
        virtual_services={
            "192.168.31.145:80": VirtualService(
                listen="192.168.31.145:80",
                scheduler="rr",
                real_servers={
                    "192.168.31.165:80": RealServer(),
                    "192.168.31.179:80": RealServer(),
                },
                check=Check(interval=3, timeout=3, retries=3, retry_delay=3),
            )
        },
    )
    assert summary(notes) == "32 of 32 options honoured"
    told = [note for note in remarkable(notes) if note.status != "warning"]
    assert [note.word for note in notes if note.status == "warning"] == (
        ["state"] if "MASTER" in text else []
    )
    assert [(note.place.line, note.word, note.message) for note in told] == [
        (4, "lvs_id", "the old word for router_id"),
        (32, "nb_get_retry", "the old word for retry"),
        (42, "nb_get_retry", "the old word for retry"),
    ]


def test_the_classic_file_says_what_the_stack_file_says() -> None:
    classic, _ = read_keepalived(NODE2, "k.conf", node="node2")
    stack, _ = read_stack((EXAMPLES / "stack.yaml").read_text(), "stack.yaml")
    ours, theirs = classic.virtual_routers["VI_1"], stack.virtual_routers["front"]
    members = {"node2": theirs.members["node2"]}
    tracks = Tracking(own_services=False)  # keepalived's priority heeds no quorum
    assert ours == theirs.model_copy(update={"members": members, "track": tracks})
    mine, other = classic.virtual_services["192.168.31.145:80"], stack.virtual_services["web"]
    assert (mine.scheduler, mine.forward, mine.protocol) == (
        other.scheduler,
        other.forward,
        other.protocol,
    )
    assert mine.check is not None and other.check is not None
    assert mine.check == other.check.model_copy(update={"retry_delay": 3.0})
    assert [IPv4Address(name.split(":")[0]) for name in mine.real_servers] == [
        stack.nodes[name].address for name in other.real_servers
    ]


def test_the_caller_may_name_the_node() -> None:
    stack, _ = read_keepalived(NODE2, "k.conf", node="node2")
    assert list(stack.nodes) == ["node2"]
    assert stack.virtual_routers["VI_1"].members == {"node2": 151}


def test_defaults_are_those_of_keepalived() -> None:
    plain = router(instance())
    assert (plain.advert_interval, plain.preempt, plain.members) == (1.0, True, {"node": 100})
    assert (plain.gratuitous_arp.repeat, plain.gratuitous_arp.delay) == (5, 5.0)
    checked = only_service(service())
    assert checked.check == Check(interval=60, timeout=5, retries=1, retry_delay=1, rise=1)
    unchecked = only_service(service().replace("TCP_CHECK {\n            \n        }", ""))
    assert unchecked.check is None
    assert [server.check for server in unchecked.real_servers.values()] == [None]


def test_the_master_state_without_priority_is_the_owner() -> None:
    assert router(instance("state MASTER")).members == {"node": 255}


def test_options_of_an_instance_are_honoured() -> None:
    text = instance(
        "nopreempt\n preempt_delay 5\n advert_int 3\n mcast_src_ip 10.0.0.9\n"
        " garp_master_delay 1\n track_interface {\n ens33\n }\n state BACKUP"
    )
    stack, notes = read("global_defs {\n vrrp_garp_master_repeat 2\n}\n" + text)
    found = stack.virtual_routers["VI"]
    assert (found.preempt, found.preempt_delay, found.advert_interval) == (False, 5.0, 3.0)
    assert (found.gratuitous_arp.repeat, found.gratuitous_arp.delay) == (2, 1.0)
    assert stack.nodes["node"] == Node(address=IPv4Address("10.0.0.9"), interface="ens33")
    assert sorted(note.message for note in remarkable(notes)) == [
        "in version 2 a member with another interval is not heard: two masters; "
        "write the same on every member",
        "preempt_delay has no effect where preempt is false",
    ]


def test_timing_is_inherited_from_service_to_check() -> None:
    text = service("delay_loop 9\n retry 4", "connect_timeout 2", "retry 5\n connect_port 81")
    [server] = only_service(text).real_servers.values()
    check = server.check or only_service(text).check
    assert check is not None
    assert (check.interval, check.retries, check.timeout, check.tcp.port) == (9, 5, 2, 81)


def test_an_address_may_have_a_length_and_a_label() -> None:
    text = instance().replace("10.0.0.1", "10.0.0.1/24 dev ens33 label ens33:1")
    assert router(text).addresses == (IPv4Interface("10.0.0.1/24"),)
    [note] = remarkable(read(text)[1])
    assert (note.status, note.message) == (
        "no effect",
        "label ens33:1; the address is honoured",
    )


def test_comments_quotes_and_braces_on_their_own_line() -> None:
    text = """
# a comment
global_defs { ! another
    router_id "lb 1" # not a node's name
}
vrrp_instance "VI one"
{
    interface ens33
    virtual_router_id 7
    authentication {
        auth_type PASS
        auth_pass "a#b!c{"
    }
    virtual_ipaddress { 10.0.0.1 }
}
"""
    stack, notes = read(text)
    found = stack.virtual_routers["VI one"]
    assert found.authentication is not None and found.authentication.password is not None
    assert found.authentication.password.get_secret_value() == "a#b!c{"
    assert list(stack.nodes) == ["node"]
    assert [note.message for note in remarkable(notes)] == [
        "not possible as a name of a node: it is called 'node'"
    ]


def test_definitions_and_includes() -> None:
    text = """
$VIP=10.0.0.1
$NET = ${VIP}/24
$BODY= virtual_ipaddress { \\
    $NET \\
  }
include parts/*.conf
vrrp_instance VI {
    include common.inc
    interface $IFACE
    $BODY
}
"""
    files = {
        "parts/a.conf": "$IFACE=ens33\nglobal_defs {\n  router_id lb1\n}",
        "common.inc": "virtual_router_id 7\npriority 300\n",
    }
    with pytest.raises(StackError) as caught:
        read_keepalived(text, "k.conf", MemoryFiles(files))
    assert [str(problem) for problem in caught.value.problems] == [
        "common.inc:2:1: 'priority' takes a number from 1 to 255, not 300"
    ]
    files["common.inc"] = "virtual_router_id 7\n"
    stack, notes = read_keepalived(text, "k.conf", MemoryFiles(files))
    assert stack.nodes == {"lb1": Node(interface="ens33")}
    assert stack.virtual_routers["VI"].addresses == (IPv4Interface("10.0.0.1/24"),)
    assert remarkable(notes) == []


def test_a_missing_include_and_an_unknown_variable_are_told() -> None:
    notes = read("include nothing.conf\n" + instance("debug $LEVEL"))[1]
    assert [str(note) for note in remarkable(notes)[:2]] == [
        "k.conf:1:1: include: warning: no file matches 'nothing.conf'",
        "k.conf:8:5: debug: no effect: `trimaran events` tells",
    ]
    assert "k.conf:8:11: $LEVEL: unknown: is not defined; taken as it is written" in map(str, notes)


def test_endless_includes_and_definitions_are_bounded() -> None:
    assert problems("include k.conf", k_conf="include k.conf") == [
        "k.conf:1:1: files included deeper than 16; does one include itself?"
    ]
    bomb = "$A=$B$B$B\n$B=$A$A$A\n"
    assert problems(bomb + instance("debug $A"))[0].endswith("a definition without end")


def test_an_unknown_word_is_a_warning_with_the_nearest() -> None:
    notes = remarkable(read(instance("priorty 5\n    lb_algo rr"))[1])
    assert [str(note) for note in notes] == [
        "k.conf:7:5: priorty: unknown: not known; did you mean 'priority'?",
        "k.conf:8:5: lb_algo: unknown: does not belong here; it belongs into virtual_server",
    ]


def test_options_without_effect_are_listed() -> None:
    text = "global_defs {\n  umask 022\n}\n" + instance("debug")
    notes = read(text)[1]
    assert summary(notes) == "6 of 8 options honoured, 2 without effect"
    assert [str(note) for note in remarkable(notes)] == [
        "k.conf:2:3: umask: no effect: every role has a process of its own; "
        "a unit file sets what this sets",
        "k.conf:10:5: debug: no effect: `trimaran events` tells",
    ]


REFUSED = [
    (instance("version 4"), "7:5: 'version' takes a number from 2 to 3, not 4"),
    (instance("version 3\nadvert_int 41"), "8:1: 'advert_int' takes 0.01 to 40.95 seconds, not 41"),
    (instance("priority 300"), "7:5: 'priority' takes a number from 1 to 255, not 300"),
    (instance("priority high"), "7:5: 'priority' takes a whole number from 1 to 255, not 'high'"),
    (instance("priority"), "7:5: 'priority' takes 1 argument, not 0"),
    (instance("advert_int 0.5"), "7:5: 'advert_int' takes 1 to 255 seconds, not 0.5"),
    (instance("advert_int 1.5"), "7:5: 'advert_int' 1.5: VRRP version 2 has whole seconds (write `version 3`)"),
    (instance("state FAULT"), "7:5: 'state' 'FAULT' is not possible yet (allowed: backup, master)"),
    (instance("unicast_peer {\n}"), "7:5: 'unicast_peer' names no peer"),
    (instance("unicast_peer {\n10.0.0.3 min_ttl\n}"), "8:1: '10.0.0.3' takes an address, and min_ttl and max_ttl with a number each"),
    (instance("track_script {\nx\n}"), "8:1: 'x' there is no vrrp_script of that name"),
    (instance("track_interface {\neth9 heavy\n}"), "8:1: 'eth9' takes `weight` and `reverse`, not 'heavy'"),
    (instance("track_bfd {\nx\n}"), "8:1: 'x' there is no bfd_instance of that name"),
    ("bfd_instance x {\nneighbor_ip 10.0.0.9\nmin_rx 0.5\n}\n" + instance("track_bfd {\nx\n}"), "3:1: 'min_rx' takes 1 to 10000 milliseconds, not 0.5"),
    ("bfd_instance x {\nmin_rx 10\n}\n" + instance("track_bfd {\nx\n}"), "1:1: 'bfd_instance' needs 'neighbor_ip'"),
    ("bfd_instance x {\nneighbor_ip 10.0.0.9\nmultihop\n}\n", "3:1: 'multihop' is refused (its port is not spoken; sessions are with neighbours)"),
    (instance("authentication {\nauth_type PASS\n}"), "7:5: 'authentication' needs 'auth_pass'"),
    (instance().replace("interface ens33", ""), "1:1: 'vrrp_instance' needs 'interface'"),
    (instance().replace("10.0.0.1", "fe80::1::2"), "5:9: 'fe80::1::2' 'fe80::1::2' is not an IP address"),
    (instance().replace("10.0.0.1", ""), "4:5: 'virtual_ipaddress' holds no address"),
    (instance() + instance(), "9:1: 'vrrp_instance' 'VI' is there already, in line 1"),
    (service("lb_algo wlx"), "4:5: 'lb_algo' 'wlx' is not possible yet (one of rr, wrr, lc, wlc, sh, dh, mh, sed, nq, fo, ovf, twos, lblc, lblcr)"),
    (service("lb_kind NAT"), "4:5: 'lb_kind' 'NAT' is not possible yet (write `lvs_method DR` or `lvs_method TUN`: NAT is not supported yet)"),
    (service().replace("lb_kind DR", ""), "1:1: 'virtual_server' has no 'lb_kind', so keepalived's default NAT is meant (write `lvs_method DR` or `lvs_method TUN`: NAT is not supported yet)"),
    (service("protocol SCTP"), "4:5: 'protocol' 'SCTP' is not possible yet (allowed: tcp, udp)"),
    (service("persistence_timeout 0"), "4:5: 'persistence_timeout' takes a number from 1 to 2678400, not 0"),
    (service("persistence_granularity 255.0.255.0"), "4:5: 'persistence_granularity' '255.0.255.0' is neither an IPv4 netmask nor a prefix length"),
    (service("persistence_engine sip"), "4:5: 'persistence_engine' is refused (not supported yet: a client would not stay with its real server)"),
    (service(real="TCP_CHECK {\n}\nuthreshold x"), "8:1: 'uthreshold' takes a whole number from 0 to 2147483647, not 'x'"),
    (service(real="TCP_CHECK {\n}\nweight 65536"), "8:1: 'weight' takes a number from 0 to 65535, not 65536"),
    (service("quorum -1"), "4:5: 'quorum' takes a number from 0 to 1000000000, not -1"),
    (service(real="HTTP_GET {\n}"), "6:9: 'HTTP_GET' needs a 'url { … }' block"),
    (service(real="BFD_CHECK {\nname x\n}"), "6:9: 'BFD_CHECK' is refused (not supported yet: this failure would not be seen)"),
    (service().replace("10.0.0.2 80", "10.0.0.2 8080"), "5:5: 'real_server' port 8080 differs from the service's port 80 (direct routing (DR) cannot change the port)"),
    (service().replace("10.0.0.1 80", "10.0.0.1"), "5:5: 'real_server' port 80 differs from the service's port 0 (direct routing (DR) cannot change the port)"),
    (service().replace("10.0.0.1 80", "fwmark 7"), "1:1: 'virtual_server' by fwmark is not supported yet (write `virtual_server ADDRESS PORT`)"),
    (service() + service(), "12:1: 'virtual_server' '10.0.0.1:80' is there already, in line 1"),
    ("vrrp_sync_group G {\n}", "1:1: 'vrrp_sync_group' needs 'group'"),
    ("vrrp_instance VI\n", "1:1: 'vrrp_instance' opens a block: '{' is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), REFUSED, ids=[each[:60] for _, each in REFUSED])
def test_what_cannot_be_obeyed_is_refused(text: str, expected: str) -> None:
    assert problems(text) == [f"k.conf:{expected}"]


def test_the_report_of_a_refused_file_is_complete() -> None:
    with pytest.raises(StackError) as caught:
        read(instance("notify /x\n priority 0\n debug"))
    assert summary(caught.value.notes) == "5 of 8 options honoured, 1 without effect, 2 refused"
    assert [problem.place.line for problem in caught.value.problems] == [7, 8]


def test_the_password_is_shown_nowhere() -> None:
    text = instance("authentication {\nauth_type PASS\nauth_pass s3$cr3t-long\n}")
    stack, notes = read(text)
    assert "cr3t" not in f"{stack!r} {stack.model_dump_json()} {notes!r}"
    assert [note.message for note in remarkable(notes)] == [
        "longer than 8 bytes: only the first 8 are used, as VRRPv2 has no room for more"
    ]
    wrong = problems(instance("authentication {\nauth_type PASS\nauth_pass s3cr3t s3cr3t\n}"))
    assert "s3cr3t" not in "".join(wrong)


def test_the_table_knows_the_keywords() -> None:
    assert sum(len(names) for names in KEEPALIVED.values()) > 300


WORDS = sorted({name for names in KEEPALIVED.values() for name in names})
PIECES = st.sampled_from([*WORDS, "{", "}", "\n", "10.0.0.1", "80", "DR", "rr", "ens33", "-1", '"'])


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=40).map(" ".join) | st.text(max_size=80))
def test_any_text_is_a_stack_or_a_stack_error(text: str) -> None:
    try:
        read(text)
    except StackError as error:
        assert error.problems


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_file_is_a_stack_or_a_stack_error(data: st.DataObject) -> None:
    lines = NODE2.split("\n")
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, len(lines) - 1))
        lines[where] = data.draw(st.sampled_from(["", "}", *lines]) | PIECES)
    try:
        read("\n".join(lines))
    except StackError as error:
        assert all(problem.place.line <= len(lines) + 1 for problem in error.problems)


DEEP = """global_defs {
    router_id a
    script_user nobody
    vrrp_startup_delay 2
    vrrp_lower_prio_no_advert
}
vrrp_script up {
    script "/bin/test -e /run/up"
    interval 2
    fall 3
    weight -20
}
track_file load {
    file /run/load
}
vrrp_instance VI {
    interface ens33
    virtual_router_id 7
    version 3
    advert_int 0.05
    down_timer_adverts 5
    v3_checksum_as_v2
    unicast_src_ip 10.0.0.2
    unicast_peer {
        10.0.0.3
        10.0.0.4 min_ttl 254 max_ttl 255
    }
    check_unicast_src
    dont_track_primary
    track_interface {
        ens33
        eth1 weight -5
    }
    track_script {
        up
    }
    track_file {
        load weight 2
    }
    virtual_ipaddress {
        10.0.0.1
        fe80::1
    }
    virtual_ipaddress_excluded {
        10.0.0.11/24
    }
}
vrrp_instance V6 {
    interface eth1
    virtual_router_id 7
    virtual_ipaddress {
        fe80::7
    }
}
vrrp_sync_group both {
    group {
        VI
        V6
    }
}
"""


def test_version_3_unicast_tracking_and_groups() -> None:
    stack, notes = read(DEEP)
    four, six = stack.virtual_routers["VI"], stack.virtual_routers["V6"]
    assert (four.spoken_version, six.spoken_version) == (3, 3)
    assert (four.advert_interval, four.down_adverts, four.start_delay) == (0.05, 5, 2.0)
    assert (four.checksum, four.answer_weaker) == ("message", False)
    assert four.unicast is not None
    assert [str(peer) for peer in four.unicast.peers] == ["10.0.0.3", "10.0.0.4"]
    assert four.unicast.peers[IPv4Address("10.0.0.4")].min_ttl == 254
    assert four.unicast.check_source
    assert four.sources == {"a": IPv4Address("10.0.0.2")}
    assert [str(each) for each in four.addresses] == ["10.0.0.1/32"]
    assert [str(each) for each in four.unadvertised] == ["fe80::1/128", "10.0.0.11/24"]
    assert not four.track.own_interface
    assert four.track.interfaces["eth1"].weight == -5
    assert {name: each.weight for name, each in four.track.watches.items()} == {
        "up": -20,
        "load": 2,
    }
    assert six.interfaces == {"a": "eth1"}
    assert stack.sync_groups["both"].members == ("VI", "V6")
    assert not stack.sync_groups["both"].weights
    up = stack.watches["up"]
    assert up.script == ("/bin/test", "-e", "/run/up")
    assert (up.interval, up.fall, up.user) == (2.0, 3, "nobody")
    assert stack.watches["load"].file == "/run/load"
    assert not [note for note in notes if note.status in ("refused", "unknown")]


def test_schedulers_and_what_goes_with_them() -> None:
    found = only_service(
        service("lb_algo mh\nmh-port\nflag-1\nsh-port\nops\npersistence_timeout\n"
                "persistence_granularity 255.255.255.0", real="uthreshold 9\nlthreshold 3")
    )  # fmt: skip
    assert found.scheduler == "mh" and found.scheduler_flags == ("mh-fallback", "mh-port")
    assert not found.one_packet, "it is for UDP"
    assert found.persistence == Persistence(timeout=360, granularity=24)
    (real,) = found.real_servers.values()
    assert (real.upper_threshold, real.lower_threshold) == (9, 3)
    assert only_service(service().replace("lb_algo rr", "")).scheduler == "wlc"
    assert only_service(service("ops\nprotocol UDP")).one_packet
    assert only_service(service("persistence_timeout 50")).persistence == Persistence(timeout=50)


def test_what_a_scheduler_does_not_heed_is_said() -> None:
    notes = remarkable(read(service("sh-port\nops"))[1])
    said = [str(note) for note in notes if note.status == "warning"]
    assert said[1:3] == [
        "k.conf:4:5: sh-port: warning: without effect: rr has no such flag",
        "k.conf:5:1: ops: warning: without effect: it is for UDP",
    ]
