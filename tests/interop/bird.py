"""Debian's BIRD in a namespace, for BFD alone."""

import subprocess
from pathlib import Path

from lan import Lan, inside

CONFIGURATION = """
router id {own};
protocol device {{}}
protocol bfd {{
  interface "ens33" {{
    min rx interval {interval_ms} ms; min tx interval {interval_ms} ms; multiplier 5;
  }};
  neighbor {neighbour};
}}
"""


class Bird:
    """A BIRD that keeps one BFD session."""

    def __init__(
        self, made: Lan, name: str, directory: Path, own: str, neighbour: str, interval_ms: int
    ) -> None:
        self._made, self._name, self._directory = made, name, directory
        text = CONFIGURATION.format(own=own, neighbour=neighbour, interval_ms=interval_ms)
        (directory / "bird.conf").write_text(text)
        self.start()

    def start(self) -> None:
        with inside(self._made.namespace(self._name)):
            self._process = subprocess.Popen(
                ["/usr/sbin/bird", "-f", "-c", self._directory / "bird.conf",
                 "-s", self._directory / "bird.ctl", "-P", self._directory / "bird.pid"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip

    def sessions(self) -> str:
        """What it says of its BFD sessions; empty when it does not answer."""
        command = ["/usr/sbin/birdc", "-s", str(self._directory / "bird.ctl"), "show bfd sessions"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
