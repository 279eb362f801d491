"""What a virtual router can stand for: its faults, and what its trackers add to the priority."""

from trimaran.vrrp.packet import OWNER
from trimaran.vrrp.settings import RouterSettings, Track


class Standing:
    """Faults by key, and the effective priority. A fault is anything that forbids mastership."""

    def __init__(self, settings: RouterSettings) -> None:
        self._configured = settings.priority
        self._weights: dict[str, int] = {}
        self.demoted = False  # an owner that gives way to another owner
        self.faults: dict[str, str] = {"interface": "nothing known of the interface yet"}
        for track in settings.tracks:
            if track.weight == 0:
                self.faults[track.key] = f"{track.key}: nothing known yet"

    @property
    def priority(self) -> int:
        """Never 0, which resigns, nor an owner's unless it is one (RFC 9568 §5.2.4)."""
        if self._configured == OWNER:
            return OWNER - 1 if self.demoted else OWNER
        return min(OWNER - 1, max(1, self._configured + sum(self._weights.values())))

    def set_fault(self, key: str, cause: str | None) -> None:
        """`cause` None: there is none any more."""
        if cause is None:
            self.faults.pop(key, None)
        else:
            self.faults[key] = cause

    def set_track(self, track: Track, well: bool, cause: str, value: int = 1) -> None:
        """What the tracker found. `value` is a file's number: how many times the weight counts."""
        well = well is not track.reverse
        if track.weight == 0:
            self.set_fault(track.key, None if well else f"{track.key}: {cause}")
        else:
            counts = well if track.weight > 0 else not well
            self._weights[track.key] = track.weight * value if counts else 0

    def counted(self) -> dict[str, int]:
        """What each tracker adds to the configured priority, where it adds anything."""
        return {key: weight for key, weight in self._weights.items() if weight}

    def cause(self) -> str:
        """Every fault in words."""
        return "; ".join(self.faults.values())
