"""Labs of their own: each test has a name that no other lab has, and leaves nothing behind."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from verb import Trimaran

from trimaran.lab.topology import prefix
from trimaran.lab.traces import clean, run_directory
from trimaran.system import namespaces

_numbers = itertools.count(1)

TABLE = """
nodes:
  a: {address: 192.168.31.1, interface: ens33, command: "SERVER web1"}
  b: {address: 192.168.31.2, interface: ens33, command: "SERVER web2"}
"""


@pytest.fixture
def name() -> Iterator[str]:
    """A lab's name."""
    name = f"t{os.getpid()}_{next(_numbers)}"
    yield name
    clean(name)
    assert namespaces.names(prefix(name)) == []
    assert not run_directory(name).exists()


@pytest.fixture
def trimaran(name: str) -> Trimaran:
    """Runs `trimaran` on that lab, and fails where it fails."""

    def run(*arguments: str, status: int = 0) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-m", "trimaran", *arguments],
            env={**os.environ, "TRIMARAN_LAB": name, "COLUMNS": "120"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == status, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    return run


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two web servers, on a and b."""
    for page in ("web1", "web2"):
        (tmp_path / page).mkdir()
        (tmp_path / page / "index.html").write_text(f"{page}\n")
    file = tmp_path / "table.yaml"
    file.write_text(TABLE.replace("SERVER", f"{sys.executable} -m http.server 80 -d"))
    return file
