"""Our netlink against what ipvsadm 1.31 and Linux 6.1 said to each other.

ipvs_netlink.json was recorded in the test machine (tests/vm/record_netlink.py).
"""

import errno
import struct
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvs_recording import Recorded, rows
from trimaran.director.ipvs import (
    SCTP,
    TCP,
    UDP,
    Checksum,
    Counters,
    Daemon,
    Destination,
    Info,
    Listen,
    Load,
    Mark,
    Method,
    Service,
    ServiceFlag,
    SyncState,
    Timeouts,
    Tunnel,
    TunnelKind,
)
from trimaran.director.ipvs_wire import Command, MalformedError, Message, decode, encode
from trimaran.system.generic_netlink import NoFamilyError
from trimaran.system.ipvs import Ipvs

ROWS = rows("ipvs_netlink.json")
V4, V6 = IPv4Address, IPv6Address
WEB = Listen(TCP, V4("10.0.0.100"), 80)
DNS = Listen(UDP, V6("fd00::100"), 53)
ONCE = ServiceFlag.ONE_PACKET
KEPT = ServiceFlag.PERSISTENT
GUE = Tunnel(TunnelKind.GUE, 6080, Checksum.WHOLE)
SH_BOTH = ServiceFlag.SCHED_1 | ServiceFlag.SCHED_2
MASTER = Daemon(SyncState.MASTER, "d0", 7)
BACKUP = Daemon(SyncState.BACKUP, "d0", 8, 1000, V6("ff02::81"), 8850, 3)
C = Command

# ipvsadm leaves bytes of no meaning behind an IPv4 address in an IPv6 service.
MIXED = "ipvsadm -a -u [fd00::100]:53 -r 10.0.0.12 -i --tun-type gue --tun-port 6080 --tun-csum"
CHANGES = {
    "ipvsadm -A -t 10.0.0.100:80 -s rr": Message(C.NEW_SERVICE, Service(WEB, "rr")),
    "ipvsadm -E -t 10.0.0.100:80 -s sh -b sh-fallback,sh-port -p 300 -M 255.255.255.0": Message(
        C.SET_SERVICE, Service(WEB, "sh", KEPT | SH_BOTH, 300, 0xFFFFFF00)
    ),
    "ipvsadm -A -u [fd00::100]:53 -s wrr -o -p 300 -M 64": Message(
        C.NEW_SERVICE, Service(DNS, "wrr", KEPT | ONCE, 300, 64)
    ),
    "ipvsadm -A -f 7 -s mh -b mh-port --pe sip -p": Message(
        C.NEW_SERVICE,
        Service(Mark(7), "mh", KEPT | ServiceFlag.SCHED_2, 360, engine="sip"),
    ),
    "ipvsadm -A -f 8 -6 -s wlc": Message(C.NEW_SERVICE, Service(Mark(8, 6), "wlc")),
    "ipvsadm -A --sctp-service 10.0.0.100:90": Message(
        C.NEW_SERVICE, Service(Listen(SCTP, V4("10.0.0.100"), 90), "wlc")
    ),
    "ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.11:80 -g -w 3": Message(
        C.NEW_DEST, Service(WEB), destination=Destination(V4("10.0.0.11"), 80, weight=3)
    ),
    "ipvsadm -e -t 10.0.0.100:80 -r 10.0.0.11:80 -g -w 0 -x 100 -y 50": Message(
        C.SET_DEST,
        Service(WEB),
        destination=Destination(V4("10.0.0.11"), 80, weight=0, upper=100, lower=50),
    ),
    "ipvsadm -a -u [fd00::100]:53 -r [fd00::11]:53 -m": Message(
        C.NEW_DEST, Service(DNS), destination=Destination(V6("fd00::11"), 53, Method.MASQ)
    ),
    MIXED: (
        Message(
            C.NEW_DEST,
            Service(DNS),
            destination=Destination(V4("10.0.0.12"), 53, Method.TUNNEL, tunnel=GUE),
        )
    ),
    "ipvsadm -a -u [fd00::100]:53 -r [fd00::13]:53 -i --tun-type gre": Message(
        C.NEW_DEST,
        Service(DNS),
        destination=Destination(V6("fd00::13"), 53, Method.TUNNEL, tunnel=Tunnel(TunnelKind.GRE)),
    ),
    "ipvsadm -d -u [fd00::100]:53 -r [fd00::11]:53": Message(
        C.DEL_DEST, Service(DNS), destination=Destination(V6("fd00::11"), 53)
    ),
    "ipvsadm -D -f 8 -6": Message(C.DEL_SERVICE, Service(Mark(8, 6))),
    "ipvsadm -Z -t 10.0.0.100:80": Message(C.ZERO, Service(WEB)),
    "ipvsadm -Z": Message(C.ZERO),
    "ipvsadm -C": Message(C.FLUSH),
    "ipvsadm --set 100 20 30": Message(C.SET_CONFIG, timeouts=Timeouts(100, 20, 30)),
    "ipvsadm --start-daemon master --mcast-interface d0 --syncid 7": Message(
        C.NEW_DAEMON, daemon=MASTER
    ),
    "ipvsadm --start-daemon backup --mcast-interface d0 --syncid 8 --sync-maxlen 1000"
    " --mcast-group ff02::81 --mcast-port 8850 --mcast-ttl 3": Message(C.NEW_DAEMON, daemon=BACKUP),
    "ipvsadm --stop-daemon master": Message(C.DEL_DAEMON, daemon=Daemon(SyncState.MASTER)),
}


