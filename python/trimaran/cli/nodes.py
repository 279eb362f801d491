"""Which node's daemon a verb talks to."""

from pathlib import Path

from trimaran.node.run_directory import default
from trimaran.system.errors import CannotRunError


def control_socket(node: str | None, run_dir: Path | None) -> Path:
    """The control socket of that node, or of the only one there is. Raises CannotRunError."""
    base = run_dir or default()
    if node is not None:
        return base / f"{node}.sock"
    found = sorted(base.glob("*.sock"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise CannotRunError(f"no node runs in {base}", "start one with `trimaran run`")
    names = ", ".join(path.stem for path in found)
    raise CannotRunError(f"several nodes run in {base}: {names}", "say which one with --node")
