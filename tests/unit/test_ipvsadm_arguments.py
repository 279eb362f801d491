"""Our reading of ipvsadm's arguments against a recorded session with ipvsadm 1.31."""

import shlex
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipvs_recording import rows
from trimaran.cli.ipvsadm import message
from trimaran.director.ipvs import (
    TCP,
    Checksum,
    Destination,
    Listen,
    Mark,
    Method,
    Service,
    ServiceFlag,
    Timeouts,
    Tunnel,
    TunnelKind,
)
from trimaran.director.ipvs_wire import decode, encode
from trimaran.director.ipvsadm_arguments import Call, UsageError, parse
from trimaran.director.ipvsadm_words import COMMANDS, LONG, OPTIONS, Option

SESSION = {
    command: row
    for command, row in rows("ipvsadm_session.json").items()
    if command.startswith("ipvsadm ")
}
RECORDED = rows("ipvs_netlink.json")
USAGE = ("Try `ipvsadm", "unknown option", "missing argument")
MISTAKES = [
    command
    for command, row in SESSION.items()
    if row["status"] == 2 or any(word in row["output"] for word in USAGE)
]
WEB = Listen(TCP, IPv4Address("10.0.0.100"), 80)


def call(line: str) -> Call:
    return parse(shlex.split(line))


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_told_as_ipvsadm_tells_it(command: str) -> None:
    with pytest.raises(UsageError) as told:
        call(command.removeprefix("ipvsadm "))
    row = SESSION[command]
    assert (told.value.status, f"{told.value}\n") == (row["status"], row["output"])


@pytest.mark.parametrize("command", sorted(set(SESSION) - set(MISTAKES)))
def test_what_ipvsadm_reads_we_read(command: str) -> None:
    call(command.removeprefix("ipvsadm "))


CHANGES = [
    command
    for command, row in RECORDED.items()
    if command.split()[1][:2] in ("-A", "-E", "-D", "-a", "-e", "-d", "-C", "-Z")
    or command.startswith("ipvsadm --set")
]


@pytest.mark.parametrize("command", CHANGES)
def test_a_change_asks_what_ipvsadm_asked(command: str) -> None:
    wanted = message(call(command.removeprefix("ipvsadm ")))
    sent = decode(bytes.fromhex(RECORDED[command]["sent"][-1])[16:])
    assert wanted == decode(encode(wanted)) == sent


def test_long_short_and_joined_options_are_one() -> None:
    want = Call(
        "add-server",
        frozenset({Option.SERVICE, Option.SERVER, Option.WEIGHT, Option.FORWARD}),
        Service(WEB),
        Destination(IPv4Address("10.0.0.11"), 8080, Method.MASQ, 5),
    )
    for line in (
        "-a -t 10.0.0.100:80 -r 10.0.0.11:8080 -m -w 5",
        "-at 10.0.0.100:80 -r10.0.0.11:8080 -mw5",
        "--add-server --tcp-service 10.0.0.100:80 --real-server=10.0.0.11:8080 "
        "--masquerading --weight=5",
    ):
        assert call(line) == want, line


def test_values_land_where_they_belong() -> None:
    service = call("-A -f 7 -s mh -b mh-port,mh-fallback -p 100 -M 255.255.0.0 --pe sip").service
    flags = ServiceFlag.PERSISTENT | ServiceFlag.SCHED_1 | ServiceFlag.SCHED_2
    assert service == Service(Mark(7), "mh", flags, 100, 0xFFFF0000, "sip")
    assert call("-A -t 10.0.0.100:80").service == Service(WEB, "wlc")
    tunnel = call("-a -f 7 -r 10.0.0.12 -i --tun-type gue --tun-port 6080 --tun-csum").destination
    assert tunnel is not None
    assert tunnel.tunnel == Tunnel(TunnelKind.GUE, 6080, Checksum.WHOLE)
    assert call("--set 0 20 30").timeouts == Timeouts(0, 20, 30)


def test_the_rules_that_we_print_are_rules_that_we_read() -> None:
    saved = rows("ipvsadm_listings.json")["ipvsadm -Sn"]["output"]
    for line in saved.splitlines():
        wanted = message(call(line))
        assert decode(encode(wanted)) == wanted


words = st.sampled_from([*OPTIONS, *COMMANDS, *LONG, "10.0.0.1:80", "[fd00::1]:80", "7", "x", ""])


@given(st.lists(words | st.text(max_size=8), max_size=8))
def test_anything_is_read_or_is_a_mistake(arguments: list[str]) -> None:
    try:
        parse(arguments)
    except UsageError as error:
        assert error.status in (2, 255) and str(error)
