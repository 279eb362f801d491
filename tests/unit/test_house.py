"""The rules that hold the house up (ARCHITECTURE.md), executed."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "python" / "trimaran"

PURE_STANDARD = {
    "abc", "base64", "bisect", "collections", "contextlib", "dataclasses", "difflib", "enum",
    "errno",
    "fnmatch", "functools", "hashlib", "heapq", "hmac", "importlib", "ipaddress", "itertools",
    "json", "math", "operator", "posixpath", "random", "re", "string", "struct", "textwrap",
    "types", "typing",
}  # fmt: skip
# `random` for its type only: randomness is an argument. `importlib` for importlib.resources.
PURE_LIBRARIES = {
    "stack": {"pydantic", "pydantic_core", "yaml", "regex"},
    "vrrp": set(),
    "director": set(),
    "proxy": set(),
    "health": {"msgspec"},
}
HEALTH_PURE = {"verdict", "settings", "pool"}
ARROWS = {
    "stack": set(),
    "vrrp": set(),
    "health": {"stack", "system"},
    "director": {"stack", "health"},
    "proxy": {"stack", "health"},
    "system": {"stack", "vrrp", "director", "proxy", "health"},
    "node": {"stack", "vrrp", "health", "director", "proxy", "system"},
    "lab": {"stack", "vrrp", "health", "director", "proxy", "system", "node"},
    "cli": {"stack", "vrrp", "health", "director", "proxy", "system", "node", "lab"},
}
HARD_LINES = 500


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_arrows_run_one_way(path: Path) -> None:
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "trimaran" or len(parts) < 2 or parts[1] == "_native":
            continue
        other = parts[1]
        assert other == room(path) or other in ARROWS[room(path)], f"{path} imports {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_pure_rooms_touch_nothing(path: Path) -> None:
    if room(path) not in PURE_LIBRARIES:
        return
    if room(path) == "health" and path.stem not in HEALTH_PURE:
        return
    allowed = PURE_STANDARD | PURE_LIBRARIES[room(path)] | {"trimaran", "__future__"}
    for name in imports(path):
        top = name.split(".")[0]
        assert top in allowed, f"{path} imports {name}: a pure room touches nothing"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_grows_past_the_hard_limit(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= HARD_LINES, f"{path}: split it by noun"


def test_the_vrrp_process_imports_nothing_it_can_do_without() -> None:
    import subprocess

    script = "import sys, trimaran.node.vrrp_role; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout.split()
    assert not {"pydantic", "fastapi", "uvicorn", "aiohttp", "yaml"} & set(loaded)
