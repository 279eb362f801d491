"""Rise and fall, as dialogues: what a probe found, then what is thought and when the next comes."""

from ipaddress import IPv4Address

import pytest

from trimaran.health.settings import CheckSettings
from trimaran.health.verdict import Verdict, judge

INTERVAL, RETRY = 3.0, 0.5
GOOD, BAD = None, "connection refused"


def check(retries: int = 2, rise: int = 1) -> CheckSettings:
    return CheckSettings(IPv4Address("10.0.0.1"), 80, INTERVAL, 1.0, retries, RETRY, rise)


DIALOGUES = {
    "well all the time": (check(), [(GOOD, True, INTERVAL)] * 3),
    "a failure that passes": (
        check(),
        [(BAD, True, RETRY), (BAD, True, RETRY), (GOOD, True, INTERVAL), (BAD, True, RETRY)],
    ),
    "down after 1 + retries": (
        check(),
        [(BAD, True, RETRY), (BAD, True, RETRY), (BAD, False, INTERVAL), (BAD, False, INTERVAL)],
    ),
    "no retries": (check(retries=0), [(BAD, False, INTERVAL), (GOOD, True, INTERVAL)]),
    "up after rise": (
        check(retries=0, rise=3),
        [
            (BAD, False, INTERVAL),
            (GOOD, False, INTERVAL),
            (GOOD, False, INTERVAL),
            (BAD, False, INTERVAL),
            (GOOD, False, INTERVAL),
            (GOOD, False, INTERVAL),
            (GOOD, True, INTERVAL),
        ],
    ),
}


@pytest.mark.parametrize("name", DIALOGUES)
def test_dialogue(name: str) -> None:
    settings, exchange = DIALOGUES[name]
    verdict = Verdict()
    for step, (error, up, wait) in enumerate(exchange):
        verdict, delay = judge(settings, verdict, error)
        assert (verdict.up, delay) == (up, wait), f"at step {step}: {exchange[: step + 1]}"


def test_the_last_error_is_remembered() -> None:
    verdict, _ = judge(check(retries=0), Verdict(), "no answer within 1 s")
    assert verdict.error == "no answer within 1 s"
