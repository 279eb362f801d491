"""Debian 12's own kernel (6.1) takes the eBPF programs: an older verifier than most."""

from vm.machine import Machine

LOAD = """
import ctypes, os
from trimaran import _native

os.mkdir("/tmp/trimaran-bpf")
assert ctypes.CDLL(None).mount(b"bpf", b"/tmp/trimaran-bpf", b"bpf", 0, None) == 0
frame = bytes.fromhex("ffffffffffff0200000000010806") + bytes(46)  # ARP is nobody's flow
for hook in ("tc", "xdp"):
    pins = "/tmp/trimaran-bpf/" + hook
    loaded = _native.Datapath(pins, max_flows=1024, max_flows6=1024, hook=hook)
    print(os.uname().release.split(".")[:2], hook, loaded.test_run(frame)[0])
"""


def test_the_programs_load_and_run_on_debians_kernel(vm: Machine) -> None:
    tc_pass, xdp_pass = 0, 2
    said = vm.python(LOAD).output
    assert said == f"['6', '1'] tc {tc_pass}\n['6', '1'] xdp {xdp_pass}\n"
