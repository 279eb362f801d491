"""What is thought of something that is looked at again and again, or that comes and goes."""


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


class Delayed:
    """A state that counts only after it has lasted: `up_s` when it became good, `down_s` when bad.
    The first one counts at once."""

    def __init__(self, up_s: float, down_s: float) -> None:
        self.well: bool | None = None
        self._delay_s = {True: up_s, False: down_s}
        self._changes_at: float | None = None

    def hear(self, good: bool, now: float) -> bool:
        """The state is so now. True when what counts has changed."""
        if self.well is None or good is self.well:
            changed = self.well is None
            self.well, self._changes_at = good, None
            return changed
        if self._changes_at is None:
            self._changes_at = now + self._delay_s[good]
        if now < self._changes_at:
            return False
        self.well, self._changes_at = good, None
        return True

    def next_due(self) -> float | None:
        """When to say again how the state is; None: when it changes."""
        return self._changes_at
