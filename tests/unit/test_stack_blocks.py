"""The block lexer: places, quotes, comments and errors of both grammars."""

import json
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import crossplane
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trimaran.stack.blocks import KEEPALIVED, MAX_DEPTH, NGINX, Grammar, Statement, parse
from trimaran.stack.errors import StackError
from trimaran.stack.source import Source

EXAMPLES = Path(__file__).parents[2] / "examples"

Tree = list[tuple[tuple[str, ...], Any]]


def tree(text: str, grammar: Grammar) -> Tree:
    return plain(parse(Source.of(text, "f"), grammar))


def plain(statements: tuple[Statement, ...]) -> Tree:
    return [
        (
            tuple(word.text for word in statement.words),
            None if statement.block is None else plain(statement.block),
        )
        for statement in statements
    ]


def problem(text: str, grammar: Grammar) -> str:
    with pytest.raises(StackError) as caught:
        parse(Source.of(text, "f"), grammar)
    return str(caught.value)


NGINX_CASES: list[tuple[str, Tree]] = [
    ("a b c;", [(("a", "b", "c"), None)]),
    ("a;b{c;}", [(("a",), None), (("b",), [(("c",), None)])]),
    ("a b#c # d\n;", [(("a", "b#c"), None)]),
    ("a 'x y' \"z;{}\";", [(("a", "x y", "z;{}"), None)]),
    (r'a "q\"q" \; b\ c;', [(("a", 'q"q', r"\;", r"b\ c"), None)]),
    ("a ${x}y x}y;", [(("a", "${x}y", "x}y"), None)]),
    ("a it's;", [(("a", "it's"), None)]),
    ("a{}\n", [(("a",), [])]),
    ('a "" b;', [(("a", "", "b"), None)]),
    ("", []),
]

KEEPALIVED_CASES: list[tuple[str, Tree]] = [
    ("a b\nc", [(("a", "b"), None), (("c",), None)]),
    ("a b {\n c d ! e\n}\n", [(("a", "b"), [(("c", "d"), None)])]),
    ("a b\n\n{\nc\n}", [(("a", "b"), [(("c",), None)])]),
    ("a { b }", [(("a",), [(("b",), None)])]),
    ("a{\nb\n}", [(("a",), [(("b",), None)])]),
    ("a {b}", [(("a",), [(("b",), None)])]),
    ("a {\nx{y z\n}", [(("a",), [(("x{y", "z"), None)])]),
    ('a "b # c ! {" d', [(("a", "b # c ! {", "d"), None)]),
    ('a b"c d"e', [(("a", "b", "c d", "e"), None)]),
    ("a it's; b!c", [(("a", "it's;", "b"), None)]),
]


@pytest.mark.parametrize(("text", "expected"), NGINX_CASES, ids=[case[0] for case in NGINX_CASES])
def test_nginx_words(text: str, expected: Tree) -> None:
    assert tree(text, NGINX) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    KEEPALIVED_CASES,
    ids=[case[0] for case in KEEPALIVED_CASES],
)
def test_keepalived_words(text: str, expected: Tree) -> None:
    assert tree(text, KEEPALIVED) == expected


@pytest.mark.parametrize(
    ("text", "grammar", "expected"),
    [
        ("a\n  b", NGINX, "f:1:1: 'a' is not ended by ';'"),
        ("x; a }", NGINX, "f:1:4: 'a' is not ended by ';'"),
        ("a;\n }", NGINX, "f:2:2: unexpected '}' (no block is open here)"),
        ("a;\n{ b; }", NGINX, "f:2:1: unexpected '{' (what is the block's name?)"),
        (";", NGINX, "f:1:1: unexpected ';'"),
        ("a b {\n c;", NGINX, "f:1:1: the block of 'a' is not closed by '}'"),
        ('a\n "b', NGINX, "f:2:2: the quote is not closed"),
        ("a 'b'c;", NGINX, "f:1:6: unexpected 'c' after a quote"),
        ('a\n b "c\n', KEEPALIVED, "f:2:4: the quote is not closed"),
        ("a {\n b\n", KEEPALIVED, "f:1:1: the block of 'a' is not closed by '}'"),
        ("a\n }", KEEPALIVED, "f:2:2: unexpected '}' (no block is open here)"),
        ("a {" * 100, NGINX, f"f:1:{3 * MAX_DEPTH + 3}: blocks nested deeper than {MAX_DEPTH}"),
    ],
)
def test_errors_have_a_place(text: str, grammar: Grammar, expected: str) -> None:
    assert problem(text, grammar) == expected


