"""The test machine keeps its promises (tests/vm/machine.py)."""

import pytest

from vm.machine import GuestError, Machine

EMPTY = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
"""
ADD = "ipvsadm -A -t 10.0.0.100:80 -s rr"


def test_a_transcript_has_every_commands_output_and_status(vm: Machine) -> None:
    made, again, listed = vm.transcript([ADD, ADD, "ipvsadm -Ln"])
    assert (made.status, made.output) == (0, "")
    assert (again.status, again.output) == (255, "Service already exists\n")
    assert (listed.status, listed.output) == (0, EMPTY + "TCP  10.0.0.100:80 rr\n")


def test_each_call_is_a_world_of_its_own(vm: Machine) -> None:
    vm.run(f"{ADD} && ip netns add left && touch /run/netns/behind && (sleep 1000 &)")
    answer = vm.run("ipvsadm -Ln; ls /run/netns; ip -o link; pgrep sleep", check=False)
    assert answer.output.startswith(EMPTY + "1: lo:")
    assert answer.output.count("\n") == 4
    assert answer.status == 1  # pgrep found nobody


def test_python_has_our_modules_its_arguments_and_no_packages(vm: Machine) -> None:
    script = """
import json, sys
import trimaran.system.clock
try:
    import pydantic
except ImportError:
    print(json.dumps(sys.argv[1:]))
"""
    assert vm.python(script, "a b", "c").json() == ["a b", "c"]


def test_what_fails_says_so_and_what_hangs_is_ended(vm: Machine) -> None:
    with pytest.raises(GuestError, match=r"exit 3\nhalf\nwhy"):
        vm.run("echo half; echo why >&2; exit 3")
    assert vm.run("sleep 1000", timeout_s=1, check=False).status == 137
    assert vm.run("echo well").output == "well\n"
