"""`trimaran drain`, `weight`, `disable` and `enable`, with a daemon, real flows and kill -9."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_director_role import ADDRESSES, PORT, VIP, Site, says

from lan import ip, lan, wait_until

STACK = f"""
nodes:
  director: {{address: {ADDRESSES["director"]}, interface: ens33}}
  r1: {{address: {ADDRESSES["r1"]}, interface: ens33}}
  r2: {{address: {ADDRESSES["r2"]}, interface: ens33}}
virtual_routers:
  front:
    router_id: 51
    addresses: [{VIP}]
    members: {{director: 151}}
virtual_services:
  web:
    listen: front:{PORT}
    protocol: tcp
    scheduler: wrr
    forward: dr
    real_servers: {{r1: {{weight: 2}}, r2: {{weight: 1}}}}
    check: {{tcp: {{}}, interval: 300ms, timeout: 5s, retries: 1}}
"""


class Node:
    """The director's node under a real daemon."""

    def __init__(self, site: Site, place: Path) -> None:
        self.site = site
        self.run_dir = place / f"trimaran-changes-{os.getpid()}"
        self.stack = place / "stack.yaml"
        self.stack.write_text(STACK)
        self.daemon: subprocess.Popen[bytes]
        self.start()

    def start(self) -> None:
        self.daemon = self.site.lan.run(
            "director", sys.executable, "-m", "trimaran", "run", str(self.stack),
            "--node", "director", "--run-dir", str(self.run_dir), stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until("the node runs", self.rows, 60)
        wait_until("it forwards", lambda: self.site.asks(), 30)

    def trimaran(self, *words: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "trimaran", *words, "--run-dir", str(self.run_dir)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == status, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        shown = subprocess.run(
            [sys.executable, "-m", "trimaran", "status", "--json", "--run-dir", str(self.run_dir)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        answer: dict[str, Any] = json.loads(shown.stdout) if shown.returncode == 0 else {}
        return answer

    def rows(self) -> dict[str, dict[str, Any]]:
        """The director's real servers by name; none while it does not run."""
        role = self.status().get("roles", {}).get("director", {})
        if not role.get("status"):
            return {}
        return {row["name"]: row for row in role["status"]["services"][0]["real_servers"]}

    def mode(self, name: str) -> tuple[str, int] | None:
        row = self.rows().get(name)
        return (row["mode"], row["weight"]) if row else None


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with lan() as made:
        for_director = Site(made)
        try:
            # The daemon's own vrrp brings the address.
            ip("-n", made.namespace("director"), "address", "del", f"{VIP}/32", "dev", "ens33")
            node = Node(for_director, tmp_path_factory.mktemp("node"))
            yield node
            node.daemon.send_signal(signal.SIGTERM)
            node.daemon.wait(60)
        finally:
            for_director.close()


def test_a_drain_waits_until_the_last_flow_has_left(node: Node) -> None:
    with node.site.connect() as first, node.site.connect() as second:
        held = first if says(first) == "r1" else second
        assert says(held) == "r1"
        said = node.trimaran("drain", "r1", "--wait", "--timeout", "0.2", status=1)
        assert "web: r1 (192.0.2.11:8080) is drained, weight 2" in said
        assert "left after 0.2 s" in said
        wait_until("its table follows", lambda: [node.site.asks() for _ in range(3)] == ["r2"] * 3)
        waiting = subprocess.Popen(
            [sys.executable, "-m", "trimaran", "drain", "192.0.2.11", "--wait",
             "--run-dir", str(node.run_dir)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert waiting.stdout is not None
        assert "is drained" in waiting.stdout.readline()
        assert says(held) == "r1", "the flow goes on"
        assert waiting.poll() is None
    _, shown = waiting.communicate(timeout=60)
    assert waiting.returncode == 0
    assert "no flow is left" in shown
    assert "drain asked for by uid 0" in node.trimaran("status")


def test_what_was_changed_outlives_the_role_and_the_daemon(node: Node) -> None:
    node.trimaran("drain", "r1", "--service", "web")
    assert node.mode("r1") == ("drained", 0)
    before = node.status()["roles"]["director"]["pid"]
    os.kill(before, signal.SIGKILL)
    wait_until("the role is back", lambda: node.mode("r1"), 60)
    assert node.status()["roles"]["director"]["pid"] != before
    assert node.mode("r1") == ("drained", 0)
    node.daemon.send_signal(signal.SIGKILL)
    node.daemon.wait(60)
    node.start()
    assert node.mode("r1") == ("drained", 0)
    node.trimaran("reload")
    assert node.mode("r1") == ("drained", 0)
    node.trimaran("reload", "--drop-changes")
    wait_until("it is as configured", lambda: node.mode("r1") == ("enabled", 2))
    assert "is as the configuration has it again" in node.trimaran("events")


def test_a_packet_is_explained(node: Node) -> None:
    said = node.trimaran("explain", "203.0.113.9:40000", f"{VIP}:{PORT}")
    assert f"203.0.113.9:40000 → {VIP}:{PORT} (TCP SYN) is forwarded to r" in said
    assert "the tc program, over the live tables; nothing was changed" in said
    answer = json.loads(node.trimaran("explain", "203.0.113.9:1", "192.0.2.7:9", "--json"))
    assert answer["verdict"] == "local"
    assert "write ADDRESS:PORT" in node.trimaran("explain", "203.0.113.9", f"{VIP}:1", status=1)
    mixed = node.trimaran("explain", "[2001:db8::1]:1", f"{VIP}:1", status=1)
    assert "not of one IP version" in mixed


def test_weights_and_modes_and_their_errors(node: Node) -> None:
    assert "weight 5" in node.trimaran("weight", "r2", "5")
    node.trimaran("disable", "r1")
    wait_until("r1 is out", lambda: not node.rows()["r1"]["listed"])
    wait_until("r2 weighs 5", lambda: node.mode("r2") == ("enabled", 5))
    assert "5 (of 1)" in node.trimaran("status")
    node.trimaran("enable", "r1")
    node.trimaran("weight", "r2", "configured")
    wait_until("r1 is in", lambda: node.rows()["r1"]["listed"])
    assert all(row["changed"] is None for row in node.rows().values())
    assert "did you mean 'r2'" in node.trimaran("drain", "r22", status=1)
    assert "no virtual service 'mail'" in node.trimaran("drain", "r1", "-s", "mail", status=1)
    assert "0 to 65535" in node.trimaran("weight", "r1", "70000", status=1)


def test_ipvsadm_lists_and_changes_it_while_it_runs(node: Node) -> None:
    def ipvsadm(line: str, status: int = 0, lines: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "trimaran", "ipvsadm", *line.split()],
            env={**os.environ, "TRIMARAN_RUN_DIR": str(node.run_dir)}, input=lines,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == status, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    web = f"{VIP}:{PORT}"
    wait_until("all is as configured", lambda: all(row["listed"] for row in node.rows().values()))
    saved = ipvsadm("-Sn")
    assert saved == (
        f"-A -t {web} -s wrr\n"
        f"-a -t {web} -r {ADDRESSES['r1']}:{PORT} -g -w 2\n"
        f"-a -t {web} -r {ADDRESSES['r2']}:{PORT} -g -w 1\n"
    )
    ipvsadm(f"-d -t {web} -r {ADDRESSES['r1']}:{PORT}")
    ipvsadm(f"-e -t {web} -r {ADDRESSES['r2']}:{PORT} -w 7")
    ipvsadm("-A -u 192.0.2.201:53 -s rr")
    assert [node.site.asks() for _ in range(3)] == ["r2"] * 3
    shown = ipvsadm("-Ln").splitlines()
    assert [line.split()[:4] for line in shown[3:]] == [
        ["TCP", web, "wrr"],
        ["->", f"{ADDRESSES['r2']}:{PORT}", "Route", "7"],
        ["UDP", "192.0.2.201:53", "rr"],
    ]
    connections, packets = ipvsadm(f"-Ln --stats -t {web}").splitlines()[-1].split()[2:4]
    assert int(connections) > 0 and int(packets) > 0
    ipvsadm(f"-Z -t {web}")
    assert ipvsadm(f"-Ln --stats -t {web}").splitlines()[-1].split()[2] == "0"
    assert node.site.asks() == "r2"
    assert ipvsadm(f"-Ln --stats -t {web}").splitlines()[-1].split()[2] == "1"
    with node.site.connect() as held:
        assert says(held) == "r2"
        host, port = held.getsockname()
        flows = [line.split() for line in ipvsadm("-Lnc").splitlines()[2:]]
        ours = [words for words in flows if words[3] == f"{host}:{port}"]
        assert [words[0:1] + words[2:] for words in ours] == [
            ["TCP", "ESTABLISHED", f"{host}:{port}", web, f"{ADDRESSES['r2']}:{PORT}"]
        ]
        assert ours[0][1][:3] in ("14:", "15:")
    assert ipvsadm(f"-A -t {web}", status=255) == "Service already exists\n"
    assert ipvsadm("-Ln -t 192.0.2.99:80", status=1) == "No such service\n"
    assert ipvsadm("-A", status=2).startswith("You need to supply the 'service-address' option")
    ipvsadm("-C")
    assert len(ipvsadm("-Ln").splitlines()) == 3
    ipvsadm("-R", lines=saved)
    assert ipvsadm("-Sn") == saved
    wait_until("both answer", lambda: {node.site.asks() for _ in range(3)} == {"r1", "r2"})
    assert "ipvsadm, asked for by uid 0" in node.trimaran("events")
    node.trimaran("reload", "--drop-changes")
    assert all(row["changed"] is None for row in node.rows().values())
