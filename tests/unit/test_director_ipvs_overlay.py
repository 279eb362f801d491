"""ipvsadm's changes over a configuration: what is there afterwards, and IPVS's own refusals."""

import shlex
from dataclasses import asdict
from ipaddress import IPv4Address

import pytest

from trimaran.cli.ipvsadm import message
from trimaran.director.ipvs_overlay import RefusedError, changed, told
from trimaran.director.ipvs_plan import destination
from trimaran.director.ipvs_wire import encode
from trimaran.director.ipvsadm_arguments import parse
from trimaran.director.ipvsadm_state import state
from trimaran.director.ipvsadm_text import View, table
from trimaran.director.overlay import Overlay
from trimaran.director.settings import RealServerSettings, ServiceSettings, TunnelSettings
from trimaran.node.director_changes import Asked, DirectorChanges
from trimaran.node.plain import from_plain, to_plain

R1, R2 = (
    RealServerSettings(f"r{n}", IPv4Address(f"10.0.0.1{n}"), 80, weight)
    for n, weight in ((1, 1), (2, 2))
)
WEB = ServiceSettings("web", IPv4Address("10.0.0.100"), 80, "tcp", "wrr", (R1, R2))
VIP = "10.0.0.100:80"
Row = tuple[str, str, dict[str, int]]


class Session:
    """ipvsadm on a director that has WEB configured."""

    def __init__(self) -> None:
        self.overlay = Overlay()

    def do(self, line: str) -> None:
        wanted = message(parse(shlex.split(line)))
        self.overlay = changed(wanted, self.overlay, (WEB,), line)
        assert told(wanted)
        assert from_plain(Overlay, to_plain(self.overlay)) == self.overlay

    @property
    def table(self) -> list[Row]:
        return [
            (
                f"{each.address}:{each.port}/{each.protocol}",
                each.scheduler,
                {str(real.address): real.weight for real in each.real_servers},
            )
            for each in self.overlay.over((WEB,))
        ]


@pytest.fixture
def session() -> Session:
    return Session()


def web(scheduler: str, **reals: int) -> Row:
    there = {f"10.0.0.1{name[1:]}": weight for name, weight in reals.items()}
    return (f"{VIP}/tcp", scheduler, there)


def test_real_servers_come_change_and_go(session: Session) -> None:
    session.do(f"-a -t {VIP} -r 10.0.0.13 -w 5")
    session.do(f"-e -t {VIP} -r 10.0.0.11 -w 0")
    session.do(f"-d -t {VIP} -r 10.0.0.12")
    assert session.table == [web("wrr", r1=0, r3=5)]
    session.do(f"-a -t {VIP} -r 10.0.0.12 -w 9")  # the configured one again, weighed
    session.do(f"-e -t {VIP} -r 10.0.0.13 -w 6")
    session.do(f"-d -t {VIP} -r 10.0.0.13")
    assert session.table == [web("wrr", r1=0, r2=9)]


def test_services_come_change_and_go(session: Session) -> None:
    session.do("-A -u 10.0.0.100:53 -s rr")
    session.do("-a -u 10.0.0.100:53 -r 10.0.0.13")
    session.do("-E -u 10.0.0.100:53 -s fo")
    dns = ("10.0.0.100:53/udp", "fo", {"10.0.0.13": 1})
    assert session.table == [web("wrr", r1=1, r2=2), dns]
    session.do(f"-e -t {VIP} -r 10.0.0.11 -w 7")
    session.do(f"-E -t {VIP} -s rr")
    assert session.table[0] == web("rr", r1=7, r2=2)
    session.do(f"-D -t {VIP}")
    assert session.table == [dns]
    session.do("-D -u 10.0.0.100:53")
    assert session.table == []
    session.do(f"-A -t {VIP} -s wrr")  # as with ipvsadm, a new one is empty
    assert session.table == [web("wrr")]
    session.do(f"-a -t {VIP} -r 10.0.0.12 -w 4")
    session.do(f"-E -t {VIP} -s rr")
    assert session.table == [web("rr", r2=4)]


