"""The shape of the fixture `trimaran` (conftest.py)."""

import subprocess
from collections.abc import Callable

Trimaran = Callable[..., "subprocess.CompletedProcess[str]"]
