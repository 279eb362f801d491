"""Text that remembers where each of its characters was written."""

from bisect import bisect_right

from trimaran.stack.errors import Place

MAX_CHARACTERS = 8 << 20
NOT_UTF8 = "\N{REPLACEMENT CHARACTER}"  # what bytes become that are no UTF-8


class Source:
    """Text put together from pieces. A character of a verbatim piece has its own column; what
    stands for something else (a variable) has the place of that, whole."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._pieces: list[str] = []
        self._starts: list[int] = []
        self._places: list[tuple[Place, bool]] = []
        self._size = 0

    @classmethod
    def of(cls, text: str, file: str) -> "Source":
        """The text of one file, as it is."""
        source = cls(file)
        for number, line in enumerate(text.split("\n"), 1):
            source.append(line + "\n", Place(file, number), verbatim=True)
        return source

    def append(self, text: str, place: Place, verbatim: bool) -> None:
        """Add text written at `place`; a verbatim piece ends at the latest with its line."""
        if not text:
            return
        self._starts.append(self._size)
        self._places.append((place, verbatim))
        self._pieces.append(text)
        self._size += len(text)

    def __len__(self) -> int:
        return self._size

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self._pieces)

    def place(self, offset: int) -> Place:
        """Where the character at an offset of `text` was written."""
        index = bisect_right(self._starts, offset) - 1
        if index < 0:
            return Place(self.file)
        place, verbatim = self._places[index]
        if not verbatim:
            return place
        return Place(place.file, place.line, place.column + offset - self._starts[index])