def test_a_cleared_table_can_be_filled_again(session: Session) -> None:
    session.do("-A -t 10.0.0.101:80 -s rr")
    session.do("-C")
    assert session.table == []
    for line in (f"-A -t {VIP} -s rr", f"-a -t {VIP} -r 10.0.0.11 -w 3"):
        session.do(line)
    assert session.table == [web("rr", r1=3)]


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        (f"-A -t {VIP} -s rr", "Service already exists"),
        ("-A -t 10.0.0.101:80 -s nosuch", "Scheduler or persistence engine not found"),
        ("-E -t 10.0.0.99:80 -s rr", "No such service"),
        ("-D -t 10.0.0.99:80", "No such service"),
        ("-D -u 10.0.0.100:80", "No such service"),
        ("-a -t 10.0.0.99:80 -r 10.0.0.11", "Service not defined"),
        ("-e -t 10.0.0.99:80 -r 10.0.0.11", "Service not defined"),
        ("-d -t 10.0.0.99:80 -r 10.0.0.11", "Service not defined"),
        (f"-a -t {VIP} -r 10.0.0.11:80 -g", "Destination already exists"),
        (f"-e -t {VIP} -r 10.0.0.77", "No such destination"),
        (f"-d -t {VIP} -r 10.0.0.77:80", "No such destination"),
        (f"-a -t {VIP} -r 10.0.0.17 -x 10 -y 20", "Numerical result out of range"),
        (f"-a -t {VIP} -r 224.0.0.1", "Invalid operation.  Possibly wrong module version"),
        (f"-a -t {VIP} -r 10.0.0.17 -x 10", "thresholds"),
        (f"-e -t {VIP} -r 10.0.0.11 -i", "the configuration has it with -g: say the same"),
        (f"-e -t {VIP} -r 10.0.0.11 -m", "the configuration has it with -g: say the same"),
        ("-A -t 10.0.0.101:80 -s rr -p", "persistence"),
        ("-A -f 7 -s rr", "TCP and UDP"),
        ("-Z", "cannot do that"),
        ("--set 1 2 3", "cannot do that"),
    ],
)
def test_a_refusal_changes_nothing(session: Session, line: str, refusal: str) -> None:
    with pytest.raises(RefusedError, match=refusal):
        session.do(line)
    assert session.overlay == Overlay()


def test_the_directors_changes_have_them_and_drop_them() -> None:
    events: list[str] = []
    changes = DirectorChanges((WEB,), Overlay(), lambda *words: events.append(words[2]))
    for line in (f"-d -t {VIP} -r 10.0.0.11", "-A -t 10.0.0.101:80 -s rr"):
        request = encode(message(parse(shlex.split(line)))).hex()
        changes.obey(Asked("ipvs", "test", request=request))
    assert events[:2] == [
        "10.0.0.11:80 was removed from TCP 10.0.0.100:80",
        "TCP 10.0.0.101:80 rr was added",
    ]
    assert [len(each.real_servers) for each in changes.services] == [1, 0]

    def zeroed(line: str) -> list[str] | None:
        request = encode(message(parse(shlex.split(line)))).hex()
        found = changes.zeroed(Asked("ipvs", "test", request=request))
        return None if found is None else [str(address) for _, address, _ in found]

    assert zeroed("-Z") == zeroed(f"-Z -t {VIP}") == ["10.0.0.12"]
    assert zeroed("-Z -t 10.0.0.101:80") == []
    assert zeroed("-C") is None
    with pytest.raises(RefusedError, match="No such service"):
        zeroed("-Z -t 10.0.0.99:80")
    with pytest.raises(ValueError, match="not a message of IPVS"):
        changes.obey(Asked("ipvs", "test", request="ff"))
    changes.obey(Asked("reset", "test"))
    assert changes.services == (WEB,)


@pytest.mark.parametrize(
    ("switches", "word", "forward", "port", "tunnel", "wraps"),
    [
        (
            "10.0.0.13 -i --tun-type gue --tun-port 6080 --tun-csum",
            "Tunnel", "tunnel", 80, TunnelSettings("gue", 6080, True), "gue:6080:+c",
        ),
        ("10.0.0.13:8080 -m", "Masq", "nat", 8080, None, "n/a"),
        ("10.0.0.13 -g", "Route", "dr", 80, None, "n/a"),
    ],
)  # fmt: skip
def test_a_method_is_the_same_everywhere(
    session: Session,
    switches: str,
    word: str,
    forward: str,
    port: int,
    tunnel: TunnelSettings | None,
    wraps: str,
) -> None:
    session.do(f"-a -t {VIP} -r {switches}")
    (one,) = session.overlay.over((WEB,))
    real = one.real_servers[-1]
    assert (real.forward, real.port) == (forward, port)
    assert tunnel in (None, real.tunnel)
    row = {
        "address": str(real.address), "port": real.port, "forward": word, "weight": 1,
        "tunnel": asdict(real.tunnel) if tunnel else None, "listed": True, "active": 2,
        "inactive": 3, "connections": 4, "packets": 5, "bytes": 6,
    }  # fmt: skip
    place = {"protocol": "tcp", "address": "10.0.0.100", "port": 80, "scheduler": "wrr"}
    shown = state({"services": [{**place, "real_servers": [row]}]})
    assert shown.services[0].destinations[0].destination == destination(real)
    assert table(shown, View.TUNNELS).splitlines()[-1] == (
        f"  -> {f'10.0.0.13:{port}':<28} {word:<7} {wraps:<13} 1      2          3         "
    )
