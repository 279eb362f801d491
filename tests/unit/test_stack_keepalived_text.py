"""keepalived's lines before its words: conditions, loops, includes, definitions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stack_files import MemoryFiles

from trimaran.stack.errors import StackError
from trimaran.stack.keepalived import read_keepalived
from trimaran.stack.keepalived_loops import repeated
from trimaran.stack.keepalived_text import expand


def text(source: str, config_id: str | None = None, **files: str) -> list[str]:
    """The lines that are left, without what is empty."""
    found, _ = expand(source, "k.conf", MemoryFiles(files), config_id)
    return [line.strip() for line in found.text.split("\n") if line.strip()]


def test_lines_for_one_configuration_id() -> None:
    source = "@main a 1\n @backup a 2\n@^main b 1\n@^backup b 2\nc\n@main $X=7\n$X"
    assert text(source, "main") == ["a 1", "b 2", "c", "7"]
    assert text(source, "backup") == ["a 2", "b 1", "c", "$X"]
    assert text("${_INSTANCE}", "main") == ["main"]


def test_without_an_id_they_cannot_be_decided() -> None:
    with pytest.raises(StackError) as caught:
        text("a\n@main b\n@backup c")
    assert [str(problem) for problem in caught.value.problems] == [
        "k.conf:2:1: lines for one configuration id need that id: give `--node ID`"
    ]


def test_one_file_for_two_nodes() -> None:
    source = (
        "vrrp_instance VI {\ninterface ens33\nvirtual_router_id 7\n@lb1 priority 150\n"
        "@lb2 priority 100\nvirtual_ipaddress {\n10.0.0.1\n}\n}"
    )
    for node, priority in (("lb1", 150), ("lb2", 100)):
        stack, _ = read_keepalived(source, "k.conf", MemoryFiles({}), node)
        assert stack.virtual_routers["VI"].members == {node: priority}


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("~SEQ(S, 0, 3) 10.0.${S}.1", ["10.0.0.1", "10.0.1.1", "10.0.2.1", "10.0.3.1"]),
        ("~SEQ(S, 2) $S", ["1", "2"]),
        ("~SEQ(S, -2) $S", ["-1", "-2"]),
        ("~SEQ(S, 6, -2, 2) $S", ["6", "4", "2"]),
        ("~SEQx(S, 0x90, 0x10, 0xb0) fe80::${S}:1", ["fe80::90:1", "fe80::a0:1", "fe80::b0:1"]),
        ("~LST(IP, 1, 2) ~LST(IP1, 5,6) $IP.$IP1", ["1.5", "1.6", "2.5", "2.6"]),
        ("~LST({A, B}, {10,1},{20,4}) $A.$B", ["10.1", "20.4"]),
        ("~LST({A,B},{1,2}) ~SEQ(C,8,2,10) $C.$A.$B", ["8.1.2", "10.1.2"]),
    ],
)
def test_loops(line: str, lines: list[str]) -> None:
    assert text(line) == lines


def test_a_loop_over_a_block_makes_instances() -> None:
    source = (
        "$VI = vrrp_instance vi${ID} { \\\n interface ens33 \\\n virtual_router_id ${ID} \\\n"
        " virtual_ipaddress { \\\n 10.0.0.${ID} \\\n } \\\n}\n~SEQ(ID, 1, 254) $VI\n"
    )
    stack, _ = read_keepalived(source, "k.conf", MemoryFiles({}))
    assert len(stack.virtual_routers) == 254
    assert str(stack.virtual_routers["vi254"].addresses[0]) == "10.0.0.254/32"
    with pytest.raises(StackError) as caught:
        read_keepalived(source.replace("10.0.0.${ID}", "x"), "k.conf", MemoryFiles({}))
    assert str(caught.value.problems[0]).startswith("k.conf:8:1: "), "the place of the loop"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("~SEQ(S) x", "needs a name and one to three numbers"),
        ("~SEQ(S, a) x", "needs numbers after the name"),
        ("~SEQ(S, 1, 0, 5) x", "never ends"),
        ("~SEQ(S, 1, -1, 5) x", "never ends"),
        ("~SEQ(S, 1, 9999999) x", "makes more than 65536 lines"),
        ("~SEQ(A,1,300) ~SEQ(B,1,300) x", "makes 90000 lines"),
        ("~LST(A) x", "needs a name, or names in braces"),
        ("~LST({A,B}, {1}) x", "needs a name, or names in braces"),
        ("~SEQ S x", "is no loop"),
    ],
)
def test_wrong_loops_have_a_place(line: str, why: str) -> None:
    with pytest.raises(StackError) as caught:
        text(f"a\n{line}")
    assert str(caught.value.problems[0]).startswith("k.conf:2:1: ")
    assert why in str(caught.value.problems[0])


@given(st.text(alphabet="~SEQLSTx(){},AB01- \n$", max_size=40))
def test_any_line_is_repeated_or_refused(line: str) -> None:
    try:
        bindings, rest = repeated(line)
    except ValueError:
        return
    assert len(bindings) >= 1
    assert line.endswith(rest)


@given(st.text(alphabet='@^~$={}\\"#!abSEQLT(), \n0', max_size=80))
def test_any_text_is_read_or_refused(source: str) -> None:
    try:
        read_keepalived(source, "k.conf", MemoryFiles({}), "a")
    except StackError as error:
        assert error.problems


@pytest.mark.parametrize("word", ["include", "includer", "includew", "includeb"])
def test_an_include_may_find_nothing(word: str) -> None:
    assert text(f"{word} gone.conf\na") == ["a"]


@pytest.mark.parametrize("word", ["includem", "includea"])
def test_an_include_that_must_match(word: str) -> None:
    assert text(f"{word} x", x="b") == ["b"]
    with pytest.raises(StackError, match=r"no file matches 'gone\.conf'"):
        text(f"{word} gone.conf\na")


@pytest.mark.parametrize("use", ["${_RANDOM 1 9}", "${_ENV HOME}", "${_HASH}", "${_BANG}"])
def test_what_differs_at_every_reading_is_refused(use: str) -> None:
    with pytest.raises(StackError) as caught:
        text(f"priority {use}")
    assert str(caught.value.problems[0]).startswith("k.conf:1:10: '${_")
