"""stack.yaml: the example loads, and every mistake is named with its place and its cure."""

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimaran.stack.errors import StackError
from trimaran.stack.files import NoFiles
from trimaran.stack.model import Stack, VirtualRouter
from trimaran.stack.resolve import (
    address_of,
    directors,
    http_of_proxy,
    http_of_site,
    listen_addresses,
    node_of_address,
    real_server_addresses,
)
from trimaran.stack.yaml import read_stack

ROUTER_KEYS = ", ".join(sorted(VirtualRouter.model_fields))

EXAMPLE = Path(__file__).parents[2] / "examples" / "seven-nodes" / "stack.yaml"
TEXT = EXAMPLE.read_text()
NODES = "node2, node3, node4, node5, node6, node7"


class SecretFiles(NoFiles):
    def __init__(self, text: str) -> None:
        self.text = text

    def read_secret(self, path: str) -> str:
        assert path == "etc/vrrp.secret"
        return self.text


def example(old: str = "", new: str = "") -> Stack:
    assert old in TEXT
    return read_stack(TEXT.replace(old, new, 1) if old else TEXT, "stack.yaml")[0]


def problems(text: str) -> list[str]:
    with pytest.raises(StackError) as caught:
        read_stack(text, "stack.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_the_example_answers_what_other_rooms_ask() -> None:
    stack, notes = read_stack(TEXT, "stack.yaml")
    vip, web, edge = (
        IPv4Address("192.168.31.145"),
        stack.virtual_services["web"],
        stack.proxies["edge"],
    )
    assert notes == []
    assert listen_addresses(stack, web) == [(vip, 80)]
    assert directors(stack, web) == ["node2", "node3"]
    assert [node for node in stack.nodes if real_server_addresses(stack, node) == (vip,)] == [
        "node4",
        "node5",
    ]
    assert address_of(stack, "node4:81") == (IPv4Address("192.168.31.165"), 81)
    assert address_of(stack, "10.0.0.1") == (IPv4Address("10.0.0.1"), None)
    assert node_of_address(stack, IPv4Address("192.168.31.86")) == "node7"
    peers = http_of_proxy(stack, edge).upstreams[0].peers
    assert [peer.address for peer in peers] == ["192.168.31.97:80", "192.168.31.86:80"]
    assert http_of_site(stack.sites["web1"]).types["html"] == "text/html"


def test_a_peer_without_a_port_is_the_site_of_its_node() -> None:
    stack = example("node: node6, listen: 80", "node: node6, listen: 8081")
    peers = http_of_proxy(stack, stack.proxies["edge"]).upstreams[0].peers
    assert [peer.address for peer in peers] == ["192.168.31.97:8081", "192.168.31.86:80"]


GOLDEN = [
    (
        "scheduler: rr", "scheduler: wr",
        ["24:16: virtual_services.web.scheduler: 'wr' is not possible here "
         "(did you mean 'wrr'? allowed: dh, fo, lblc, lblcr, lc, mh, nq, ovf, rr, sed, sh, twos, "
         "wlc, wrr)"],
    ),
    (
        "router_id: 51", "router_id: 510\n    router_id: 51",
        ["14:16: virtual_routers.front.router_id: '510' is too large: at most 255",
         "15:5: key 'router_id' is given twice (first in line 14)"],
    ),
    (
        "advert_interval", "advert_intervall",
        ["16:5: unknown key 'advert_intervall' in virtual_routers.front (did you mean "
         "'advert_interval'? allowed: " + ROUTER_KEYS + ")"],
    ),
    (
        "router_id: 51", "routr_id: 51",
        ["14:5: unknown key 'routr_id' in virtual_routers.front (did you mean "
         "'router_id'? allowed: " + ROUTER_KEYS + ")"],
    ),
    (
        "    router_id: 51\n", "",
        ["13:3: 'router_id' is missing in virtual_routers.front"],
    ),
    (
        "front:80", "frnt:80",
        ["22:13: 'frnt' is neither a virtual router nor an IP address "
         "(did you mean 'front'? allowed: front)"],
    ),
    ("front:80", "front:http", ["22:13: 'http' is not a port: a number from 1 to 65535"]),
    ("front:80", "front", ["22:13: 'front' has no port: write ROUTER:port or ADDRESS:port"]),
    (
        "node3: 101", "nod3: 101",
        [f"18:27: there is no node 'nod3' (did you mean 'node3'? allowed: {NODES})"],
    ),
    (
        "{node4: {weight: 1}, node5", "{node4: {wieght: 1}, node8",
        ["26:28: unknown key 'wieght' in virtual_services.web.real_servers.node4 "
         "(did you mean 'weight'? allowed: check, checks, forward, inhibit_on_failure, "
         "lower_threshold, notify_down, notify_up, tunnel, upper_threshold, weight)",
         "26:40: 'node8' is neither a node nor an IP address "
         f"(did you mean 'node7'? allowed: {NODES})"],
    ),
    (
        "node4: {weight: 1}", "node4:8080: {weight: 1}",
        ["26:20: port 8080 differs from the service's port 80 "
         "(direct routing (dr) cannot change the port)"],
    ),
    (
        "node4: {weight: 1}", "node2: {weight: 1}",
        ["26:20: node 'node2' directs this service and cannot be its real server too "
         "(it can where no other node directs the service: use another node)"],
    ),
    (
        "upstream: {node6: 1, node7: 1}", "upstream: {node6: 1}, nginx: nginx.conf",
        ["30:67: a proxy has `nginx`, or `listen` and `upstream`, not both"],
    ),
    (
        ", upstream: {node6: 1, node7: 1}", "",
        ["30:3: 'upstream' is missing in proxies.edge "
         "(a proxy has `listen` and `upstream`, or `nginx`)"],
    ),
    (
        "{node6: 1, node7: 1}", "{node4: 1, node7: 1}",
        ["30:56: 'node4' is the proxy itself: requests would go round in a circle"],
    ),
    (
        "192.168.31.93", "192.168.31.393",
        ["5:20: nodes.node2.address: '192.168.31.393' is not an IPv4 address"],
    ),
    (
        "192.168.31.93", "192.168.31.91",
        ["6:20: 192.168.31.91 is the address of node 'node2' already"],
    ),
    (
        "[192.168.31.145]", "[192.168.31.86]",
        ["15:17: 192.168.31.86 is the own address of node 'node7' "
         "(a virtual address belongs to no node, or to the member with priority 255)"],
    ),
    (
        "sites:", "  other: {nodes: [node4], listen: 80, upstream: {node6: 1}}\nsites:",
        ["32:35: proxies.edge listens on port 80 of node 'node4' already"],
    ),
    (
        "advert_interval: 1s", "advert_interval: soon",
        ["16:22: virtual_routers.front.advert_interval: 'soon' is not a duration; "
         "write it like 500ms, 3s or 2m"],
    ),
    (
        "advert_interval: 1s", "advert_interval: 1500ms",
        ["16:22: VRRP version 2 has whole seconds, not 1.5 (write `version: 3`)"],
    ),
    (
        'password: "1111"', "pasword_file: x",
        ["17:34: unknown key 'pasword_file' in virtual_routers.front.authentication "
         "(did you mean 'password_file'? allowed: active, keys, mode, password, password_file, "
         "replay, type, window)"],
    ),
    (
        "  node2: {", "  node2: {{",
        ["6:3: not YAML: while parsing a flow mapping, "
         "expected ',' or '}', but got '<scalar>'"],
    ),
    (
        "  node2: {", "  node two: {",
        ["5:3: nodes.node two: 'node two' is no name "
         "(letters, digits, '_', '-' and '.', the first a letter or digit)",
         "18:15: there is no node 'node2' "
         "(did you mean 'node7'? allowed: node3, node4, node5, node6, node7)"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), GOLDEN, ids=[new[:40] for _, new, _ in GOLDEN])
def test_a_mistake_is_named_with_its_place_and_its_cure(
    old: str, new: str, expected: list[str]
) -> None:
    assert old in TEXT
    assert problems(TEXT.replace(old, new, 1)) == [f"stack.yaml:{line}" for line in expected]


def test_every_problem_is_reported_not_only_the_first() -> None:
    text = (
        TEXT.replace("router_id: 51", "router_id: 0")
        .replace("node3: 101", "node9: 101")
        .replace("root: web2", "root: web2, rot: 1")
        .replace("nodes: [node4", "nodes: [node0")
    )
    lines = [problem.split(":")[1] for problem in problems(text)]
    assert lines == ["14", "30", "34"]  # node9 stands in the router that is wrong in itself


@pytest.mark.parametrize(
    ("written", "password"), [("1111", "1111"), ("0111", "0111"), ("1e3", "1e3"), ("true", "true")]
)
def test_an_unquoted_password_is_what_was_written(written: str, password: str) -> None:
    authentication = example('"1111"', written).virtual_routers["front"].authentication
    assert authentication is not None and authentication.password is not None
    assert authentication.password.get_secret_value() == password


def test_numbers_are_yaml_12_and_node_names_are_text() -> None:
    text = "nodes:\n  010: {}\n  no: {}\n  2001-01-01: {interface: 1_0}\nsites:\n"
    stack, notes = read_stack(text + "  a: {node: 010, listen: 081, root: /x}\n", "s")
    assert list(stack.nodes) == ["010", "no", "2001-01-01"]
    assert stack.sites["a"].listen == 81
    assert [note.word for note in notes] == ["no", "2001-01-01"]


def test_a_password_file_is_read_and_shown_nowhere() -> None:
    text = TEXT.replace('password: "1111"', "password_file: vrrp.secret")
    stack, notes = read_stack(text, "etc/stack.yaml", SecretFiles("s3cr3t-and-more\n"))
    authentication = stack.virtual_routers["front"].authentication
    assert authentication is not None and authentication.password is not None
    assert authentication.password.get_secret_value() == "s3cr3t-and-more"
    assert [note.message for note in notes] == [
        "longer than 8 bytes: only the first 8 are used, as VRRPv2 has no room for more"
    ]
    assert "s3cr3t" not in f"{stack!r} {stack.model_dump_json()} {notes!r}"


@pytest.mark.parametrize("wrong", ["authentication: s3cr3t", "authentication: [s3cr3t]"])
def test_a_secret_in_the_wrong_place_is_not_printed(wrong: str) -> None:
    text = TEXT.replace('authentication: {type: pass, password: "1111"}', wrong)
    assert "s3cr3t" not in "".join(problems(text))


def test_anchors_and_merge_keys_work() -> None:
    text = """
nodes: {a: {address: 10.0.0.1}, b: {address: 10.0.0.2}}
sites:
  one: &site {node: a, listen: 8080, root: /one}
  two: {<<: *site, node: b}
  three: {<<: [{root: /three}, *site], node: b, listen: 81}
"""
    stack, _ = read_stack(text, "s")
    assert (stack.sites["two"].node, stack.sites["two"].root) == ("b", "/one")
    assert stack.sites["three"].root == "/three"
    assert problems(text.replace("node: a, ", "node: a, nod: a, "))[:1] == [
        "stack.yaml:4:24: unknown key 'nod' in sites.one "
        "(did you mean 'node'? allowed: index, listen, node, root)"
    ]


@pytest.mark.parametrize(
    "bomb",
    [
        "nodes: &a [*a]",
        "nodes: &a {x: *a}",
        "nodes: &a {<<: *a}",
        "nodes: " + "[" * 5000,
        "nodes: " + "{a: " * 5000,
        "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]\n" for n in range(1, 12)),
    ],
)
def test_bombs_are_bounded(bomb: str) -> None:
    assert len("\n".join(problems(bomb))) < 2000


@settings(max_examples=150, deadline=None)
@given(
    st.text()
    | st.lists(st.sampled_from([*TEXT.split(" "), "[", "{", "&a", "*a", "<<:"])).map(" ".join)
)
def test_any_text_is_a_stack_or_a_stack_error(text: str) -> None:
    try:
        read_stack(text, "fuzz.yaml")
    except StackError as error:
        assert error.problems


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_example_is_a_stack_or_a_stack_error(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(TEXT)))
    end = data.draw(st.integers(start, min(len(TEXT), start + 12)))
    text = TEXT[:start] + data.draw(st.text(max_size=4)) + TEXT[end:]
    try:
        read_stack(text, "fuzz.yaml")
    except StackError as error:
        lines = text.count("\n") + 1
        assert all(1 <= problem.place.line <= lines + 1 for problem in error.problems)


