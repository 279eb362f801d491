"""The report's time line as an SVG: requests, who has the VIP, which real servers are listed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from trimaran.lab.cast import Cast
from trimaran.lab.client import Request
from trimaran.lab.stage import Outcome
from trimaran.lab.view import Sample

BUCKET_S = 0.25
WIDTH, LEFT, RIGHT = 1140, 78, 12
TOP, TRAFFIC, LANE, GAP = 30, 150, 14, 8
TICK_S = (1, 2, 5, 10, 20, 30, 60, 120, 300)
DIRECTOR_COLOURS = ("first", "second")


@dataclass(frozen=True)
class Plot:
    """What is drawn. All times are on the monotonic clock."""

    outcome: Outcome
    cast: Cast
    requests: Sequence[Request]
    samples: Sequence[Sample]

    @property
    def start_s(self) -> float:
        """The left border."""
        return self.outcome.steps[0].start_s if self.outcome.steps else 0.0

    @property
    def end_s(self) -> float:
        """The right border."""
        return self.outcome.steps[-1].end_s if self.outcome.steps else 1.0

    def x(self, at_s: float) -> float:
        """Where a time lies."""
        share = (at_s - self.start_s) / max(self.end_s - self.start_s, 0.001)
        return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)


def draw(plot: Plot) -> str:
    """The whole picture."""
    lanes = [
        *(_lane(plot, name, _holds(name), DIRECTOR_COLOURS[min(place, 1)])
          for place, name in enumerate(plot.cast.directors)),
        *(_lane(plot, name, _lists(name), "server") for name in plot.cast.proxies),
    ]  # fmt: skip
    bottom = TOP + TRAFFIC + 16 + len(lanes) * (LANE + GAP)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {bottom + 24}" role="img" '
        'aria-label="requests, master and live real servers over time">',
        *_bands(plot, bottom),
        *_axis(plot, bottom),
        *_traffic(plot),
        *(lane(TOP + TRAFFIC + 16 + number * (LANE + GAP)) for number, lane in enumerate(lanes)),
        *_marks(plot, bottom),
        "</svg>",
    ]
    return "\n".join(parts)


def buckets(requests: Sequence[Request], start: float, end: float) -> list[tuple[int, int]]:
    """(answered, failed) for each BUCKET_S of the window, by the time when a request started."""
    counts = [[0, 0] for _ in range(int((end - start) / BUCKET_S) + 1)]
    for each in requests:
        if start <= each.started_s <= end:
            counts[int((each.started_s - start) / BUCKET_S)][not each.ok] += 1
    return [(ok, failed) for ok, failed in counts]


def spans(samples: Sequence[Sample], holds: Callable[[Sample], bool]) -> list[tuple[float, float]]:
    """The stretches of time over which something was so, each sample standing until the next."""
    found: list[tuple[float, float]] = []
    for sample, following in pairwise(samples):
        if not holds(sample):
            continue
        if found and found[-1][1] == sample.at_s:
            found[-1] = (found[-1][0], following.at_s)
        else:
            found.append((sample.at_s, following.at_s))
    return found


def _holds(name: str) -> Callable[[Sample], bool]:
    return lambda sample: name in sample.holders


def _lists(name: str) -> Callable[[Sample], bool]:
    return lambda sample: name in sample.listed


def _bands(plot: Plot, bottom: float) -> Iterator[str]:
    for number, step in enumerate(plot.outcome.steps, 1):
        left, right = plot.x(step.start_s), plot.x(step.end_s)
        if number % 2:
            yield (
                f'<rect x="{left:.1f}" y="{TOP - 8}" width="{right - left:.1f}" '
                f'height="{bottom - TOP + 8:.0f}" fill="var(--band)"/>'
            )
        colour = "" if step.ok else ' style="fill:var(--bad)"'
        yield (
            f'<text class="number" x="{(left + right) / 2:.1f}" y="{TOP - 14}" '
            f'text-anchor="middle"{colour}>{number}<title>{escape(step.name)}</title></text>'
        )


def _axis(plot: Plot, bottom: float) -> Iterator[str]:
    length = plot.end_s - plot.start_s
    tick = next((each for each in TICK_S if length / each <= 14), TICK_S[-1])
    for number in range(int(length / tick) + 1):
        x = plot.x(plot.start_s + number * tick)
        yield _text(x, bottom + 16, f"{number * tick} s", "middle")
    yield (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{TOP + TRAFFIC}" y2="{TOP + TRAFFIC}" '
        'stroke="var(--line)"/>'
    )


def _traffic(plot: Plot) -> Iterator[str]:
    counts = buckets(plot.requests, plot.start_s, plot.end_s)
    most = max((ok + failed for ok, failed in counts), default=0) or 1
    width = plot.x(plot.start_s + BUCKET_S) - plot.x(plot.start_s)
    yield _text(LEFT - 10, TOP + 10, f"{most / BUCKET_S:.0f} req/s", "end")
    yield _text(LEFT - 10, TOP + TRAFFIC, "0", "end")
    for number, (ok, failed) in enumerate(counts):
        x, base = plot.x(plot.start_s + number * BUCKET_S), float(TOP + TRAFFIC)
        for count, colour in ((ok, "good"), (failed, "bad")):
            height = count / most * (TRAFFIC - 4)
            base -= height
            if count:
                yield (
                    f'<rect x="{x:.2f}" y="{base:.2f}" width="{width + 0.05:.2f}" '
                    f'height="{height:.2f}" fill="var(--{colour})"/>'
                )


def _lane(
    plot: Plot, name: str, holds: Callable[[Sample], bool], colour: str
) -> Callable[[float], str]:
    def at(y: float) -> str:
        bars = "".join(
            f'<rect x="{plot.x(start):.1f}" y="{y:.0f}" height="{LANE}" rx="3" '
            f'width="{max(plot.x(end) - plot.x(start), 1):.1f}" fill="var(--{colour})"/>'
            for start, end in spans(plot.samples, holds)
        )
        return _text(LEFT - 10, y + 11, name, "end") + bars

    return at


def _marks(plot: Plot, bottom: float) -> Iterator[str]:
    for at_s, text in plot.outcome.marks:
        x = plot.x(at_s)
        yield (
            f"<g><title>{escape(text)} ({at_s - plot.start_s:.1f} s)</title>"
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{bottom:.0f}" '
            'stroke="var(--mark)" stroke-dasharray="2 3"/>'
            f'<path d="M{x - 4:.1f} {TOP - 8} h8 l-4 6 z" fill="var(--mark)"/></g>'
        )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
