"""`trimaran run` as a process, in a network namespace of its own; the classic real-server script
gives it a role."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")

TRIMARAN = str(Path(sys.executable).parent / "trimaran")
EXAMPLE = Path(__file__).parents[2] / "examples" / "seven-nodes"
LVSRS = EXAMPLE / "classic" / "lvsrs"
VIP = "192.168.31.145"
DEADLINE_S = 60.0


class Machine:
    """A network namespace, held by a sleeping process, and daemons in it."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"],
            stdout=subprocess.PIPE,
        )
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"up\n"
        self.daemons: list[subprocess.Popen[str]] = []

    def command(self, *words: str) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )

    def trimaran(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(TRIMARAN, *words, "--run-dir", str(self.run_dir))

    def daemon(self, *words: str) -> subprocess.Popen[str]:
        daemon = subprocess.Popen(
            self.command(TRIMARAN, "run", *words, "--run-dir", str(self.run_dir)),
            stderr=subprocess.PIPE,
            text=True,
        )
        self.daemons.append(daemon)
        return daemon

    def real_server(self) -> subprocess.Popen[str]:
        daemon = self.daemon("--lvsrs", str(LVSRS), "--node", "node4")
        until(lambda: self.state() == "running", "the role runs")
        return daemon

    def state(self) -> str:
        status = self.trimaran("status", "--json")
        if status.returncode:
            return status.stderr
        return str(json.loads(status.stdout)["roles"]["real_server"]["state"])

    def carries(self) -> bool:
        return f" {VIP}/32 " in self.run("ip", "address", "show", "dev", "lo").stdout

    def close(self) -> None:
        for daemon in self.daemons:
            with daemon:
                daemon.kill()
        with self.holder:
            self.holder.kill()


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.05)


def ended(daemon: subprocess.Popen[str]) -> tuple[int, list[str]]:
    """Its exit status and the lines that it wrote."""
    _, said = daemon.communicate(timeout=DEADLINE_S)
    return daemon.returncode, said.splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path / "trimaran-run")
    yield made
    made.close()


def test_it_runs_is_asked_and_stops(machine: Machine) -> None:
    daemon = machine.real_server()
    assert machine.carries()
    shown = machine.trimaran("status")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"real_server: {VIP} on lo" in shown.stdout
    daemon.send_signal(signal.SIGTERM)
    status, said = ended(daemon)
    assert status == 0
    events = [json.loads(line) for line in said]
    assert [event["name"] for event in events] == ["role.started", "role.stopped"]
    assert not machine.carries()
    assert not (machine.run_dir / "node4.sock").exists()


def test_sighup_takes_nothing_down(machine: Machine) -> None:
    daemon = machine.real_server()
    daemon.send_signal(signal.SIGHUP)
    until(lambda: "nothing had changed" in machine.trimaran("events").stdout, "the event")
    assert machine.carries()
    assert machine.state() == "running"


def test_a_killed_daemon_leaves_nothing_that_the_next_one_trips_over(machine: Machine) -> None:
    first = machine.real_server()
    status = json.loads(machine.trimaran("status", "--json").stdout)
    role = status["roles"]["real_server"]["pid"]
    lock = machine.run_dir / "node4" / "lock"
    assert lock in [path.resolve() for path in Path(f"/proc/{role}/fd").iterdir()]
    first.send_signal(signal.SIGKILL)  # its role ends by itself and undoes; the socket stays
    ended(first)
    second = machine.real_server()  # waits for that role's end
    assert machine.carries()
    second.send_signal(signal.SIGINT)
    assert ended(second)[0] == 0
    assert not machine.carries()


def test_a_second_daemon_is_refused_in_one_sentence(machine: Machine) -> None:
    daemon = machine.real_server()
    second = machine.daemon("--lvsrs", str(LVSRS), "--node", "node4")
    status, said = ended(second)
    assert status == 2
    (sentence,) = said
    assert f"a daemon for node node4 runs already (pid {daemon.pid})" in sentence
    assert machine.state() == "running"


def test_a_role_is_stopped_and_started_by_command(machine: Machine) -> None:
    machine.real_server()
    assert machine.trimaran("stop", "real_server").returncode == 0
    assert not machine.carries()
    assert machine.trimaran("start", "real_server").returncode == 0
    assert machine.carries()
    wrong = machine.trimaran("stop", "realserver")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("trimaran: no role realserver")
    events = machine.trimaran("events", "--json").stdout.splitlines()
    names = [json.loads(line)["name"] for line in events]
    assert names == ["role.started", "role.stopped", "role.started"]


def test_a_port_that_is_taken_is_said_with_its_holder(machine: Machine) -> None:
    squatter = subprocess.Popen(
        machine.command(sys.executable, "-c", SQUAT),
        stdout=subprocess.PIPE,
    )
    assert squatter.stdout is not None
    with squatter:
        squatter.stdout.readline()
        status, said = ended(machine.daemon(str(EXAMPLE / "stack.yaml"), "--node", "node6"))
        squatter.kill()
    assert status == 2
    (sentence,) = said
    assert "port 80 of 0.0.0.0 is taken by python" in sentence
    assert f"(pid {squatter.pid})" in sentence
    assert not (machine.run_dir / "node6.sock").exists()