def test_every_word_knows_its_place() -> None:
    text = "one  two {\n\tthree 'four five'\n  six;\n}\n"
    [outer] = parse(Source.of(text, "f"), NGINX)
    assert outer.block is not None
    words = [*outer.words, *outer.block[0].words]
    assert [(word.text, word.place.line, word.place.column) for word in words] == [
        ("one", 1, 1),
        ("two", 1, 6),
        ("three", 2, 2),
        ("four five", 2, 8),
        ("six", 3, 3),
    ]


# A statement tree written out and read again is the same tree.

words = st.text(
    st.characters(  # the last one stands for bytes that are no text
        blacklist_characters='"\n\r\\\N{REPLACEMENT CHARACTER}', blacklist_categories=["Cs"]
    ),
    max_size=8,
)
heads = st.lists(words, min_size=1, max_size=4).map(tuple)
trees = st.recursive(
    st.lists(st.tuples(heads, st.none()), max_size=4),
    lambda inner: st.lists(st.tuples(heads, st.none() | inner), max_size=3),
    max_leaves=12,
)


def written(statements: Tree, grammar: Grammar) -> str:
    text = ""
    for head, block in statements:
        text += " ".join(f'"{word}"' for word in head)
        if block is None:
            text += "\n" if grammar.line_ends else ";\n"
        else:
            text += f" {{\n{written(block, grammar)}}}\n"
    return text


@settings(deadline=None)
@given(trees, st.sampled_from([NGINX, KEEPALIVED]))
def test_what_is_written_is_read_again(statements: Tree, grammar: Grammar) -> None:
    assert tree(written(statements, grammar), grammar) == statements


@settings(deadline=None)
@given(st.text(st.sampled_from(list("ab \n\t;{}\"'\\#!$")), max_size=60), st.booleans())
@example("a\x0b;", False)
def test_any_text_is_statements_or_a_stack_error(text: str, lines: bool) -> None:
    try:
        for statement in parse(Source.of(text, "f"), KEEPALIVED if lines else NGINX):
            assert statement.place.line <= text.count("\n") + 1
    except StackError as error:
        assert len(error.problems) == 1


# crossplane is the oracle for nginx's grammar.

simple_words = st.text("abz09_$./:=~^*-", min_size=1, max_size=6)
quoted_words = st.text("ab c;{}#", max_size=6).map(lambda text: f"'{text}'")
nginx_heads = st.tuples(
    st.text("abcz_", min_size=2, max_size=6).filter(lambda word: word not in ("if", "include")),
    st.lists(simple_words | quoted_words, max_size=3),
).map(lambda pair: " ".join([pair[0], *pair[1]]))
nginx_texts = st.recursive(
    nginx_heads.map(lambda head: f"{head};\n"),
    lambda inner: st.tuples(nginx_heads, st.lists(inner, max_size=3)).map(
        lambda pair: f"{pair[0]} {{ # comment\n{''.join(pair[1])}}}\n"
    ),
    max_leaves=10,
)


def crossplane_tree(path: str) -> Tree:
    payload = crossplane.parse(path, single=True, check_ctx=False, check_args=False)
    assert payload["status"] == "ok", json.dumps(payload["errors"])

    def convert(block: list[dict[str, Any]]) -> Tree:
        return [
            (
                (each["directive"], *each["args"]),
                convert(each["block"]) if "block" in each else None,
            )
            for each in block
        ]

    return convert(payload["config"][0]["parsed"])


@settings(deadline=None)
@given(st.lists(nginx_texts, max_size=4).map("".join))
def test_nginx_words_are_those_of_crossplane(text: str) -> None:
    with NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(text)
        file.flush()
        assert tree(text, NGINX) == crossplane_tree(file.name)


@pytest.mark.parametrize(
    "path", [*EXAMPLES.rglob("nginx.conf"), *Path("/etc/nginx").glob("*.conf")], ids=str
)
def test_real_files_are_read_as_crossplane_reads_them(path: Path) -> None:
    assert tree(path.read_text(), NGINX) == crossplane_tree(str(path))
