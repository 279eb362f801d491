"""Text files of this machine, as the readers of `stack` ask for them."""

import glob
import os
import stat
from pathlib import Path

from trimaran.stack.files import Refusal
from trimaran.system import scripts


class DiskFiles:
    """`stack.files.Files` on the disk."""

    def read(self, path: str) -> str:
        """The text of a file. Raises OSError. What is not UTF-8 becomes U+FFFD, which the readers
        refuse outside comments."""
        return Path(path).read_text(encoding="utf-8", errors="replace")

    def read_secret(self, path: str) -> str:
        """The text of a file that only its owner may read. Raises OSError."""
        with Path(path).open(encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                sentence = (
                    f"others may read this secret (mode {mode:04o}); mend it: chmod 600 {path}"
                )
                raise PermissionError(1, sentence, path)
            return file.read()

    def refusal(self, command: str) -> Refusal | None:
        """Why a command cannot be run on this machine; None when it can."""
        return scripts.refusal(command)

    def match(self, pattern: str) -> list[str]:
        """The existing paths that a glob pattern stands for, sorted."""
        return sorted(glob.glob(pattern))  # noqa: PTH207 - the pattern may be absolute


def beginning(path: str, size: int) -> bytes:
    """At most so many bytes of a file, without waiting for what is none (a pipe). Raises
    OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)
