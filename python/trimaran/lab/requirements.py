"""What a lab needs of the machine, looked for before anything is made."""

import os
import sys
from pathlib import Path

from trimaran.system.errors import CannotRunError


def require() -> None:
    """Raises CannotRunError with the first thing that is missing and how to mend it."""
    if sys.platform != "linux":
        raise CannotRunError(
            "the lab needs Linux (network namespaces, eBPF)", "run it on a Linux machine or VM"
        )
    if os.geteuid() != 0:
        raise CannotRunError(
            "the lab makes network namespaces, for which one must be root", "run it with sudo"
        )
    if not Path("/proc/self/ns/net").exists():
        raise CannotRunError(
            "this kernel has no network namespaces", "use one built with CONFIG_NET_NS"
        )
    if not Path("/sys/fs/bpf").is_dir():
        raise CannotRunError(
            "this kernel has no eBPF (there is no /sys/fs/bpf)",
            "use one built with CONFIG_BPF_SYSCALL, and mount /sys",
        )
