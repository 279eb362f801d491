"""A FIFO that others read: written to without ever waiting for them."""

import os
import stat
from pathlib import Path


class Fifo:
    """Made if it is missing, and then removed at the end. Its buffer is the kernel's: a reader
    that is slow loses nothing before that is full."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1
        self._made = False

    def open(self) -> None:
        """Make and open it. Raises OSError, also for what is no FIFO."""
        try:
            os.mkfifo(self.path, 0o600)
            self._made = True
        except FileExistsError:
            if not stat.S_ISFIFO(Path(self.path).lstat().st_mode):
                raise FileExistsError(17, "is there, and is no FIFO", self.path) from None
        # Reading, too: else it cannot be opened before there is a reader, and dies with the last.
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def write(self, text: str) -> None:
        """Write a line, whole or (BlockingIOError: it is full) not at all. Raises OSError."""
        os.write(self._descriptor, text.encode())  # up to PIPE_BUF bytes are written at once

    def close(self) -> None:
        """Close it, and remove what was made."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._made:
            Path(self.path).unlink(missing_ok=True)