@pytest.mark.parametrize("command", CHANGES)
def test_our_request_is_ipvsadms_byte_for_byte(command: str) -> None:
    recorded = bytes.fromhex(ROWS[command]["sent"][-1])[16:]
    if command != MIXED:
        assert encode(CHANGES[command]).hex() == recorded.hex()
    assert decode(recorded) == CHANGES[command]


def test_a_whole_table_is_read() -> None:
    with Ipvs(Recorded(ROWS["ipvsadm -Ln"])) as ipvs:
        assert ipvs.info() == Info(0x010201, 4096)
        rows = ipvs.services()
        assert {row.service for row in rows} == {
            Service(WEB, "sh", KEPT | SH_BOTH, 300, 0xFFFFFF00),
            Service(Listen(SCTP, V4("10.0.0.100"), 90), "wlc"),
            Service(DNS, "wrr", KEPT | ONCE, 300, 64),
            Service(Mark(7), "mh", KEPT | ServiceFlag.SCHED_2, 360, engine="sip"),
            Service(Mark(8, 6), "wlc"),
        }
        assert all(row.counters == Counters() for row in rows)
        found = {row.service.key: ipvs.destinations(row.service.key) for row in rows}
    assert [row.destination for row in found[WEB]] == [
        Destination(V4("10.0.0.11"), 80, weight=0, upper=100, lower=50)
    ]
    assert [row.destination for row in found[DNS]] == [
        Destination(V6("fd00::13"), 53, Method.TUNNEL, tunnel=Tunnel(TunnelKind.GRE)),
        Destination(V4("10.0.0.12"), 53, Method.TUNNEL, tunnel=GUE),
        Destination(V6("fd00::11"), 53, Method.MASQ),
    ]
    assert [row.load for row in found[Mark(7)]] == [Load()]
    assert found[Mark(8, 6)] == []


def test_daemons_and_timeouts_are_read() -> None:
    with Ipvs(Recorded(ROWS["ipvsadm -Ln --daemon"])) as ipvs:
        first, second = ipvs.daemons()
    assert first == Daemon(SyncState.MASTER, "d0", 7, 1472, V4("224.0.0.81"), 8848, 1)
    assert second == Daemon(SyncState.BACKUP, "d0", 8, 1024, V6("ff02::81"), 8850, 3)
    with Ipvs(Recorded(ROWS["ipvsadm -Ln --timeout"])) as ipvs:
        assert ipvs.timeouts() == Timeouts(100, 20, 30)


