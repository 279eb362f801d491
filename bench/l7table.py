"""The L7 engine beside its peers, row by row: `bench/l7 [--rounds N] [--duration S] [ROW...]`.

Ratios are medians of per-round ratios by requests per CPU-second of the proxy; of rows with long
bodies, per busy second of its core (l7bench.py says why). Each row is also appended to
bench/history/l7.jsonl with the commit and the day.
"""

import argparse
import json
import platform
import statistics
import subprocess
import time
from pathlib import Path

import l7bench

# row: (body, what is measured beside ours, ours, one connection per request, by the whole core)
ROWS = {
    "64B": ("64", ["nginx", "haproxy"], "trimaran", False, False),
    "1K": ("1k", ["nginx", "haproxy"], "trimaran", False, False),
    "1K-log": ("1k", ["nginx-log", "trimaran"], "trimaran-log", False, False),
    "16K": ("16k", ["nginx", "haproxy"], "trimaran", False, False),
    "64K": ("64k", ["nginx", "haproxy-splice"], "trimaran", False, True),
    "1M": ("1m", ["nginx", "haproxy-splice"], "trimaran", False, True),
    "1K-close": ("1k", ["nginx", "haproxy"], "trimaran", True, False),
    "static-1K": ("1k", ["nginx-static"], "trimaran-static", False, False),
    "static-1M": ("1m", ["nginx-static"], "trimaran-static", False, True),
}
HISTORY = Path(__file__).with_name("history") / "l7.jsonl"


def row_of(name: str, options: argparse.Namespace) -> dict[str, object]:
    """Measure one row."""
    body, peers, ours, close, core = ROWS[name]
    options.body, options.close, options.proxies = body, close, [ours, *peers]
    runs = l7bench.measure(options)
    key = "per_core" if core else "per_cpu"
    ratios = {}
    for peer in peers:
        each = [a[key] / b[key] for a, b in zip(runs[ours], runs[peer], strict=True)]
        ratios[peer] = [round(x, 2) for x in (statistics.median(each), min(each), max(each))]
    row: dict[str, object] = {"row": name, "ours": ours, "ratios": ratios}
    for proxy, each in runs.items():
        row[proxy] = {
            "rcs": round(statistics.median(run[key] for run in each)),
            "p99_ms": round(statistics.median(run["p99"] for run in each), 2),
            "noise": round(statistics.median(run["noise"] for run in each), 1),
            "errors": sum(run["errors"] for run in each),
        }
    return row


def show(row: dict[str, object]) -> None:
    """One line of the table."""
    ours = row[str(row["ours"])]
    assert isinstance(ours, dict) and isinstance(row["ratios"], dict)
    ratios = "  ".join(
        f"{median:.2f} ({least:.2f}-{most:.2f}) x {peer}"
        for peer, (median, least, most) in row["ratios"].items()
    )
    print(
        f"{row['row']:<10}{ours['rcs']:>9} r/cs  p99 {ours['p99_ms']:>7} ms  {ratios}", flush=True
    )


def main() -> None:
    """Measure, print, remember."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", default=list(ROWS), help=" ".join(ROWS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--duration", type=int, default=4, help="seconds per run")
    parser.add_argument("--note", default="", help="kept in the history")
    options = parser.parse_args()
    options.__dict__.update(proxy_cmd=[], header=[], connections=64, proxy_cpu=0, load_cpu=1)
    git = ["git", "-C", str(HISTORY.parent.parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    for name in options.rows:
        row = row_of(name, options)
        show(row)
        about = {"commit": commit, "day": time.strftime("%Y-%m-%d"), "kernel": platform.release()}
        HISTORY.parent.mkdir(exist_ok=True)
        with HISTORY.open("a") as history:
            line = {**about, "rounds": options.rounds, "note": options.note, **row}
            history.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
