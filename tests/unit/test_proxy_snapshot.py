"""The HTTP model becomes a snapshot that the engine takes; the words of both agree."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran._native import check_snapshot
from trimaran.proxy.snapshot import snapshot
from trimaran.stack.http import (
    ErrorPage,
    Files,
    Http,
    Listen,
    Location,
    Peer,
    ProxyPass,
    Return,
    Server,
    Upstream,
)
from trimaran.stack.mime_types import BUILT_IN_TYPES

FULL = Http(
    servers=(
        Server(
            listen=(Listen(port=8080, default_server=True), Listen(address="::1")),
            names=("a.example", "*.b.example"),
            locations=(
                Location(path="/", action=ProxyPass(upstream="web", uri="/x/")),
                Location(match="=", path="/50x", internal=True, action=Files(root="/absent")),
                Location(match="^~", path="/r", action=Return(status=204)),
            ),
        ),
    ),
    upstreams=(Upstream(name="web", peers=(Peer(address="127.0.0.1:1", fail_timeout=0.25),)),),
)


def test_the_engine_takes_every_part_of_the_model():
    check_snapshot(snapshot(FULL))


def test_durations_become_milliseconds():
    made = json.loads(snapshot(FULL))
    assert made["upstreams"][0]["peers"][0]["fail_timeout_ms"] == 250
    assert made["servers"][0]["keepalive_timeout_ms"] == 75_000


def test_the_built_in_types_stand_in_for_none():
    assert json.loads(snapshot(FULL))["types"] == BUILT_IN_TYPES
    own = FULL.model_copy(update={"types": {"x": "text/x"}})
    assert json.loads(snapshot(own))["types"] == {"x": "text/x"}


def with_location(**changes: object) -> Http:
    location = Location(path="/", action=ProxyPass(upstream="web")).model_copy(update=changes)
    server = FULL.servers[0].model_copy(update={"locations": (location,)})
    return FULL.model_copy(update={"servers": (server,)})


@pytest.mark.parametrize(
    ("http", "complaint"),
    [
        (with_location(action=ProxyPass(upstream="absent")), "no upstream 'absent'"),
        (with_location(action=Return(status=200, text="$no")), r"unknown variable '\$no'"),
        (
            with_location(action=ProxyPass(upstream="web", set_headers=(("A B", "x"),))),
            "'A B' is not a header name",
        ),
        (
            with_location(action=ProxyPass(upstream="web", set_headers=(("A", "x\r\nB: y"),))),
            "control character",
        ),
        (FULL.model_copy(update={"servers": ()}), "no server"),
        (
            FULL.model_copy(update={"servers": (FULL.servers[0], FULL.servers[0])}),
            "two default servers",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(http: Http, complaint: str):
    with pytest.raises(ValueError, match=complaint):
        check_snapshot(snapshot(http))


@given(st.text(max_size=40))
def test_any_text_is_a_template_or_an_error(text: str):
    page = ErrorPage(statuses=(502,), uri="/x")
    http = with_location(action=Return(status=200, text=text), error_pages=(page,))
    try:
        check_snapshot(snapshot(http))
    except ValueError as error:
        assert "$" in text and "variable" in str(error)
