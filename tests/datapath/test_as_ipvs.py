"""Ours and the kernel's IPVS are asked the same, and choose alike: against what a real one was seen
to choose (tests/ipvs_chosen.json; tests/interop/test_ipvs_choices.py asks it again)."""

import json
from pathlib import Path

import pytest
from director_rig import DROP, Rig, real_mac, segment

from ipvs_cases import CASES, VIP, address, port
from ipvs_reference import Dest

CHOSEN: dict[str, list[int]] = json.loads(
    Path(__file__).parents[1].joinpath("ipvs_chosen.json").read_text()
)


def ours(rig: Rig, name: str) -> list[int]:
    """By the place of adding, from 1; 0 where the connection was refused."""
    scheduler, flags, weights, connections = CASES[name]
    dests = [
        Dest(n, weight, address=address(n), port=port(name), last_weight=weight or 1)
        for n, weight in enumerate(weights, 1)
    ]
    how = {"hashes_port": "port" in flags, "falls_back": "fallback" in flags}
    rig.serve_by(scheduler, dests, port=port(name), **how)  # type: ignore[arg-type]
    found = []
    for client, sport in connections:
        frame = segment(src=client, sport=sport, dst=VIP, dport=port(name))
        verdict, packet = rig.send(frame)
        assert verdict == DROP or packet[:5] == real_mac(0)[:5]
        found.append(0 if verdict == DROP else packet[5])
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_same_real_server_for_the_same_connection(rig: Rig, name: str) -> None:
    expected, found = CHOSEN[name], ours(rig, name)
    if CASES[name][0] == "wrr":
        # The kernel's first cycle begins at the threshold that the first of its real servers left:
        # where a cycle begins is not part of its order.
        cycle = sum(CASES[name][2]) // (2 if name == "wrr-gcd" else 1)
        turned = [expected[n:] for n in range(cycle)]
        assert any(found[: len(each)] == each for each in turned)
    else:
        assert found == expected
