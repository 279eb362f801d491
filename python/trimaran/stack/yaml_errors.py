"""What pydantic finds wrong, said in the words of the stack file."""

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from trimaran.stack.errors import Problem
from trimaran.stack.model import Stack
from trimaran.stack.nearest import nearest, suggestion
from trimaran.stack.yaml_tree import Path, Tree

_SIMPLE = {
    "ip_v4_address": "is not an IPv4 address",
    "ip_any_address": "is not an IP address",
    "ip_any_interface": "is not an IP address, with or without a prefix length",
    "int_parsing": "is not a whole number",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_parsing": "is not a number",
    "float_type": "is not a number",
    "finite_number": "is not a finite number",
    "bool_parsing": "is neither true nor false",
    "bool_type": "is neither true nor false",
    "string_type": "is not text",
    "dict_type": "is not a mapping (`key: value`)",
    "model_type": "is not a mapping (`key: value`)",
    "tuple_type": "is not a list (`[a, b]`)",
}
_LIMITS = {
    "greater_than_equal": ("ge", "is too small: at least"),
    "greater_than": ("gt", "is too small: more than"),
    "less_than_equal": ("le", "is too large: at most"),
    "less_than": ("lt", "is too large: less than"),
}


def problems_of(details: Sequence[ErrorDetails], tree: Tree) -> list[Problem]:
    """Pydantic's errors as Problems. A key that is missing only because it is misspelt is
    reported once, as the unknown key."""
    misspelt = {
        (*detail["loc"][:-1], nearest(str(detail["loc"][-1]), allowed(detail["loc"])))
        for detail in details
        if detail["type"] == "extra_forbidden"
    }
    return [
        _problem(detail, tree)
        for detail in details
        if detail["type"] != "missing" or detail["loc"] not in misspelt
    ]


def _problem(detail: ErrorDetails, tree: Tree) -> Problem:
    """One of pydantic's errors as a Problem at its place in the file."""
    path: Path = tuple(detail["loc"])
    at_key = path[-1:] == ("[key]",)
    path = path[:-1] if at_key else path
    kind = detail["type"]
    name = ".".join(str(part) for part in path)
    if kind == "extra_forbidden":
        where = ".".join(str(part) for part in path[:-1]) or "the stack"
        message = f"unknown key '{path[-1]}' in {where}"
        return Problem(
            tree.place(path, key=True), message, suggestion(str(path[-1]), allowed(path))
        )
    if kind == "missing":
        place = tree.place(path[:-1], key=True)
        owner = ".".join(str(part) for part in path[:-1]) or "the stack"
        return Problem(place, f"'{path[-1]}' is missing in {owner}")
    shown = _shown(detail["input"], secret="authentication" in path and path[-1] != "type")
    message, help_ = _said(detail, shown)
    return Problem(tree.place(path, key=at_key), f"{name}: {message}", help_)


def _said(detail: ErrorDetails, value: str) -> tuple[str, str]:
    """(message, help) for an error about one value."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _SIMPLE:
        return f"{value} {_SIMPLE[kind]}", ""
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        return f"{value} {words} {context[key]:g}", ""
    if kind == "literal_error":
        known = [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        return f"{value} is not possible here", suggestion(str(detail["input"]), known)
    if kind == "string_pattern_mismatch":
        return (
            f"{value} is no name",
            "letters, digits, '_', '-' and '.', the first a letter or digit",
        )
    if kind == "too_short":
        return "needs at least one entry", ""
    if kind == "too_long":
        return f"has more than {context['max_length']} entries", ""
    if kind == "value_error":
        return str(context["error"]), ""
    return f"{value}: {detail['msg']}", ""


def _shown(value: Any, secret: bool) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    if secret:
        return "what stands here"
    text = str(value)
    return f"'{text if len(text) <= 60 else text[:57] + '...'}'"


def allowed(path: Path) -> list[str]:
    """The keys allowed where the last word of `path` stands."""
    annotation: Any = Stack
    for part in path[:-1]:
        annotation = _step(annotation, part)
    model = next(_models(annotation), None)
    if model is None:
        return []
    return [name for name, info in model.model_fields.items() if not info.exclude]


def _step(annotation: Any, part: str | int) -> Any:
    """The type of what `part` names inside a value of this type."""
    model = next(_models(annotation), None) if not _is_container(annotation) else None
    if model is not None:
        info = model.model_fields.get(str(part))
        return info.annotation if info else None
    for container in _containers(annotation):
        arguments = get_args(container)
        return arguments[1] if isinstance(part, str) else arguments[0]
    return None


def _is_container(annotation: Any) -> bool:
    return next(_containers(annotation), None) is not None


def _containers(annotation: Any) -> Iterator[Any]:
    if getattr(annotation, "__origin__", None) in (dict, tuple):
        yield annotation
        return
    for argument in get_args(annotation):
        if not isinstance(argument, type) or get_args(argument):
            yield from _containers(argument)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        return
    if getattr(annotation, "__origin__", None) in (dict, tuple):
        return
    for argument in get_args(annotation):
        yield from _models(argument)
