"""Our listings against ipvsadm 1.31's, byte for byte, from what the kernel told it."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from ipvs_recording import Recorded, rows
from trimaran.director.ipvs import (
    TCP,
    UDP,
    Connection,
    Counters,
    Daemon,
    Destination,
    DestinationRow,
    Info,
    Listen,
    Mark,
    Service,
    ServiceRow,
    State,
    SyncState,
    Timeouts,
)
from trimaran.director.ipvs_connections import connections as read_connections
from trimaran.director.ipvsadm_text import View, connections, daemons, one_service, table, timeouts
from trimaran.system.ipvs import Ipvs

LISTINGS = rows("ipvsadm_listings.json")
OUTPUT = {command: row["output"] for command, row in LISTINGS.items()}
V4, V6 = IPv4Address, IPv6Address


def recorded_state(command: str) -> State:
    with Ipvs(Recorded(LISTINGS[command])) as ipvs:
        return ipvs.state()


@pytest.mark.parametrize(
    ("options", "view"),
    [
        ("", View.PLAIN),
        (" --exact", View.PLAIN),
        (" --stats", View.STATISTICS),
        (" --stats --exact", View.STATISTICS),
        (" --stats --rate", View.STATISTICS),
        (" --rate", View.RATES),
        (" --thresholds", View.THRESHOLDS),
        (" --thresholds --persistent-conn", View.THRESHOLDS),
        (" --persistent-conn", View.PERSISTENT),
        (" --tun-info", View.TUNNELS),
    ],
)
def test_a_whole_listing(options: str, view: View) -> None:
    state = recorded_state("ipvsadm -Ln --rate" if view is View.RATES else "ipvsadm -Ln")
    assert table(state, view, exact="exact" in options) == OUTPUT[f"ipvsadm -Ln{options}"]


def test_rules_and_the_kernels_own_order() -> None:
    state = recorded_state("ipvsadm -Ln")
    assert table(state, View.RULES) == OUTPUT["ipvsadm -Sn"]
    assert table(state, View.PLAIN, in_order=False) == OUTPUT["ipvsadm -Ln --nosort"]


def test_one_service() -> None:
    found = {row.service.key: row for row in recorded_state("ipvsadm -Ln").services}
    web = found[Listen(TCP, V4("10.0.0.100"), 80)]
    assert one_service(web, View.PLAIN) == OUTPUT["ipvsadm -Ln -t 10.0.0.100:80"]
    assert one_service(web, View.STATISTICS) == OUTPUT["ipvsadm -Ln -t 10.0.0.100:80 --stats"]
    assert one_service(found[Mark(8, 6)], View.PLAIN) == OUTPUT["ipvsadm -Ln -f 8 -6"]


def test_connections() -> None:
    six, other = V6("2001:db8:1111:2222:3333:4444:5555:6666"), V6("fd00::1")
    vip, here = V4("10.0.0.100"), V4("127.0.0.1")
    rows = [
        Connection(TCP, (vip, 35530), (vip, 80), (here, 80), "CLOSE", 1),
        Connection(TCP, (six, 47600), (six, 65535), (other, 65535), "SYN_RECV", 53),
        Connection(UDP, (vip, 0), (vip, 53), (here, 53), "NONE", 6030, "sip", "data"),
    ]
    start = "pro expire state       source             virtual            destination"
    long = f"[{six}]:47600 [{six}]:65535 [{other}]:65535"
    assert connections(rows).splitlines() == [
        "IPVS connection entries",
        start,
        "TCP 00:01  CLOSE       10.0.0.100:35530   10.0.0.100:80      127.0.0.1:80",
        f"TCP 00:53  SYN_RECV    {long}",
        "UDP 100:30 NONE        10.0.0.100:0       10.0.0.100:53      127.0.0.1:53",
    ]
    assert connections(rows, engines=True).splitlines()[1:2] + connections(
        rows, engines=True
    ).splitlines()[4:] == [
        f"{start}        pe name          pe_data",
        "UDP 100:30 NONE        10.0.0.100:0       10.0.0.100:53      127.0.0.1:53     sip"
        "                data",
    ]


def test_timeouts_and_daemons() -> None:
    assert timeouts(Timeouts(900, 120, 300)) == "Timeout (tcp tcpfin udp): 900 120 300\n"
    master = Daemon(SyncState.MASTER, "d0", 7, 1472, V4("224.0.0.81"), 8848, 1)
    backup = Daemon(SyncState.BACKUP, "d0", 8, 1024, V6("ff02::81"), 8850, 3)
    assert daemons([backup, master]) == rows("ipvs_netlink.json")["ipvsadm -Ln --daemon"]["output"]
    assert daemons([]) == ""


def test_large_numbers_are_shortened_unless_exact() -> None:
    large = [99_999_999, 100_000_000, 1_000_000_000, 100_000_000_000, 100_000_000_000_000]
    counters = Counters(*large, *large)
    there = DestinationRow(Destination(V4("10.0.0.11"), 80), counters=counters)
    row = ServiceRow(Service(Listen(TCP, V4("10.0.0.100"), 80), "rr"), counters, (there,))
    state = State(Info(0x010201, 4096), (row,))

    def last(view: View, exact: bool) -> str:
        return table(state, view, exact=exact).splitlines()[-1]

    short = " 99999999  100000K    1000M     100G     100T"
    assert last(View.STATISTICS, False) == f"  -> {'10.0.0.11:80':<28}{short}"
    whole = "".join(f" {value}" for value in large)
    assert last(View.STATISTICS, True) == f"  -> {'10.0.0.11:80':<28}{whole}"
    rates = "".join(f" {value}" for value in large[:3]) + "     100G     100T"
    assert last(View.RATES, False) == f"  -> {'10.0.0.11:80':<28}{rates}"
    smaller = replace(counters, connections=5, in_packets=0)
    assert table(State(Info(0, 0), (replace(row, counters=smaller),)), View.STATISTICS, exact=True)


def test_addresses_far_apart_are_in_ipvsadms_order() -> None:
    places = ["192.168.200.1", "10.0.0.1", "10.0.0.100"]
    services = tuple(
        ServiceRow(Service(Listen(TCP, V4(place), 80), "rr")) for place in sorted(places)
    )
    lines = table(State(Info(0, 0), services), View.RULES).splitlines()
    assert lines == [f"-A -t {place}:80 -s rr" for place in places]


def test_the_kernels_table_is_read_and_printed() -> None:
    """Recorded one after the other: the seconds to the expiry may have moved on by one or two."""
    lines = OUTPUT["cat /proc/net/ip_vs_conn"].splitlines()
    found = list(read_connections(lines))
    shown = connections(found).splitlines()
    recorded = OUTPUT["ipvsadm -Lnc"].splitlines()

    def without_expiry(lines: list[str]) -> list[list[str]]:
        return sorted([words[0], *words[2:]] for words in map(str.split, lines[2:]))

    assert shown[:2] == recorded[:2]
    assert len(found) > 2
    assert without_expiry(shown) == without_expiry(recorded)
    assert connections(read_connections(["TCP 0A000064 8ACA", "", "nonsense"])) == connections(())
    last = "UDP 0A000064 8ACA 0A000064 0050 7F000001 0050 UDP             7 sip call-1"
    (sip,) = read_connections([last])
    assert (sip.engine, sip.engine_data, sip.expires_s) == ("sip", "call-1", 7)
