"""The demo on a terminal of 80 columns."""

import io

import pytest
from rich.console import Console

from trimaran.lab.demo import STEPS
from trimaran.lab.screen import LiveScreen, _print_step
from trimaran.lab.stage import Step


@pytest.mark.parametrize("name", [name for name, _action in STEPS])
def test_a_step_is_one_line_with_large_numbers_too(name: str) -> None:
    output = io.StringIO()
    step = Step(name, 100.0, 188.8, requests=12345, failed=6789)
    _print_step(Console(file=output, width=80), step)
    lines = output.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].rstrip().endswith("6789 lost")
    assert len(lines[0].rstrip()) <= 78, "two columns are the margin of the live screen"


def test_where_there_is_no_terminal_a_step_is_told_when_it_ends() -> None:
    output = io.StringIO()
    with LiveScreen(Console(file=output, width=80), "title", ["one"]) as screen:
        step = Step("one", 1.0)
        screen.begin(step)
        screen.say("something was done")
        assert output.getvalue() == ""
        step.end_s, step.ok, step.figures = 2.0, True, ["a figure"]
        screen.end(step)
    assert "✓  one" in output.getvalue()
    assert "a figure" in output.getvalue()
