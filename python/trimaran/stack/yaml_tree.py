"""YAML text to plain data, with the place of every key and value. Bounded: depth, size, aliases."""

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from trimaran.stack.errors import Place, Problem, StackError
from trimaran.stack.source import NOT_UTF8

Path = tuple[str | int, ...]

MAX_CHARACTERS = 4 << 20
MAX_DEPTH = 40
MAX_VALUES = 200_000  # after aliases are followed: a "billion laughs" ends here


class _Loader(yaml.SafeLoader):
    """Scalars as in YAML 1.2's core schema, and merge keys."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("merge", "<<", ["<"]),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first
    )


@dataclass
class Tree:
    """Plain data of a YAML text. `written` keeps a non-text scalar as it was written; `problems`
    are the duplicate keys and whatever else is wrong with the YAML itself."""

    file: str
    data: Any = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    written: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, path: Path, key: bool = False) -> Place:
        """Where the value of `path` stands (`key`: its key); of what is absent, the nearest
        enclosing thing that is there."""
        while path:
            if key and path in self.keys:
                return self.keys[path]
            if path in self.values:
                return self.values[path]
            path, key = path[:-1], True
        return Place(self.file)


def read_tree(text: str, file: str) -> Tree:
    """Raises StackError where the text is no YAML, or has no mapping at its top."""
    if len(text) > MAX_CHARACTERS:
        raise StackError([Problem(Place(file), f"longer than {MAX_CHARACTERS} characters")])
    try:
        _refuse_depth(text, file)
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise StackError([_of_yaml(error, file)]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
        message = f"character U+{_codepoint(error.character):04X} is not allowed in YAML"
        raise StackError([Problem(Place(file, line, column), message)]) from None
    builder = _Builder(file)
    if not isinstance(root, yaml.MappingNode):
        place = Place(file) if root is None else builder.place(root)
        help_ = "a stack file starts with `nodes:`"
        raise StackError([Problem(place, "not a mapping of sections", help_)])
    builder.tree.values[()] = builder.place(root)
    builder.tree.data = builder.build(root, (), 0)
    return builder.tree


def _codepoint(character: Any) -> int:
    return character if isinstance(character, int) else ord(character)


def _refuse_depth(text: str, file: str) -> None:
    """The composer recurses; the parser does not, so it can look first."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                mark = event.start_mark
                place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
                raise StackError([Problem(place, f"nested deeper than {MAX_DEPTH} levels")])
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _of_yaml(error: yaml.MarkedYAMLError, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    place = Place(file) if mark is None else Place(file, mark.line + 1, mark.column + 1)
    parts = [part for part in (error.context, error.problem) if part]
    return Problem(place, "not YAML: " + ", ".join(parts))


class _Builder:
    def __init__(self, file: str) -> None:
        self.tree = Tree(file)
        self.count = 0

    def place(self, node: yaml.Node) -> Place:
        return Place(self.tree.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def build(self, node: yaml.Node, path: Path, depth: int) -> Any:
        self.count += 1
        if depth > MAX_DEPTH:
            self._stop(node, f"nested deeper than {MAX_DEPTH} levels; does an alias hold itself?")
        if self.count > MAX_VALUES:
            self._stop(node, f"more than {MAX_VALUES} values once the aliases are followed")
        self.tree.values.setdefault(path, self.place(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [
                self.build(item, (*path, index), depth + 1) for index, item in enumerate(node.value)
            ]
        return self._scalar(node, path)

    def _stop(self, node: yaml.Node, message: str) -> None:
        raise StackError([*self.tree.problems, Problem(self.place(node), message)])

    def _mapping(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, Any]:
        built: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        first: dict[str, Place] = {}
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
                continue
            if not isinstance(key, yaml.ScalarNode):
                self._problem(key, "a key must be a word, not a list or a mapping")
                continue
            word = key.value
            if word in first:
                self._problem(
                    key, f"key '{word}' is given twice", f"first in line {first[word].line}"
                )
                continue
            first[word] = self.place(key)
            self.tree.keys[(*path, word)] = self.place(key)
            built[word] = self.build(value, (*path, word), depth + 1)
        for source in merged:
            self._merge(source, built, path, depth)
        return built

    def _merge(self, source: yaml.Node, built: dict[str, Any], path: Path, depth: int) -> None:
        """`<<: *alias`: its keys, where they are not given already."""
        if not isinstance(source, yaml.MappingNode):
            self._problem(source, "`<<` takes a mapping or a list of mappings")
            return
        other = _Builder(self.tree.file)
        other.count = self.count
        extra = other.build(source, path, depth + 1)
        self.count = other.count
        self.tree.problems += other.tree.problems
        for mine, theirs in (
            (self.tree.keys, other.tree.keys),
            (self.tree.values, other.tree.values),
        ):
            for where, place in theirs.items():
                if len(where) > len(path) and where[len(path)] not in built:
                    mine.setdefault(where, place)
        for where, text in other.tree.written.items():
            if len(where) > len(path) and where[len(path)] not in built:
                self.tree.written.setdefault(where, text)
        for word, value in extra.items():
            built.setdefault(word, value)

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        text: str = node.value
        if NOT_UTF8 in text:
            self._problem(node, "not UTF-8 text", "save the file in UTF-8")
        if kind == "str":
            return text
        if kind == "null":
            return None
        self.tree.written[path] = text
        if kind == "bool":
            return text.lower() == "true"
        if kind == "int" and len(text) < 20 and re.fullmatch(r"[-+]?[0-9]+", text):
            return int(text)
        if kind == "float" and re.fullmatch(r"[-+.0-9eE]+", text):
            return float(text)
        if kind in ("int", "float", "merge"):
            return text
        self._problem(node, f"the tag '{node.tag}' has no meaning here")
        return text

    def _problem(self, node: yaml.Node, message: str, help_: str = "") -> None:
        self.tree.problems.append(Problem(self.place(node), message, help_))
