"""Rise and fall: the table in health/verdict.py, as dialogues."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from trimaran.health.settings import CheckSettings, Target
from trimaran.health.verdict import Verdict, judge

CHECK = CheckSettings(Target(IPv4Address("192.0.2.1"), 80), 3.0, 1.0, 2, 0.5, 2)


def play(check: CheckSettings, script: str) -> list[str]:
    """'+' a good probe, '-' a failed one; what is thought after each, and the wait until the
    next."""
    verdict = Verdict(up=not check.alpha)
    said = []
    for sign in script:
        verdict, wait = judge(check, verdict, None if sign == "+" else "refused")
        said.append(f"{sign} {'up' if verdict.up else 'down'} {wait:g}")
    return said


@pytest.mark.parametrize(
    ("check", "script", "expected"),
    [
        (CHECK, "+-+", ["+ up 3", "- up 0.5", "+ up 3"]),
        (CHECK, "--+--", ["- up 0.5", "- up 0.5", "+ up 3", "- up 0.5", "- up 0.5"]),
        (CHECK, "----", ["- up 0.5", "- up 0.5", "- down 3", "- down 3"]),
        (CHECK, "---++", ["- up 0.5", "- up 0.5", "- down 3", "+ down 3", "+ up 3"]),
        (CHECK, "---+-+", ["- up 0.5", "- up 0.5", "- down 3", "+ down 3", "- down 3", "+ down 3"]),
        (replace(CHECK, retries=0, rise=1), "-+", ["- down 3", "+ up 3"]),
        (replace(CHECK, alpha=True), "+", ["+ up 3"]),
        (replace(CHECK, alpha=True), "-++", ["- down 3", "+ down 3", "+ up 3"]),
    ],
)
def test_the_table(check: CheckSettings, script: str, expected: list[str]) -> None:
    assert play(check, script) == expected


def test_the_last_error_is_remembered() -> None:
    verdict, _ = judge(CHECK, Verdict(), "refused")
    verdict, _ = judge(CHECK, verdict, None)
    assert verdict.error == "refused" and verdict.up
