"""Text files of this machine, as the readers of `stack` ask for them."""

import glob
import os
import stat
from pathlib import Path


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

    def match(self, pattern: str) -> list[str]:
        """The existing paths that a glob pattern stands for, sorted."""
        return sorted(glob.glob(pattern))  # noqa: PTH207 - the pattern may be absolute