KEY = '{key: "your own: openssl rand -hex 32"}'


def test_a_flow_key_file_is_read_and_shown_nowhere() -> None:
    text = TEXT.replace(KEY, "{key_file: vrrp.secret, hold: 500ms}")
    stack, notes = read_stack(text, "etc/stack.yaml", SecretFiles("0123456789abcdef-s3cr3t\n"))
    sync = stack.flow_sync
    assert sync is not None and sync.key is not None and sync.hold == 0.5
    assert sync.key.get_secret_value() == "0123456789abcdef-s3cr3t"
    assert notes == [] and "s3cr3t" not in f"{stack!r} {stack.model_dump_json()}"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{}", "flow_sync needs either `key` or `key_file`"),
        ("{key: 0123456789abcdef, key_file: x}", "flow_sync needs either `key` or `key_file`"),
        ("{key: short}", "the key is shorter than 16 bytes"),
        ("{key: 0123456789abcdef, hold: 31}", "hold"),
    ],
)
def test_a_wrong_flow_sync_is_named(written: str, said: str) -> None:
    assert any(said in problem for problem in problems(TEXT.replace(KEY, written)))


def test_directors_without_flow_sync_are_warned_of() -> None:
    _, notes = read_stack(TEXT.replace(f"flow_sync: {KEY}", ""), "stack.yaml")
    assert ["flows are not synchronised" in note.message for note in notes] == [True]


