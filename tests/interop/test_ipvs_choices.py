"""What tests/ipvs_chosen.json says a real IPVS chose, it chooses (Debian's kernel): by it ours is
held (tests/datapath/test_as_ipvs.py)."""

import json
from pathlib import Path

from vm.machine import Machine


def test_a_real_ipvs_chooses_as_it_was_recorded(vm: Machine) -> None:
    here = Path(__file__).parent
    said = vm.python(here / "ipvs_asked.py", timeout_s=200).output
    chosen = {
        name: [0 if last == "-" else int(last) - 10 for last in lasts]
        for name, *lasts in (line.split() for line in said.splitlines())
    }
    assert chosen == json.loads((here.parent / "ipvs_chosen.json").read_text())
