"""The whole system: the demo, from one file; the tests of its page, from the classic files."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from verb import Trimaran

from trimaran.lab import demo
from trimaran.lab.cast import Cast
from trimaran.lab.lab import Lab
from trimaran.lab.screen import LiveScreen
from trimaran.lab.stage import Stage
from trimaran.lab.topology import CLIENT, from_table, prefix
from trimaran.lab.traces import run_directory
from trimaran.lab.view import View
from trimaran.system import namespaces

SEVEN = Path(__file__).parents[2] / "examples" / "seven-nodes"
CLASSIC = Cast(
    router="VI_1",
    service="192.168.31.145:80",
    vip=IPv4Address("192.168.31.145"),
    port=80,
    directors=("node2", "node3"),
    proxies=("node4", "node5"),
    sites=("node6", "node7"),
    pages=("web1", "web2"),
    scheduler="rr",
    takeover_s=3 + 155 / 256,
    skew_s=155 / 256,
)


@pytest.mark.timeout(400)
def test_the_demo_holds_and_writes_its_report(name: str, tmp_path: Path) -> None:
    played = subprocess.run(
        [sys.executable, "-m", "trimaran", "lab", "demo", str(SEVEN / "stack.yaml"),
         "--name", name, "--report", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=390,
    )  # fmt: skip
    assert played.returncode == 0, played.stdout + played.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report) == {"steps", "failover", "health"}
    assert [step["name"] for step in report["steps"]] == [title for title, _ in demo.STEPS]
    for step in report["steps"]:
        assert set(step) == {"name", "ok", "requests", "failed", "seconds"}
        assert step["ok"], step
        assert step["seconds"] > 0, step
    assert sum(step["requests"] for step in report["steps"]) > 1000
    assert set(report["failover"]) == {"graceful_ms", "kill_ms", "link_cut_ms"}
    assert set(report["health"]) == {"removed_ms", "relisted_ms"}
    for value in (*report["failover"].values(), *report["health"].values()):
        assert value > 0
    page = (tmp_path / "report.html").read_text()
    assert "every step held" in page
    assert "<svg" in page
    assert "http://" not in page, "self-contained: nothing is fetched"
    assert namespaces.names(prefix(name)) == []
    assert not run_directory(name).exists()


@pytest.mark.timeout(300)
def test_the_classic_files_alone_run_the_whole_system(name: str) -> None:
    """Each node gets only its own keepalived.conf, nginx.conf or lvsrs."""
    table = SEVEN / "classic-lab.yaml"
    topology = from_table(
        yaml.safe_load(table.read_text()),
        lab=name,
        source=str(table),
        directory=str(table.parent),
        run=str(run_directory(name)),
    )
    lab = Lab.create(topology, owner=os.getpid())
    for machine in topology.nodes.values():
        lab.launch(machine)
    lab.wait_ready(list(topology.nodes))
    screen = LiveScreen(Console(file=io.StringIO()), "", [])
    stage = Stage(lab, CLASSIC, View(lab, CLASSIC), screen)
    demo.play(stage, demo.PAGE_STEPS)
    lab.down()
    failed = [(step.name, step.error) for step in stage.outcome.steps if not step.ok]
    assert not failed
    assert len(stage.outcome.steps) == 6


@pytest.mark.timeout(180)
def test_a_demo_cleans_up_after_a_crashed_one_and_after_ctrl_c(name: str, tmp_path: Path) -> None:
    with start(name, tmp_path) as crashed:
        wait(lambda: bool(clients(name)), "the crashed demo's client")
        crashed.kill()
        crashed.communicate()
    assert len(namespaces.names(prefix(name))) == 8
    with start(name, tmp_path) as second:
        wait(lambda: owner(name) == second.pid and bool(clients(name)), "the second demo's client")
        second.send_signal(signal.SIGINT)
        _out, said = second.communicate(timeout=30)
    assert second.returncode == 128 + signal.SIGINT, said
    assert namespaces.names(prefix(name)) == []
    assert not run_directory(name).exists()
    assert not (Path("/sys/fs/bpf") / run_directory(name).name).exists()


@pytest.mark.timeout(120)
def test_a_demo_leaves_a_living_one_alone(name: str, tmp_path: Path) -> None:
    with start(name, tmp_path) as first:
        wait(lambda: bool(clients(name)), "the demo's client")
        with start(name, tmp_path) as second:
            _out, said = second.communicate(timeout=30)
        assert second.returncode == 2
        assert b"is running" in said
        wait(lambda: bool(clients(name)), "the first demo's client (one follows the other)")
        assert first.poll() is None
        first.terminate()
        first.communicate(timeout=30)
    assert first.returncode == 128 + signal.SIGTERM


def test_without_root_the_lab_says_so(trimaran: Trimaran) -> None:
    """`nobody` cannot read this tree; only the privilege is dropped."""
    script = (
        "import os; from trimaran.cli import main, lab_verbs; import trimaran.node.client;"
        "os.setuid(65534); main.main()"
    )
    refused = subprocess.run(
        [sys.executable, "-c", script, "lab", "down"], capture_output=True, text=True
    )
    assert refused.returncode == 2, refused
    assert refused.stderr.count("\n") == 1, refused.stderr
    assert "must be root; run it with sudo" in refused.stderr


def start(name: str, report: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "trimaran", "lab", "demo", str(SEVEN / "stack.yaml"),
         "--name", name, "--report", str(report)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip


def clients(name: str) -> list[int]:
    """The processes of the lab's client: it works once the nodes are ready."""
    return namespaces.processes(prefix(name) + CLIENT)


def owner(name: str) -> int | None:
    """The process that the lab on the machine belongs to."""
    try:
        owner, _started = json.loads((run_directory(name) / "lab.json").read_text())["owner"]
    except FileNotFoundError:
        return None
    return int(owner)


def wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
