"""How long a virtual router waits for what.

                version 2 (RFC 3768 §6.1)        version 3 (RFC 9568 §6.1)
interval        whole seconds, its own           the master's, learnt from its adverts
skew            (256 - priority) / 256 s         (256 - priority) / 256 × interval
master down     3 × interval + skew              the same, with the master's interval
resignation     the longest master down of any peer, from our own interval: it takes over by then,
                even if priority 0 was lost
last lease      that, rounded up, + 1 s
lease           master down, rounded up, + 1 s: how long the kernel keeps an address that nobody
                renews; from our own interval, for by then we are the master
asleep          master down from our own interval: what weaker peers wait at least
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """All in seconds. `lost_adverts` is the 3 of RFC 9568."""

    interval_s: float
    skew_s: float
    master_down_s: float
    resignation_s: float
    lease_s: int
    last_lease_s: int
    asleep_s: float


def timing(
    version: int, priority: int, lost_adverts: int, own_interval_s: float, interval_s: float
) -> Timing:
    """`interval_s` is the master's, where it was heard, else our own."""

    def skew(unit_s: float) -> float:
        return (256 - priority) * (unit_s if version == 3 else 1.0) / 256

    longest = lost_adverts * own_interval_s + (own_interval_s if version == 3 else 1.0)
    asleep = lost_adverts * own_interval_s + skew(own_interval_s)
    return Timing(
        interval_s=interval_s,
        skew_s=skew(interval_s),
        master_down_s=lost_adverts * interval_s + skew(interval_s),
        resignation_s=longest,
        lease_s=math.ceil(asleep) + 1,
        last_lease_s=math.ceil(longest) + 1,
        asleep_s=asleep,
    )
