"""Files of every kind to one stack, and what `trimaran check` says of them."""
# ruff: noqa: E501 - golden texts stay on one line

import io
import json
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from stack_files import MemoryFiles

from trimaran.cli.check import check
from trimaran.stack.describe import describe
from trimaran.stack.errors import StackError
from trimaran.stack.load import kind_of, load, load_classic
from trimaran.stack.lvsrs import read_lvsrs
from trimaran.stack.report import remarkable, summary
from trimaran.stack.resolve import http_of_proxy, real_server_addresses
from trimaran.stack.schema import json_schema
from trimaran.system.files import DiskFiles

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "seven-nodes"
CLASSIC = EXAMPLES / "classic"
FILES = [
    CLASSIC / name
    for name in ("node2.keepalived.conf", "node3.keepalived.conf", "nginx.conf", "lvsrs")
]
VIP = IPv4Address("192.168.31.145")


def checked(*paths: Path) -> tuple[int, str]:
    output = io.StringIO()
    code = check(paths, console=Console(file=output, width=100))
    return code, output.getvalue()


# lvsrs


def test_the_classic_script_gives_its_address() -> None:
    addresses, notes = read_lvsrs((CLASSIC / "lvsrs").read_text(), "lvsrs")
    assert addresses == (VIP,)
    assert [(note.place.line, note.word, note.status) for note in notes] == [
        (1, "script", "no effect"),
        (3, "VIP", "honoured"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "VIP=10.0.0.1",
        "  export VIP='10.0.0.1'",
        'SNS_VIP="10.0.0.1/32"  # the VIP',
        "vip=10.0.0.1; echo",
        "VIP1=10.0.0.1\nVIP2=10.0.0.1",
        "VIPS=(10.0.0.1)",
    ],
)
def test_spellings_of_the_address(line: str) -> None:
    assert read_lvsrs(f"#!/bin/sh\n{line}\n", "s")[0] == (IPv4Address("10.0.0.1"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#!/bin/sh\n", "s:1:1: no address is set (a line `VIP=ADDRESS` is needed)"),
        ("\n VIP=$1", "s:2:2: VIP: Expected 4 octets in '$1' (write the address itself)"),
    ],
)
def test_a_script_without_an_address_is_refused(text: str, expected: str) -> None:
    with pytest.raises(StackError) as caught:
        read_lvsrs(text, "s")
    assert str(caught.value) == expected


@settings(deadline=None)
@given(st.text(st.sampled_from(list("VIP=10.;\n'\"( #")), max_size=40))
def test_any_script_gives_addresses_or_a_stack_error(text: str) -> None:
    try:
        assert read_lvsrs(text, "s")[0]
    except StackError as error:
        assert error.problems


# load


def test_kinds_are_seen_by_content() -> None:
    kinds = {path.name: kind_of(path.name, path.read_text()) for path in FILES}
    assert kinds == {
        "node2.keepalived.conf": "keepalived",
        "node3.keepalived.conf": "keepalived",
        "nginx.conf": "nginx",
        "lvsrs": "lvsrs",
    }
    assert kind_of("x", (EXAMPLES / "stack.yaml").read_text()) == "stack"
    with pytest.raises(StackError, match="neither a stack file, nor"):
        kind_of("x", "hello")


def test_nginx_and_script_make_one_node() -> None:
    paths = [str(CLASSIC / "nginx.conf"), str(CLASSIC / "lvsrs")]
    loaded = load(paths, DiskFiles(), node="node4")
    assert list(loaded.stack.nodes) == ["node4"]
    assert real_server_addresses(loaded.stack, "node4") == (VIP,)
    [proxy] = loaded.stack.proxies.values()
    assert http_of_proxy(loaded.stack, proxy).upstreams[0].name == "webservers"
    assert summary(loaded.notes) == "22 of 25 options honoured, 3 without effect"
    assert loaded.stack == load_classic(DiskFiles(), "node4", nginx=paths[0], lvsrs=paths[1]).stack


def test_the_problems_of_all_files_are_reported() -> None:
    files = MemoryFiles(
        {
            "k.conf": "vrrp_instance x",
            "n.conf": "http { ssl on; }",
            "s": "VIP=x",
            "t": "VIP=1.1.1.1",
        }
    )
    with pytest.raises(StackError) as caught:
        load(["k.conf", "n.conf", "s"], files)
    assert [problem.place.file for problem in caught.value.problems] == ["k.conf", "n.conf", "s"]
    with pytest.raises(StackError, match="a second lvsrs file, beside s"):
        load(["s", "t"], files)
    with pytest.raises(FileNotFoundError):
        load(["gone"], files)


def test_a_stack_file_stands_alone() -> None:
    files = MemoryFiles({"a.yaml": "nodes: {a: {}}", "s": "VIP=10.0.0.1"})
    with pytest.raises(StackError, match="a stack file stands alone"):
        load(["a.yaml", "s"], files)


