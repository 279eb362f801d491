"""Files on disk: replaced whole or not at all, and read for the stack's readers."""

import os
import stat
from glob import glob
from pathlib import Path

_SECRET_MODE = 0o077  # no bit of these


def write_atomic(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace the file: after a power loss or kill -9 it holds the old bytes or the new ones."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make names written in, or removed from, the directory last."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DiskFiles:
    """What the stack's readers read through (stack.files.Files)."""

    def read(self, path: str) -> str:
        """The text of a file. Raises OSError."""
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")

    def read_secret(self, path: str) -> str:
        """The text of a file that only its owner may read. Raises OSError."""
        with Path(path).open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & _SECRET_MODE:
                raise PermissionError(1, f"others may read it (mode {mode:04o}): chmod 600", path)
            return file.read()

    def match(self, pattern: str) -> list[str]:
        """The existing paths that a glob pattern stands for, sorted."""
        return sorted(glob(pattern))  # noqa: PTH207 -- Path.glob refuses absolute patterns
