"""What is thought of something that is looked at again and again."""


class Opinion:
    """Well or failing; None before the first result, which decides at once. Afterwards it takes
    `rise` good or `fall` bad results in a row to change it."""

    def __init__(self, rise: int, fall: int) -> None:
        self.well: bool | None = None
        self._needed = {True: rise, False: fall}
        self._contrary = 0

    def hear(self, good: bool) -> bool:
        """True when the opinion changed."""
        if good is self.well:
            self._contrary = 0
            return False
        self._contrary += 1
        if self.well is not None and self._contrary < self._needed[good]:
            return False
        self.well, self._contrary = good, 0
        return True
