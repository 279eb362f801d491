"""What was changed while the node runs, in a file: a role that starts again has it, also when the
daemon was killed. A reload keeps it or drops it (docs/decisions/0100)."""

import json
from pathlib import Path
from typing import Any

from trimaran.system import state_file


class Runtime:
    """By role, as plain data; None: nowhere is kept what ends with the process."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.trouble = ""  # why the file's content was lost
        self._overlays = self._load()

    def _load(self) -> dict[str, Any]:
        if self._path is None:
            return {}
        try:
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            self.trouble = f"{self._path} cannot be read: {error}"
            return {}
        return found if isinstance(found, dict) else {}

    def of(self, role: str) -> Any:
        """What was changed there; None: nothing."""
        return self._overlays.get(role)

    def keep(self, role: str, overlay: Any) -> None:
        """Remember it for good; blocks for as long as the disk takes. Raises OSError."""
        self._overlays = {**self._overlays, role: overlay}
        self._write()

    def drop(self) -> None:
        """Forget everything. Raises OSError."""
        self._overlays = {}
        self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        if any(self._overlays.values()):
            state_file.write_atomic(self._path, json.dumps(self._overlays).encode())
        else:
            state_file.remove(self._path)
