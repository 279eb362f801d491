"""The JSON Schema of stack.yaml, for editors (docs/stack.schema.json)."""

from typing import Any

from trimaran.stack.model import Stack

_INNER = {("Proxy", "http")}  # set by the reader, never written


def json_schema() -> dict[str, Any]:
    """The schema of what may be written in a stack file."""
    schema = Stack.model_json_schema()
    for model, name in _INNER:
        schema["$defs"][model]["properties"].pop(name)
    schema["$defs"] = {
        name: definition for name, definition in schema["$defs"].items() if name in _used(schema)
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Trimaran stack file",
        **{key: value for key, value in schema.items() if key != "title"},
    }


def _used(schema: dict[str, Any]) -> set[str]:
    """The definitions that the schema refers to, directly or through others."""
    used: set[str] = set()
    waiting = [value for key, value in schema.items() if key != "$defs"]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        if isinstance(part, dict):
            waiting += part.values()
            name = str(part.get("$ref", "")).removeprefix("#/$defs/")
            if name and name not in used:
                used.add(name)
                waiting.append(schema["$defs"][name])
    return used
