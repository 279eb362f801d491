"""Files in memory, for readers under test."""

from fnmatch import fnmatch

from trimaran.stack.files import Refusal


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

    def refusal(self, command: str) -> Refusal | None:
        path = command.split()[0]
        if path in self.texts:
            return None
        return Refusal(f"'{path}' is not executable", f"chmod +x {path}")