REFUSED = {
    "ipvsadm -D -t 10.0.0.99:80": (
        Message(C.DEL_SERVICE, Service(Listen(TCP, V4("10.0.0.99"), 80))),
        errno.ESRCH,
    ),
    "ipvsadm -d -u [fd00::100]:53 -r [fd00::99]:53": (
        Message(C.DEL_DEST, Service(DNS), destination=Destination(V6("fd00::99"), 53)),
        errno.ENOENT,
    ),
    "ipvsadm -A -t 10.0.0.101:80 -s nosuch": (
        Message(C.NEW_SERVICE, Service(Listen(TCP, V4("10.0.0.101"), 80), "nosuch")),
        errno.ENOENT,
    ),
}


@pytest.mark.parametrize("command", REFUSED)
def test_a_refusal_is_an_error_with_the_kernels_number(command: str) -> None:
    message, number = REFUSED[command]
    with Ipvs(Recorded(ROWS[command])) as ipvs, pytest.raises(OSError) as raised:
        ipvs.do(message)
    assert raised.value.errno == number


def test_a_kernel_without_ipvs_is_told_apart() -> None:
    class Without(Recorded):
        def send(self, data: bytes, /) -> None:
            super().send(data)
            refusal = struct.pack("=HHII", 2, 0, int.from_bytes(data[8:12], "little"), 0)
            self._queue = [struct.pack("=I", 20) + refusal + struct.pack("=i", -errno.ENOENT)]

    with pytest.raises(NoFamilyError, match="IPVS"):
        Ipvs(Without(ROWS["ipvsadm -Ln"]))


addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
ports = st.integers(0, 0xFFFF)
words = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=15)
u32 = st.integers(0, 0xFFFFFFFF)
u64 = st.integers(0, (1 << 64) - 1)
keys = st.one_of(
    st.builds(Listen, st.sampled_from([TCP, UDP, SCTP]), addresses, ports),
    st.builds(Mark, u32, st.sampled_from([4, 6])),
)
flags = st.integers(0, 63).map(lambda bits: ServiceFlag(bits & ~2))
services = st.builds(Service, keys, words, flags, u32, st.none(), words)
tunnels = st.builds(Tunnel, st.sampled_from(TunnelKind), ports, st.sampled_from(Checksum))
destinations = st.builds(
    Destination, addresses, ports, st.sampled_from(Method), u32, u32, u32, tunnels
)
counters = st.builds(Counters, *[u64] * 10)
daemons = st.builds(
    Daemon,
    st.sampled_from(SyncState),
    words,
    u32,
    ports,
    st.one_of(st.none(), addresses),
    ports,
    st.integers(0, 255),
)
messages = st.one_of(
    st.builds(Message, st.just(C.NEW_SERVICE), services, counters=st.none() | counters),
    st.builds(Message, st.just(C.GET_DEST), key=keys),
    st.builds(
        Message,
        st.just(C.NEW_DEST),
        services,
        destination=destinations,
        load=st.none() | st.builds(Load, u32, u32, u32),
        counters=st.none() | counters,
    ),
    st.builds(Message, st.just(C.NEW_DAEMON), daemon=daemons),
    st.builds(Message, st.just(C.SET_CONFIG), timeouts=st.builds(Timeouts, u32, u32, u32)),
    st.builds(Message, st.just(C.SET_INFO), info=st.builds(Info, u32, u32)),
    st.sampled_from([Message(C.FLUSH), Message(C.ZERO), Message(C.GET_INFO)]),
)


@given(messages)
def test_what_is_written_is_read(message: Message) -> None:
    assert decode(encode(message)) == message


@given(messages, st.data())
def test_damage_is_refused_or_read_and_never_more(message: Message, data: st.DataObject) -> None:
    whole = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    for damaged in (bytes(whole), bytes(whole[:cut])):
        with suppress(MalformedError):
            decode(damaged)