BALANCING = [
    ("scheduler_flags: [mh-port]", "the flag mh-port is not one of the scheduler rr"),
    ("one_packet: true", "one_packet is for UDP: a TCP connection has more than one packet"),
    ("persistence: {granularity: 64}", "an IPv4 client has no 64 bits"),
    ("persistence: {granularity: 255.0.255.0}", "'255.0.255.0' is neither an IPv4 netmask"),
    ("persistence: {timeout: 0s}", "is too small: at least 1"),
    ("dead_flows: kill", "'kill' is not possible here"),
]


@pytest.mark.parametrize(("line", "expected"), BALANCING, ids=[line for line, _ in BALANCING])
def test_what_a_scheduler_cannot_do_is_said_where_it_stands(line: str, expected: str) -> None:
    (said,) = problems(TEXT.replace("scheduler: rr", f"scheduler: rr\n    {line}", 1))
    assert said.startswith("stack.yaml:25:") and expected in said


@pytest.mark.parametrize("forward", ["dr", "nat"])
def test_one_packet_and_nat_are_warned_of(forward: str) -> None:
    changed = TEXT.replace("protocol: tcp", "protocol: udp\n    one_packet: true", 1)
    changed = changed.replace("forward: dr", f"forward: {forward}", 1)
    _, notes = read_stack(changed, "stack.yaml")
    said = [note.message for note in notes if "one_packet" in note.message]
    assert bool(said) == (forward == "nat")


def test_thresholds_must_leave_room() -> None:
    text = TEXT.replace("weight: 1}", "weight: 1, upper_threshold: 3, lower_threshold: 4}", 1)
    (said,) = problems(text)
    assert "lower_threshold 4 is above upper_threshold 3" in said


@pytest.mark.parametrize(
    ("weight", "why"), [("65536", "too large: at most 65535"), ("-1", "too small: at least 0")]
)
def test_a_weight_out_of_range(weight: str, why: str) -> None:
    (said,) = problems(TEXT.replace("weight: 1}", f"weight: {weight}}}", 1))
    assert said.startswith("stack.yaml:26:") and why in said


def test_the_kernels_ipvs_cannot_do_everything() -> None:
    _, notes = read_stack(f"datapath: ipvs\n{TEXT}", "stack.yaml")
    assert ["flow_sync has no effect" in note.message for note in notes] == [True]
    every = f"datapath: ipvs\n{TEXT}".replace("front:80", "front:0")
    assert any("only to persistent clients" in problem for problem in problems(every))
