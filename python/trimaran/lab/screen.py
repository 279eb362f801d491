"""The demo on a terminal: what is being done, the state of every node, the client's traffic.

Lines are made to fit 80 columns. Where the output is no terminal, each step is a line when it ends.
"""

import time
from statistics import median
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from trimaran.lab.stage import Stage, Step

BARS = "▁▂▃▄▅▆▇█"
BUCKET_S = 0.5
MAX_WIDTH = 100
SAID = 4


class LiveScreen:
    """Shows a stage; set `stage` before the first step begins."""

    def __init__(self, console: Console, title: str, steps: list[str]) -> None:
        self.console = console
        self.stage: Stage | None = None
        self._title = title
        self._names = steps
        self._said: list[str] = []
        self._waiting: tuple[str, float, float] = ("", 0.0, 0.0)
        self._start = time.monotonic()
        self._live = Live(
            console=console,
            refresh_per_second=8,
            get_renderable=self._render,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> "LiveScreen":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *failure: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def say(self, text: str) -> None:
        """Something was done or seen."""
        self._said = [*self._said, text][-SAID:]

    def wait(self, text: str, since_s: float, at_most_s: float) -> None:
        """A wait has begun; '' when it is over."""
        self._waiting = (text, since_s, at_most_s)

    def begin(self, step: "Step") -> None:
        """A step begins."""
        self._said = []

    def end(self, step: "Step") -> None:
        """The step has ended."""
        if not self.console.is_terminal:
            _print_step(self.console, step)

    def _render(self) -> RenderableType:
        elapsed = int(time.monotonic() - self._start)
        title = f"{self._title} · {elapsed // 60}:{elapsed % 60:02}"
        parts: list[RenderableType] = [Rule(Text(title, style="bold"), style="blue")]
        parts += self._steps()
        if self.stage is not None:
            parts += [Text(), _nodes(self.stage), Text(), self._traffic(self.stage)]
        return Padding(Group(*parts), (0, 1, 0, 1))

    def _steps(self) -> list[RenderableType]:
        played = self.stage.outcome.steps if self.stage else []
        lines: list[RenderableType] = []
        for number, name in enumerate(self._names):
            if number >= len(played):
                lines.append(Text(f"·  {name}", style="dim"))
                continue
            lines.append(_step_line(played[number]))
            if not played[number].end_s:
                lines += [Text(f"     {text}", style="cyan", no_wrap=True) for text in self._said]
                lines.append(self._wait_line())
        if not played:
            lines += [self._wait_line()]
        return lines

    def _wait_line(self) -> RenderableType:
        text, since, at_most = self._waiting
        if not text:
            return Text()
        spent = time.monotonic() - since
        line = Table.grid(padding=(0, 1))
        line.add_column(width=3)
        line.add_column(width=20)
        line.add_column(no_wrap=True)
        bar = ProgressBar(total=at_most, completed=min(spent, at_most), width=20)
        line.add_row("", bar, Text(f"{spent:4.1f} s  {text}", style="cyan"))
        return line

    def _traffic(self, stage: "Stage") -> RenderableType:
        if not stage.clients:
            return Text()
        width = min(self.console.width, MAX_WIDTH) - 28
        now = time.monotonic()
        line = Text("client  ", style="bold")
        buckets = [[0, 0] for _ in range(width)]
        for each in stage.traffic.latest(int(width * BUCKET_S * 110)):
            place = int((now - each.ended_s) / BUCKET_S)
            if 0 <= place < width:
                buckets[place][not each.ok] += 1
        usual = max(1.0, median([ok + failed for ok, failed in buckets if ok + failed] or [1]))
        for ok, failed in reversed(buckets):
            bar = BARS[min(7, int(7 * ok / usual))] if ok + failed else " "
            line.append(bar, style="red" if failed else "green")
        good = sum(each.ok for each in stage.traffic.latest(100))
        line.append(f"  {good:3d} % answered", style="green" if good > 98 else "red")
        return line


def print_result(console: Console, stage: "Stage", files: list[str]) -> None:
    """The report for people, when the demo is over."""
    if console.is_terminal:  # else each was printed when it ended
        console.print(Rule(style="blue"))
        for step in stage.outcome.steps:
            _print_step(console, step)
    console.print(Rule(style="blue"))
    figures = {**stage.outcome.failover, **stage.outcome.health}
    for name, value in figures.items():
        label = name.removesuffix("_ms").replace("_", " ")
        shown = "not measured" if value is None else f"{value:8.0f} ms"
        console.print(f"   {label:16} {shown}", highlight=False)
    console.print(f"   report: {', '.join(files)}", highlight=False)


def _print_step(console: Console, step: "Step") -> None:
    console.print(_step_line(step))
    for figure in step.figures:
        console.print(Text(f"     {figure}", style="dim"))
    if step.error:
        console.print(Text(f"     {step.error}", style="red"))


def _step_line(step: "Step") -> Text:
    if not step.end_s:
        return Text.assemble(("▶  ", "bold yellow"), (step.name, "bold"))
    glyph = ("✓  ", "bold green") if step.ok else ("✗  ", "bold red")
    spent = f"{step.end_s - step.start_s:5.1f} s {step.requests:6d} sent"
    line = Text.assemble(glyph, f"{step.name:<44}", (spent, "dim"), no_wrap=True)
    if step.failed:
        line.append(f" {step.failed} lost", style="yellow")
    return line


def _nodes(stage: "Stage") -> Table:
    cast, samples = stage.cast, stage.view.samples
    latest = samples[-1] if samples else None
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold blue", pad_edge=False)
    for column in ("node", "address", "part", "state", "seen from outside"):
        table.add_column(column, no_wrap=True)
    for name, machine in stage.lab.topology.nodes.items():
        state, seen = Text(""), Text("")
        if not stage.lab.has_power(name):
            state = Text("no power", style="red")
        elif latest is not None and name in cast.directors:
            word = latest.states.get(name, "stopped")
            styles = {"MASTER": "bold green", "BACKUP": "yellow"}
            state = Text(word, style=styles.get(word, "red"))
            if name in latest.holders:
                seen = Text(f"● has {cast.vip}", style="green")
        elif latest is not None and name in cast.proxies:
            well = name in latest.listed
            state = Text("listed" if well else "out", style="green" if well else "red")
        table.add_row(name, str(machine.address.ip), cast.part(name), state, seen)
    return table