SQUAT = """
import socket, time
listener = socket.create_server(("0.0.0.0", 80))
print("listening", flush=True)
time.sleep(3600)
"""


def test_what_the_machine_lacks_is_a_warning_before_the_role_starts(machine: Machine) -> None:
    machine.run("ip", "link", "add", "ens33", "type", "veth", "peer", "name", "other")
    machine.run("ip", "address", "add", f"{VIP}/24", "dev", "ens33")
    machine.real_server()
    events = [json.loads(line) for line in machine.trimaran("events", "--json").stdout.splitlines()]
    assert (events[0]["name"], events[0]["role"]) == ("preflight.warning", "real_server")
    assert f"{VIP} is on ens33" in events[0]["message"]
    assert events[0]["data"]["mend"] == f"remove it: ip address delete {VIP}/24 dev ens33"


def test_a_user_without_the_right_is_told_so(machine: Machine) -> None:
    said = machine.run(
        *("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"),
        *(TRIMARAN, "run", "--lvsrs", str(LVSRS), "--node", "node4"),
        *("--run-dir", str(machine.run_dir)),
    )
    assert said.returncode == 2
    assert said.stderr == (
        "trimaran: the role real_server changes the network, which this user may not; run as root\n"
    )


def test_a_secret_is_seen_nowhere(machine: Machine, tmp_path: Path) -> None:
    secret = "tide+ebb"
    (tmp_path / "vrrp.secret").write_text(secret)
    (tmp_path / "vrrp.secret").chmod(0o600)
    stack = tmp_path / "stack.yaml"
    stack.write_text(
        "nodes: {node2: {address: 192.168.31.93, interface: ens33}}\n"
        "virtual_routers: {front: {router_id: 51, addresses: [192.168.31.145], members: "
        "{node2: 151}, authentication: {type: pass, password_file: vrrp.secret}}}\n"
    )
    machine.run("ip", "link", "add", "ens33", "type", "veth", "peer", "name", "other")
    machine.run("ip", "address", "add", "192.168.31.93/24", "dev", "ens33")
    machine.run("ip", "link", "set", "ens33", "up")
    machine.run("ip", "link", "set", "other", "up")
    daemon = machine.daemon(str(stack))
    until(lambda: "MASTER" in machine.trimaran("status").stdout, "the node leads")
    status = machine.trimaran("status", "--json").stdout
    role = json.loads(status)["roles"]["vrrp"]["pid"]
    seen = [status, machine.trimaran("events", "--json").stdout]
    for pid in (daemon.pid, role):
        seen.append(Path(f"/proc/{pid}/cmdline").read_text())
        seen.append(Path(f"/proc/{pid}/environ").read_text())
    assert "trimaran.node.vrrp_role" in seen[-2]
    os.kill(role, signal.SIGKILL)  # what is said of a crash is seen too
    until(lambda: "SIGKILL" in machine.trimaran("events").stdout, "the crash is told")
    seen.append(machine.trimaran("events", "--json").stdout)
    daemon.send_signal(signal.SIGTERM)
    status_code, said = ended(daemon)
    assert status_code == 0
    seen += [*said, *(path.read_text() for path in machine.run_dir.rglob("*") if path.is_file())]
    assert not [text for text in seen if secret in text]
    held = machine.run("ip", "address", "show", "dev", "ens33").stdout
    assert VIP not in held  # the role that came back resigned and took the address along


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        ([], 2, "there is nothing to run"),
        ([str(EXAMPLE / "stack.yaml"), "--lvsrs", str(LVSRS)], 2, "cannot be mixed"),
        ([str(EXAMPLE / "stack.yaml"), "--node", "nod6"], 1, "did you mean 'node6'?"),
        ([str(EXAMPLE / "stack.yaml")], 2, "say which one this machine is with --node"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(
    machine: Machine, words: list[str], status: int, sentence: str
) -> None:
    code, said = ended(machine.daemon(*words))
    assert code == status
    (line,) = said
    assert line.startswith("trimaran: ")
    assert sentence in line
    assert not machine.run_dir.exists()


def test_systemd_is_told_when_the_node_is_ready_and_when_it_stops(
    machine: Machine, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(DEADLINE_S)
        os.environ["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        try:
            daemon = machine.daemon("--lvsrs", str(LVSRS), "--node", "node4")
        finally:
            del os.environ["NOTIFY_SOCKET"]
        assert manager.recv(100) == b"READY=1"
        assert machine.carries()
        daemon.send_signal(signal.SIGTERM)
        assert manager.recv(100) == b"STOPPING=1"
        assert ended(daemon)[0] == 0


def test_a_plan_says_what_a_reload_would_change_and_changes_nothing(
    machine: Machine, tmp_path: Path
) -> None:
    machine.real_server()
    assert machine.trimaran("plan").stdout == "nothing would change\n"
    new = tmp_path / "lvsrs"
    new.write_text(LVSRS.read_text().replace(VIP, "192.168.31.146"))
    said = machine.trimaran("plan", str(new)).stdout.splitlines()
    assert said[0].startswith(f"~ real_server: addresses  ({VIP} → 192.168.31.146; ")
    assert said[-1] == "mastership stays where it is"
    assert machine.carries()
    refused = machine.trimaran("plan", str(tmp_path / "absent"))
    assert refused.returncode == 1
    assert "it would be refused" in refused.stderr
