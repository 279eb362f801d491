"""Files in memory, for readers under test."""

from fnmatch import fnmatch


class MemoryFiles:
    """`stack.files.Files` over a dictionary."""

    def __init__(self, texts: dict[str, str]) -> None:
        self.texts = texts

    def read(self, path: str) -> str:
        if path not in self.texts:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.texts[path]

    def read_secret(self, path: str) -> str:
        return self.read(path)

    def match(self, pattern: str) -> list[str]:
        return sorted(path for path in self.texts if fnmatch(path, pattern))
