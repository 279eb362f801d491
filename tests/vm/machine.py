"""A machine with the kernel's IPVS, for tests: Debian's kernel in QEMU, booted once a session.

The fixture `vm` (tests/conftest.py) boots it at its first use, 10 s or so, and ends it with the
session; a test that does not ask for it pays nothing.

    def test_it(vm: Machine) -> None:
        vm.run("ipvsadm -A -t 10.0.0.100:80 -s rr && ipvsadm -Ln").output     # a shell script
        vm.transcript(["ipvsadm -A -t 10.0.0.100:80 -s rr", "ipvsadm -Ln"])   # Answers, one each
        vm.python("print('hello')", "an argument").output                     # a Python script
        vm.python(Path(__file__).with_name("in_the_vm.py"), vip, "rr").json() # or one from a file

    with vm.relayed() as world: ...    # step by step, with our code running here: vm/relayed.py

Each call is a world of its own: fresh namespaces of network, mounts and processes, so IPVS is
empty at its start, only `lo` is there (up), nobody is in /run/netns, and whatever it started or
made is gone at its end. Within it make namespaces and veths as you like (`ip netns add`), by any
names.

The machine's files are this host's, seen through an overlay: paths are the same, programs and our
Python are there, writes are lost. What the host writes after the boot may not be seen, save what
the call itself carries. There is no network device: nothing that happens in there leaves it.

It is emulated, so it is slow: a call costs half a second, a fork 10 ms or more, and importing the
standard library's larger modules seconds (Python runs some 27 times slower than outside). Put
much into one call, and import little; `python` starts without site-packages, with `python/` and
`tests/` on its path. Loaded: ip_vs and all its schedulers, veth, dummy, bridge; `modprobe` has
ipip, ip_gre, pktgen, nlmon and what else Debian builds.
"""

import json
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vm.guest import initramfs
from vm.kernel import NoMachineError, kernel
from vm.relayed import World

ROOT = Path(__file__).parents[2]
BOOT_S = 150.0  # 10 s on a quiet machine; a test's own time limit is 180 s
RELAYED_S = 600.0
PATIENCE_S = 120.0  # for one answer of a relay
GRACE_S = 60.0  # for the guest to tell of a command that it ended itself


class GuestError(AssertionError):
    """A script failed in there, or the machine did; the message has what was said."""


@dataclass(frozen=True)
class Answer:
    """What came of a script or a command. `output` is its standard output; a transcript's has
    both outputs, as a terminal shows them."""

    status: int
    output: str
    errors: str = ""

    def json(self) -> Any:
        """The output, read as JSON."""
        return json.loads(self.output)


