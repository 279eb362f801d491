"""The kernel's IPVS as our director keeps it, beside others who write to it too."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from planes import service

from trimaran.director.ipvs_wire import Command
from trimaran.director.ipvsadm_text import View, connections, daemons, table, timeouts
from trimaran.director.plan import key_of
from trimaran.director.settings import DirectorSettings, ServiceSettings
from trimaran.system.ipvs import Ipvs
from trimaran.system.ipvs_machine import IpvsMachine
from vm.machine import Machine
from vm.relayed import RelayedWire, World

READS = {Command.GET_SERVICE, Command.GET_DEST, Command.GET_INFO, Command.GET_CONFIG}
OTHERS = "-A -u 10.0.0.9:53 -s wlc -p 300\n-a -u 10.0.0.9:53 -r 10.0.0.20:53 -i -w 5\n"
WEB = service({1: 1, 2: 3}, scheduler="wrr")
DNS = service({1: 1}, port=53, protocol="udp")
SIX = service({2: 2}, vip="fd00::100")
RULES = """\
-A -t 10.0.0.100:80 -s wrr
-a -t 10.0.0.100:80 -r 10.0.0.11:80 -g -w 1
-a -t 10.0.0.100:80 -r 10.0.0.12:80 -g -w 3
-A -u 10.0.0.100:53 -s rr
-a -u 10.0.0.100:53 -r 10.0.0.11:53 -g -w 1
-A -t [fd00::100]:80 -s rr
-a -t [fd00::100]:80 -r [fd00::c]:80 -g -w 2
"""


@pytest.fixture(scope="module")
def one_world(vm: Machine) -> Iterator[World]:
    with vm.relayed() as world:
        yield world


@pytest.fixture
def world(one_world: World) -> World:
    """With an empty table."""
    one_world.run("ipvsadm -C; ipvsadm --set 900 120 300")
    return one_world


def rules(world: World) -> str:
    """What real ipvsadm finds there."""
    return world.run("ipvsadm -Sn")


class Spied(RelayedWire):
    """Keeps the changes that are sent; cut off after `most` of them."""

    def __init__(self, world: World, most: int = 1000) -> None:
        super().__init__(world)
        self.changes: list[Command] = []
        self._most = most

    def send(self, data: bytes, /) -> None:
        if data[4] != 16 and Command(data[16]) not in READS:
            if len(self.changes) == self._most:
                raise ConnectionAbortedError("killed")
            self.changes.append(Command(data[16]))
        super().send(data)


Start = Callable[..., IpvsMachine]


@pytest.fixture
def start(world: World, tmp_path: Path) -> Iterator[Start]:
    """Starts directors one after the other, over one state file; those before are as if killed."""
    running: list[IpvsMachine] = []

    def start(
        wire: RelayedWire | None = None, services: tuple[ServiceSettings, ...] = ()
    ) -> IpvsMachine:
        for before in running:
            before.leave()
        file = str(tmp_path / "ipvs.json")
        settings = DirectorSettings("node1", "ens33", "", services, hook="ipvs", state_file=file)
        running[:] = [IpvsMachine(settings, wire or world.wire())]
        return running[0]

    yield start
    for last in running:
        last.leave()


def test_the_table_is_as_wanted_and_a_second_time_nothing_is_done(
    world: World, start: Start
) -> None:
    wire = Spied(world)
    director = start(wire)
    condition = director.converge((WEB, DNS, SIX), set())
    assert (condition.well, condition.attached) == (True, "started")
    assert rules(world) == RULES
    done = len(wire.changes)
    assert director.converge((WEB, DNS, SIX), set()).attached == ""
    assert len(wire.changes) == done == 7
    assert director.listed() == {key_of(s, r) for s in (WEB, DNS, SIX) for r in s.real_servers}
    director.close()
    assert rules(world) == ""


def test_what_changed_is_changed_and_nothing_else(world: World, start: Start) -> None:
    wire = Spied(world)
    director = start(wire)
    director.converge((WEB, DNS), set())
    wire.changes.clear()
    heavier = replace(WEB, real_servers=(WEB.real_servers[0],), scheduler="rr")
    director.converge((heavier, SIX), set())
    assert wire.changes == [
        Command.SET_SERVICE,
        Command.NEW_SERVICE,
        Command.NEW_DEST,
        Command.DEL_DEST,
        Command.DEL_DEST,
        Command.DEL_SERVICE,
    ]
    assert rules(world) == (
        "-A -t 10.0.0.100:80 -s rr\n-a -t 10.0.0.100:80 -r 10.0.0.11:80 -g -w 1\n"
        "-A -t [fd00::100]:80 -s rr\n-a -t [fd00::100]:80 -r [fd00::c]:80 -g -w 2\n"
    )
    wire.changes.clear()
    lighter = replace(heavier, real_servers=(replace(WEB.real_servers[0], weight=0),))
    director.converge((lighter, SIX), set())
    assert wire.changes == [Command.SET_DEST]


def test_others_keep_what_is_theirs(world: World, start: Start) -> None:
    world.run(f"printf -- '{OTHERS}' | ipvsadm -R")
    director = start()
    director.converge((WEB,), set())
    world.run("ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.77 -g -w 9")
    director.converge((WEB, DNS), set())
    director.close()
    theirs = "-A -t 10.0.0.100:80 -s wrr\n-a -t 10.0.0.100:80 -r 10.0.0.77:80 -g -w 9\n"
    assert rules(world) == theirs + OTHERS.replace(":53 -i -w 5", ":53 -i -w 5 --tun-type ipip")


def test_the_next_process_adopts_and_removes_what_was_dropped_meanwhile(
    world: World, start: Start
) -> None:
    start().converge((WEB, DNS), {key_of(WEB, WEB.real_servers[1])})
    wire = Spied(world)
    after = start(wire, (WEB, SIX))
    assert after.unlisted() == {key_of(WEB, WEB.real_servers[1])}
    after.converge((WEB,), after.unlisted())
    assert wire.changes == [Command.DEL_DEST, Command.DEL_SERVICE]
    assert rules(world) == "".join(RULES.splitlines(True)[:2])
    again = start(wire)
    assert again.converge((WEB,), {key_of(WEB, WEB.real_servers[1])}).attached == (
        "started: what was there was adopted"
    )


def test_a_service_that_was_there_is_made_to_fit_and_becomes_ours(
    world: World, start: Start
) -> None:
    world.run(
        "ipvsadm -A -t 10.0.0.100:80 -s sh -p 50;"
        "ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.11:80 -g -w 1"
    )
    wire = Spied(world)
    director = start(wire)
    director.converge((WEB,), set())
    assert wire.changes == [Command.SET_SERVICE, Command.NEW_DEST]
    assert rules(world) == "".join(RULES.splitlines(True)[:3])
    director.close()
    assert rules(world) == ""


def test_a_process_killed_at_any_step_is_mended_by_the_next(world: World, start: Start) -> None:
    for most in range(14):
        dying = start(Spied(world, most))
        for services in ((WEB, DNS), (SIX,), (WEB, DNS, SIX)):
            try:
                dying.converge(services, set())
            except ConnectionAbortedError:
                break
        living = start()
        assert living.converge((WEB, SIX), set()).well
        kept = [line for line in RULES.splitlines(True) if " -u " not in line]
        assert rules(world) == "".join(kept), f"killed after {most} changes"
        living.close()
        assert rules(world) == "", f"killed after {most} changes"


def test_a_refusal_is_told_in_words_and_mended_when_it_can_be(world: World, start: Start) -> None:
    director = start()
    odd = replace(WEB, scheduler="nosuch")
    condition = director.converge((odd,), set())
    assert not condition.well
    assert condition.cause == (
        "IPVS refused to add TCP 10.0.0.100:80 nosuch: Scheduler or persistence engine not found"
    )
    assert director.converge((WEB,), set()).well
    assert rules(world) == "".join(RULES.splitlines(True)[:3])


def test_our_listings_are_ipvsadms_of_the_same_kernel(world: World) -> None:
    world.run(
        f"printf -- '{RULES + OTHERS}' | ipvsadm -R;"
        "ip link add d0 type dummy; ip link set d0 up multicast on; ip addr add 10.9.0.1/24 dev d0;"
        "ipvsadm --start-daemon master --mcast-interface d0 --syncid 7;"
        "ipvsadm -a -t 10.0.0.100:80 -r 10.0.0.30 -x 100 -y 50; ipvsadm --set 100 0 0"
    )
    with Ipvs(world.wire()) as ipvs:
        found = ipvs.state()
        assert timeouts(ipvs.timeouts()) == world.run("ipvsadm -Ln --timeout")
        assert daemons(ipvs.daemons()) == world.run("ipvsadm -Ln --daemon") != ""
    for options, view in (
        ("-Ln", View.PLAIN),
        ("-Ln --stats", View.STATISTICS),
        ("-Ln --rate", View.RATES),
        ("-Ln --thresholds", View.THRESHOLDS),
        ("-Ln --persistent-conn", View.PERSISTENT),
        ("-Ln --tun-info", View.TUNNELS),
        ("-Sn", View.RULES),
    ):
        assert table(found, view) == world.run(f"ipvsadm {options}"), options
    assert connections(()) == world.run("ipvsadm -Lnc")
    world.run("ipvsadm --stop-daemon master; ip link del d0")
