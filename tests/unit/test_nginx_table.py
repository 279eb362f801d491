"""The table of nginx's directives: whole, in agreement with crossplane's, and shown on its page."""

from pathlib import Path

import crossplane
import pytest

from trimaran.stack.nginx_directives import NGINX
from trimaran.stack.nginx_facts import FACTS
from trimaran.stack.nginx_table import page

ROOT = Path(__file__).parents[2]
ANALYZER = crossplane.analyzer
BITS = {
    "the top level": ANALYZER.NGX_MAIN_CONF,
    "events": ANALYZER.NGX_EVENT_CONF,
    "http": ANALYZER.NGX_HTTP_MAIN_CONF,
    "server": ANALYZER.NGX_HTTP_SRV_CONF,
    "location": ANALYZER.NGX_HTTP_LOC_CONF,
    "upstream": ANALYZER.NGX_HTTP_UPS_CONF,
    "limit_except": ANALYZER.NGX_HTTP_LMT_CONF,
    "if": ANALYZER.NGX_HTTP_SIF_CONF | ANALYZER.NGX_HTTP_LIF_CONF,
    "stream": ANALYZER.NGX_STREAM_MAIN_CONF,
    "server in stream": ANALYZER.NGX_STREAM_SRV_CONF,
    "upstream in stream": ANALYZER.NGX_STREAM_UPS_CONF,
}
# Where nginx has widened what crossplane (of 2022) knows, and one that crossplane never had right.
WIDER = {"include"}


def test_every_name_of_nginx_has_a_status_wherever_it_may_stand() -> None:
    assert len(FACTS) > 600
    for fact in FACTS.values():
        for context in fact.contexts:
            assert fact.name in NGINX[context] or fact.name == "include", (fact.name, context)


@pytest.mark.parametrize(("context", "bit"), BITS.items(), ids=BITS)
def test_contexts_are_those_that_crossplane_knows(context: str, bit: int) -> None:
    known = {
        name
        for name, masks in ANALYZER.DIRECTIVES.items()
        if name in FACTS and name not in WIDER and any(mask & bit for mask in masks)
    }
    ours = {name for name, fact in FACTS.items() if context in fact.contexts}
    assert known and known - ours == set()


def test_what_is_honoured_stands_where_nginx_has_it() -> None:
    for context, names in NGINX.items():
        wrong = {
            name
            for name, row in names.items()
            if name in FACTS and row.status != "refused" and context not in FACTS[name].contexts
        }
        assert wrong == set(), context


def test_blocks_are_blocks() -> None:  # `server` is one only outside of upstreams
    for names in NGINX.values():
        for name, row in names.items():
            if name in FACTS and name != "server" and row.status == "honoured":
                assert row.block == FACTS[name].block, name


def test_the_page_is_that_of_the_table() -> None:
    page_there = (ROOT / "docs" / "nginx-directives.md").read_text()
    assert page_there == page(), "run tools/nginx-directives"
