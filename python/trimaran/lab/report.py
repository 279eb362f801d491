"""What a demo leaves behind: report.json for programs, report.html for people. Pure."""

import json
from typing import Any

from trimaran.lab.stage import Outcome

BUCKET_S = 0.25
WIDTH, LEFT, RIGHT = 1120, 90, 10
TRAFFIC_HEIGHT, LANE_HEIGHT, LANE_GAP, TOP = 150, 18, 6, 34


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