class Machine:
    """Booted when made. Use one at a time."""

    def __init__(self) -> None:
        qemu = shutil.which("qemu-system-x86_64")
        if qemu is None:
            raise NoMachineError(
                "there is no qemu-system-x86_64 to run a kernel with IPVS in: run tools/setup peers"
            )
        unpacked = kernel()
        self._directory = Path(tempfile.mkdtemp(prefix=f"trimaran-vm-{os.getpid()}-"))
        (self._directory / "jobs").mkdir()
        (self._directory / "initrd").write_bytes(initramfs(unpacked, self._directory / "jobs"))
        self._console = self._directory / "console"
        self._count = 0
        self._port, self._far = socket.socketpair()
        self._port.settimeout(PATIENCE_S)
        self._buffer = b""
        with (self._directory / "qemu").open("wb") as complaints:
            self._process = subprocess.Popen(
                [qemu, *self._arguments(unpacked.image)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                preexec_fn=_die_with_parent,
                pass_fds=[self._far.fileno()],
            )
        self._far.close()
        try:
            self._expect("ready", BOOT_S)
        except BaseException:
            self.close()
            raise

    def _arguments(self, image: Path) -> list[str]:
        share = "local,security_model=none,multidevs=remap"
        words = f"""
            -M q35 -accel tcg,tb-size=512 -cpu max -smp 1 -m 1G
            -nodefaults -no-user-config -no-reboot -display none
            -serial file:{self._console} -kernel {image} -initrd {self._directory}/initrd
            -fsdev {share},id=host,path=/,readonly=on
            -device virtio-9p-pci,fsdev=host,mount_tag=host
            -fsdev {share},id=jobs,path={self._directory}/jobs
            -device virtio-9p-pci,fsdev=jobs,mount_tag=jobs
            -object rng-random,id=rng,filename=/dev/urandom -device virtio-rng-pci,rng=rng
            -device virtio-serial-pci
            -chardev stdio,id=control,signal=off -device virtserialport,chardev=control,name=control
            -chardev socket,id=relay,fd={self._far.fileno()}
            -device virtserialport,chardev=relay,name=relay
        """.split()
        return [*words, "-append", "console=ttyS0 quiet panic=-1 mitigations=off audit=0"]

    def run(
        self, script: str, *, check: bool = True, timeout_s: float = 60.0, name: str = "run"
    ) -> Answer:
        """Run a shell script in a world of its own, ended after `timeout_s` of the guest's clock
        (status 137). Raises GuestError if it fails, unless `check` is False."""
        self._start(script, timeout_s)
        answer = self._finish(timeout_s)
        if check and answer.status:
            raise GuestError(f"{name}: exit {answer.status}\n{answer.output}{answer.errors}")
        return answer

    @contextmanager
    def relayed(self) -> Iterator[World]:
        """A world that is driven step by step."""
        command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("relay.py"))]
        self._start(shlex.join([*command, "/dev/vm.relay"]), RELAYED_S)
        world = World(self._port)
        try:
            yield world
        finally:
            world.ask(b"Q")
            answer = self._finish(PATIENCE_S)
        if answer.status:
            raise GuestError(f"the relay: exit {answer.status}\n{answer.errors}")

    def _start(self, script: str, timeout_s: float) -> None:
        self._count += 1
        job = self._directory / "jobs" / str(self._count)
        job.mkdir()
        (job / "run").write_text(script)
        line = f"{job} {int(timeout_s)}\n".encode()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise GuestError(f"the test machine is gone: {self._last_words()}") from None

    def _finish(self, timeout_s: float) -> Answer:
        self._expect(str(self._count), timeout_s + GRACE_S)
        job = self._directory / "jobs" / str(self._count)
        status = int((job / "status").read_text())
        answer = Answer(status, (job / "output").read_text(), (job / "errors").read_text())
        shutil.rmtree(job)
        return answer

    def transcript(self, commands: Sequence[str], *, timeout_s: float = 60.0) -> list[Answer]:
        """Run shell commands one after the other in one world, whatever their statuses: an Answer
        each, both outputs together."""
        end = f"end-of-{os.urandom(8).hex()}"
        lines = [f"{{ {command}\n}} 2>&1; echo '{end}' $?" for command in commands]
        output = self.run("\n".join(lines), timeout_s=timeout_s).output
        answers = []
        for command in commands:
            text, found, output = output.partition(end)
            status, _, output = output.partition("\n")
            if not found:
                raise GuestError(f"{command}: it ended the whole transcript\n{text}")
            answers.append(Answer(int(status), text))
        return answers

    def python(
        self, script: str | Path, *arguments: str, check: bool = True, timeout_s: float = 120.0
    ) -> Answer:
        """Run Python (a source text, or a file that was there at the boot) in a world of its own.
        `trimaran` and the modules of tests/ can be imported, packages from outside cannot."""
        path = f"PYTHONPATH={ROOT}/python:{ROOT}/tests"
        words = [sys.executable, "-S", "-B"]
        words += ["-c", script] if isinstance(script, str) else [str(script)]
        command = f"{path} {shlex.join([*words, *arguments])}"
        return self.run(command, check=check, timeout_s=timeout_s, name="python")

    def _expect(self, word: str, within_s: float) -> None:
        """Wait for the guest's next line, which must be that word."""
        stdout = self._process.stdout
        assert stdout is not None
        deadline = time.monotonic() + within_s
        while b"\n" not in self._buffer:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not select.select([stdout], [], [], left_s)[0]:
                raise GuestError(f"the test machine is silent: {self._last_words()}")
            data = os.read(stdout.fileno(), 4096)
            if not data:
                raise GuestError(f"the test machine ended: {self._last_words()}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        if line.decode() != word:
            raise GuestError(f"the test machine said {line!r} instead of {word}")

    def _last_words(self) -> str:
        files = (self._directory / "qemu", self._console)
        return "\n".join(f.read_text(errors="replace")[-3000:] for f in files if f.exists())

    def close(self) -> None:
        """End it. Idempotent."""
        self._process.kill()
        self._process.wait()
        self._port.close()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        shutil.rmtree(self._directory, ignore_errors=True)


def _die_with_parent() -> None:
    """The machine does not outlive a test process that was killed."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