def test_a_proxy_of_the_stack_may_have_an_nginx_conf() -> None:
    stack = (EXAMPLES / "stack.yaml").read_text()
    text = stack.replace("listen: 80, upstream: {node6: 1, node7: 1}", "nginx: n/nginx.conf")
    nginx = (CLASSIC / "nginx.conf").read_text()
    loaded = load(["etc/s.yaml"], MemoryFiles({"etc/s.yaml": text, "etc/n/nginx.conf": nginx}))
    http = http_of_proxy(loaded.stack, loaded.stack.proxies["edge"])
    assert [peer.address for peer in http.upstreams[0].peers] == [
        "192.168.31.97:80",
        "192.168.31.86:80",
    ]
    assert [note.place.file for note in remarkable(loaded.notes)] == ["etc/n/nginx.conf"] * 3
    with pytest.raises(StackError) as caught:
        load(["s.yaml"], MemoryFiles({"s.yaml": text}))
    assert str(caught.value) == (
        "s.yaml:30:40: cannot read 'n/nginx.conf': No such file or directory"
    )
    broken = {"s.yaml": text, "n/nginx.conf": "http { server { auth_jwt a; } }"}
    with pytest.raises(StackError, match=r"^n/nginx.conf:1:17: 'auth_jwt' is refused"):
        load(["s.yaml"], MemoryFiles(broken))


def test_the_inner_http_of_a_proxy_cannot_be_written() -> None:
    text = "nodes: {a: {}}\nproxies:\n  p: {nodes: [a], listen: 80, upstream: {10.0.0.1: 1}, http: {}}\n"
    with pytest.raises(StackError, match=r"unknown key 'http' in proxies\.p"):
        load(["s.yaml"], MemoryFiles({"s.yaml": text}))


# files


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "vrrp.secret"
    secret.write_text("1111\n")
    for mode in (0o640, 0o604, 0o660):
        secret.chmod(mode)
        with pytest.raises(PermissionError, match=f"mode 0{mode:o}.*chmod 600"):
            DiskFiles().read_secret(str(secret))
    secret.chmod(0o600)
    assert DiskFiles().read_secret(str(secret)) == "1111\n"
    stack = tmp_path / "stack.yaml"
    text = (EXAMPLES / "stack.yaml").read_text()
    stack.write_text(text.replace('password: "1111"', "password_file: vrrp.secret"))
    assert checked(stack)[0] == 0
    secret.chmod(0o644)
    code, output = checked(stack)
    assert code == 1
    assert "others may read this secret (mode 0644); mend it: chmod 600" in output


def test_what_is_not_utf8_is_fine_in_comments_only(tmp_path: Path) -> None:
    for name, text in {
        "n.conf": b"http { # caf\xe9\n server { root /caf\xe9; } }",
        "k.conf": b"! caf\xe9\nglobal_defs {\n router_id caf\xe9\n}",
        "s.yaml": b"# caf\xe9\nnodes:\n  a: {interface: caf\xe9}",
    }.items():
        path = tmp_path / name
        path.write_bytes(text)
        with pytest.raises(StackError) as caught:
            load([str(path)], DiskFiles())
        assert [problem.message for problem in caught.value.problems] == ["not UTF-8 text"]
        path.write_bytes(
            text.replace(b"/caf\xe9", b"/x")
            .replace(b"id caf\xe9", b"id x")
            .replace(b": caf\xe9", b": x")
        )
        load([str(path)], DiskFiles())


# check and describe


def test_describe_says_what_each_node_does() -> None:
    loaded = load([str(EXAMPLES / "stack.yaml")], DiskFiles())
    tasks = describe(loaded.stack)
    assert tasks["node3"] == [
        "director for web 192.168.31.145:80 rr by DR over node4, node5; TCP check every 3 s, "
        "timeout 3 s, down after 4 failures 1 s apart",
        "vrrp front: id 51, priority 101, stands by, carries 192.168.31.145 on ens33 while it is master",
    ]
    assert tasks["node5"] == [
        "real server: carries 192.168.31.145 on lo, hidden from ARP",
        "proxy edge: port 80: / to 192.168.31.97:80 192.168.31.86:80",
    ]
    assert tasks["node6"] == [f"site web1: port 80, files of {EXAMPLES / 'web1'}"]


def test_check_of_the_examples_is_0() -> None:
    code, output = checked(EXAMPLES / "stack.yaml", *FILES)
    assert code == 0
    assert output.count("can be used") == 5
    assert "node2.keepalived.conf: 32 of 32 options honoured" in output
    assert "nginx.conf:10  sendfile: tuning that the engine does not need" in output


def test_check_of_a_refused_file_is_1_and_shows_its_report(tmp_path: Path) -> None:
    path = tmp_path / "k.conf"
    path.write_text("vrf {\n}\nglobal_defs {\n  umask 022\n}\n")
    code, output = checked(path)
    assert code == 1
    assert f"{path}: 1 of 3 options honoured, 1 without effect, 1 refused" in output
    assert f"{path}:1:1: 'vrf' is refused" in output
    assert f"{path}: cannot be used: 1 problem" in output


def test_check_of_a_missing_file_is_2(tmp_path: Path) -> None:
    code, output = checked(EXAMPLES / "stack.yaml", tmp_path / "gone")
    assert code == 2
    assert "gone: cannot be read: No such file or directory" in output


def test_check_warns_where_nobody_carries_the_address(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text((EXAMPLES / "stack.yaml").read_text().replace("front:80", "10.0.0.1:80"))
    code, output = checked(path)
    assert code == 0
    assert "nobody carries 10.0.0.1: no virtual router has it, and no node" in output


# schema


def test_the_published_schema_is_current() -> None:
    published = json.loads((ROOT / "docs" / "stack.schema.json").read_text())
    assert published == json_schema(), "run tools/stack-schema"
    assert "http" not in published["$defs"]["Proxy"]["properties"]
