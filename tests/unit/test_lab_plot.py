"""The time line of the report."""

from ipaddress import IPv4Address
from xml.etree import ElementTree

from trimaran.lab.cast import Cast
from trimaran.lab.client import Request
from trimaran.lab.plot import Plot, buckets, draw, spans
from trimaran.lab.stage import Outcome, Step
from trimaran.lab.view import Sample

CAST = Cast(
    "front", "web", IPv4Address("10.0.0.1"), 80, ("d1", "d2"), ("p1", "p2"), ("s1", "s2"),
    ("one", "two"), "rr", takeover_s=3.6, skew_s=0.6,
)  # fmt: skip


def sample(at_s: float, *holders: str) -> Sample:
    return Sample(at_s, holders, {}, ())


def test_a_stretch_lasts_until_it_is_no_longer_so() -> None:
    samples = [sample(0, "d1"), sample(1, "d1"), sample(2), sample(3, "d1"), sample(4, "d1")]
    assert spans(samples, lambda each: "d1" in each.holders) == [(0, 2), (3, 4)]


def test_two_masters_are_two_stretches_at_once() -> None:
    samples = [sample(0, "d1", "d2"), sample(1, "d2"), sample(2)]
    assert spans(samples, lambda each: "d1" in each.holders) == [(0, 1)]
    assert spans(samples, lambda each: "d2" in each.holders) == [(0, 2)]


def test_requests_are_counted_when_they_started() -> None:
    requests = [
        Request(10.0, 0.9, "one", ""), Request(10.1, 0, "", "refused"), Request(10.3, 0, "one", ""),
        Request(9.9, 0, "one", ""), Request(11.1, 0, "one", ""),
    ]  # fmt: skip
    assert buckets(requests, 10.0, 10.5) == [(1, 1), (1, 0), (0, 0)]


def test_the_picture_is_well_formed_and_escapes_what_it_is_told() -> None:
    step = Step("a <step> & more", 10.0, 12.0, ok=True)
    outcome = Outcome(steps=[step], marks=[(11.0, "<cut>")])
    requests = [Request(10.5, 0, "one", ""), Request(11.5, 0, "", "refused")]
    text = draw(Plot(outcome, CAST, requests, [sample(10, "d1"), sample(11, "d2"), sample(12)]))
    root = ElementTree.fromstring(text)
    titles = [element.text for element in root.iter() if element.tag == "title"]
    assert titles == ["a <step> & more", "<cut> (1.0 s)"]
    colours = [element.get("fill") for element in root.iter("rect")]
    for colour in ("good", "bad", "first", "second"):
        assert colours.count(f"var(--{colour})") == 1, colour


def test_nothing_played_is_still_a_picture() -> None:
    ElementTree.fromstring(draw(Plot(Outcome(), CAST, [], [])))
