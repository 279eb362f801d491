"""The one lexer and parser of block grammars: nginx's and keepalived's.

Both are words, blocks in braces, quotes and comments; they differ in how a statement ends (';' or
the line) and in what may stand inside a word. `parse` gives statements with the place of each word;
what the words mean is the readers' affair.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from trimaran.stack.errors import Place, Problem, StackError
from trimaran.stack.source import MAX_CHARACTERS, NOT_UTF8, Source

MAX_DEPTH = 64


@dataclass(frozen=True)
class Word:
    """One word, quotes taken off and escapes resolved."""

    text: str
    place: Place
    quoted: bool = False


@dataclass(frozen=True)
class Statement:
    """`words` (at least one), and the statements of its block; None where it has none."""

    words: tuple[Word, ...]
    block: tuple["Statement", ...] | None = None

    @property
    def name(self) -> str:
        """The first word: the directive."""
        return self.words[0].text

    @property
    def place(self) -> Place:
        """Where it begins."""
        return self.words[0].place

    @property
    def arguments(self) -> tuple[str, ...]:
        """The words after the first, as text."""
        return tuple(word.text for word in self.words[1:])


@dataclass(frozen=True)
class Grammar:
    """Regular expressions of the parts. `space` includes comments; `line_ends`: a statement ends
    with its line, and a block may open on the next; else with ';'.

    Words are not possessive: before Python 3.11.5 (Debian 12 has 3.11.2) a possessive group keeps
    what its last, failed round ate.
    """

    space: re.Pattern[str]
    word: re.Pattern[str]
    quoted: re.Pattern[str]
    escapes: bool
    line_ends: bool


# nginx (ngx_conf_read_token): '#' starts a comment only where a word could start, '}' is special
# only there too, "${" does not open a block, a backslash protects the next character.
NGINX = Grammar(
    space=re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+"),
    word=re.compile(r"(?:\\.|\$\{|[^ \t\r\n;{\\])+|\\", re.DOTALL),
    quoted=re.compile(r"\"((?:\\.|[^\"\\])*+)\"|'((?:\\.|[^'\\])*+)'", re.DOTALL),
    escapes=True,
    line_ends=False,
)

# keepalived: '#' and '!' start a comment anywhere outside quotes, '"' ends a word, a brace is one
# only at an end of a word.
KEEPALIVED = Grammar(
    space=re.compile(r"(?:[ \t\r\f\v]++|[#!][^\n]*+)*+"),
    word=re.compile(r"[^\s\"#!{}](?:[^\s\"#!{}]|[{}](?=[^\s\"#!{}]))*"),
    quoted=re.compile(r"\"([^\"\n]*+)\""),
    escapes=False,
    line_ends=True,
)

_ESCAPE = re.compile(r"\\([\"'\\tnr])")
_ESCAPED = {"t": "\t", "n": "\n", "r": "\r"}

Kind = Literal["word", "{", "}", "end"]


@dataclass(frozen=True)
class _Token:
    kind: Kind
    word: Word


def parse(source: Source, grammar: Grammar) -> tuple[Statement, ...]:
    """The statements of a text. Raises StackError at the first thing that is no statement."""
    text = source.text
    if len(text) > MAX_CHARACTERS:
        raise StackError(
            [Problem(Place(source.file), f"longer than {MAX_CHARACTERS >> 20} million characters")]
        )
    stack: list[tuple[tuple[Word, ...], list[Statement]]] = [((), [])]
    words: list[Word] = []
    for token in _tokens(text, source, grammar):
        statements = stack[-1][1]
        if token.kind == "word":
            if NOT_UTF8 in token.word.text:
                raise _error(token.word.place, "not UTF-8 text", "save the file in UTF-8")
            words.append(token.word)
        elif token.kind == "end":
            if words:
                statements.append(Statement(tuple(words)))
            elif not grammar.line_ends:
                raise _error(token.word.place, "unexpected ';'")
            words = []
        elif token.kind == "{":
            if not words and grammar.line_ends and statements and statements[-1].block is None:
                words = list(statements.pop().words)
            if not words:
                raise _error(token.word.place, "unexpected '{'", "what is the block's name?")
            if len(stack) > MAX_DEPTH:
                raise _error(token.word.place, f"blocks nested deeper than {MAX_DEPTH}")
            stack.append((tuple(words), []))
            words = []
        else:
            if words and not grammar.line_ends:
                raise _unterminated(words[0])
            if words:
                statements.append(Statement(tuple(words)))
                words = []
            if len(stack) == 1:
                raise _error(token.word.place, "unexpected '}'", "no block is open here")
            head, block = stack.pop()
            stack[-1][1].append(Statement(head, tuple(block)))
    if words and not grammar.line_ends:
        raise _unterminated(words[0])
    if len(stack) > 1:
        opened = stack[-1][0][0]
        raise _error(opened.place, f"the block of '{opened.text}' is not closed by '}}'")
    if words:
        stack[0][1].append(Statement(tuple(words)))
    return tuple(stack[0][1])


def _tokens(text: str, source: Source, grammar: Grammar) -> Iterator[_Token]:
    offset = 0
    while True:
        offset = _end(grammar.space.match(text, offset), offset)
        if offset == len(text):
            return
        character = text[offset]
        place = source.place(offset)
        if character in "{}":
            yield _Token("{" if character == "{" else "}", Word(character, place))
            offset += 1
        elif character == ("\n" if grammar.line_ends else ";"):
            yield _Token("end", Word(character, place))
            offset += 1
        elif match := grammar.quoted.match(text, offset):
            inner = next((group for group in match.groups() if group is not None), "")
            yield _Token("word", Word(_unescape(inner, grammar), place, quoted=True))
            offset = match.end()
            if not grammar.line_ends and text[offset : offset + 1] not in (*" \t\r\n;{)", ""):
                raise _error(source.place(offset), f"unexpected '{text[offset]}' after a quote")
        elif character == '"' or (character == "'" and not grammar.line_ends):
            raise _error(place, "the quote is not closed")
        elif match := grammar.word.match(text, offset):
            yield _Token("word", Word(_unescape(match[0], grammar), place))
            offset = match.end()
        else:  # white space that no grammar knows, such as a vertical tab in nginx's
            raise _error(place, f"unexpected character U+{ord(character):04X}")


def _end(match: re.Match[str] | None, offset: int) -> int:
    return match.end() if match else offset


def _unescape(text: str, grammar: Grammar) -> str:
    if not grammar.escapes or "\\" not in text:
        return text
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), text)


def _unterminated(word: Word) -> StackError:
    return _error(word.place, f"'{word.text[:60]}' is not ended by ';'")


def _error(place: Place, message: str, help_: str = "") -> StackError:
    return StackError([Problem(place, message, help_)])
