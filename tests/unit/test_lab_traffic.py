"""What follows from what a client saw."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.lab.client import Request, _judge, read
from trimaran.lab.traffic import longest_gap

PAGES = frozenset({"web1", "web2"})


def answered(at_s: float, latency_s: float = 0.0) -> Request:
    return Request(at_s - latency_s, latency_s, "web1", "")


def failed(at_s: float) -> Request:
    return Request(at_s, 0.0, "", "refused")


def test_a_gap_lies_between_two_good_answers() -> None:
    requests = [answered(1.0), failed(2.0), failed(3.0), answered(4.5), answered(5.0)]
    assert longest_gap(requests, 0.5, 5.5) == (1.0, 4.5)


def test_a_gap_counts_when_answers_come_not_when_they_are_asked_for() -> None:
    assert longest_gap([answered(1.0), answered(4.0, latency_s=2.9)], 1.0, 4.0) == (1.0, 4.0)


def test_without_any_answer_the_gap_is_the_window() -> None:
    assert longest_gap([failed(1.5)], 1.0, 9.0) == (1.0, 9.0)


def test_answers_outside_of_the_window_do_not_count() -> None:
    assert longest_gap([answered(0.5), answered(2.0), answered(9.5)], 1.0, 9.0) == (2.0, 9.0)


@given(st.lists(st.floats(0, 10), max_size=30))
def test_no_answer_lies_within_the_gap(times: list[float]) -> None:
    before, after = longest_gap([answered(at) for at in reversed(times)], 0.0, 10.0)
    assert 0.0 <= before <= after <= 10.0
    assert not [at for at in times if before < at < after]


def test_a_request_survives_the_pipe() -> None:
    line = '{"started_s": 1.5, "latency_s": 0.25, "page": "web1", "error": ""}'
    assert read(line) == Request(1.5, 0.25, "web1", "")
    assert read(line).ok
    assert read(line).ended_s == 1.75


def test_a_good_answer_is_its_page() -> None:
    assert _judge(b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nweb2\n", PAGES) == "web2"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "before the answer"),
        (b"HTTP/1.1 200 OK\r\nServer: x\r\n", "before the answer"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\nweb1", "502 Bad Gateway"),
        (b"HTTP/1.1 200 OK\r\n\r\nweb3", "wrong page"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "wrong page"),
    ],
)
def test_anything_else_fails(answer: bytes, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        _judge(answer, PAGES)
