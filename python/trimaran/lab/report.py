"""What a demo leaves behind: report.json for programs, report.html (one file) for people. Pure."""

import json
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from trimaran.lab.cast import AIM_GRACEFUL_MS, Cast
from trimaran.lab.plot import Plot, draw
from trimaran.lab.stage import Outcome, Stage, Step


def as_json(outcome: Outcome) -> str:
    """The report for programs."""
    report: dict[str, Any] = {
        "steps": [
            {
                "name": step.name,
                "ok": step.ok,
                "requests": step.requests,
                "failed": step.failed,
                "seconds": round(step.end_s - step.start_s, 2),
            }
            for step in outcome.steps
        ],
        "failover": outcome.failover,
        "health": outcome.health,
    }
    return json.dumps(report, indent=2) + "\n"


def as_html(stage: Stage) -> str:
    """The report for people: it needs no other file and no network."""
    outcome, cast = stage.outcome, stage.cast
    requests = [each for client in stage.clients for each in client.requests]
    template = Template(files("trimaran.lab").joinpath("report_template.html").read_text("utf-8"))
    failed = sum(not step.ok for step in outcome.steps)
    return template.substitute(
        verdict="every step held" if outcome.ok else f"{failed} of {len(outcome.steps)} failed",
        verdict_class="good" if outcome.ok else "bad",
        lead=escape(_lead(cast, outcome)),
        cards="".join(_cards(cast, outcome)),
        plot=draw(Plot(outcome, cast, requests, stage.view.samples)),
        legend=_legend(cast),
        rows="".join(_row(number, step) for number, step in enumerate(outcome.steps, 1)),
        footer=escape(
            "A request fails unless status 200 and the right page arrive within 1 s; none is "
            "repeated, and none waits for another. Failover times are the longest gap between two "
            "good answers."
        ),
    )


def _lead(cast: Cast, outcome: Outcome) -> str:
    total = sum(step.requests for step in outcome.steps)
    return (
        f"A client fetched through {cast.vip}:{cast.port} all the while: {total:,} requests, "
        f"over {len(cast.directors)} directors, {len(cast.proxies)} proxies and "
        f"{len(cast.sites)} web servers, each in a network namespace of its own."
    )


def _cards(cast: Cast, outcome: Outcome) -> list[str]:
    takeover = cast.aim_takeover_ms
    shown = [
        (
            "graceful stop",
            outcome.failover["graceful_ms"],
            f"without an answer; aim {AIM_GRACEFUL_MS:,.0f}",
        ),
        ("power loss", outcome.failover["kill_ms"], f"without an answer; aim {takeover:,.0f}"),
        ("link cut", outcome.failover["link_cut_ms"], f"without an answer; aim {takeover:,.0f}"),
        ("proxy removed", outcome.health["removed_ms"], "from its death"),
        ("proxy listed again", outcome.health["relisted_ms"], "from its return"),
    ]
    return [
        f'<div class="card"><span>{name}</span><b>{_milliseconds(value)}</b>'
        f"<span>{note}</span></div>"
        for name, value, note in shown
    ]


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}<small>ms</small>"


def _legend(cast: Cast) -> str:
    entries = [
        ("good", "answered"),
        ("bad", "failed"),
        ("first", f"{cast.master} has the VIP"),
        ("second", f"{cast.backup} has the VIP"),
        ("server", "real server listed"),
    ]
    return "".join(
        f'<span><i style="background:var(--{colour})"></i>{escape(text)}</span>'
        for colour, text in entries
    )


def _row(number: int, step: Step) -> str:
    mark = ("good", "✓") if step.ok else ("bad", "✗")
    figures = "".join(f"<li>{escape(figure)}</li>" for figure in step.figures)
    error = f'<div class="error">{escape(step.error)}</div>' if step.error else ""
    return (
        f'<tr><td class="n">{number}</td><td class="mark {mark[0]}">{mark[1]}</td>'
        f"<td>{escape(step.name)}{error}<ul>{figures}</ul></td>"
        f'<td class="n">{step.requests:,}</td><td class="n">{step.failed:,}</td>'
        f'<td class="n">{step.end_s - step.start_s:.1f}</td></tr>'
    )
