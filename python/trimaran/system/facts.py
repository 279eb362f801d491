"""What this machine allows, asked of the kernel rather than guessed."""

import ctypes
import json
import os
import platform
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

CAP_NET_ADMIN, CAP_NET_RAW = 12, 13
_BPF_MAP_CREATE, _BPF_MAP_TYPE_ARRAY = 0, 2
_BPF_SYSCALL = {"x86_64": 321, "aarch64": 280}
_COMMAND_TIMEOUT_S = 5.0


def capabilities() -> frozenset[int]:
    """The numbers of this process's effective capabilities."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            bits = int(value, 16)
            return frozenset(number for number in range(64) if bits >> number & 1)
    return frozenset()


def ebpf_refusal() -> str | None:
    """Why the kernel makes no eBPF map for us; None when it does."""
    number = _BPF_SYSCALL.get(platform.machine())
    if number is None:
        return f"unknown machine {platform.machine()}"
    attributes = (ctypes.c_uint32 * 32)(_BPF_MAP_TYPE_ARRAY, 4, 4, 1)  # key, value, entries
    libc = ctypes.CDLL(None, use_errno=True)
    size = ctypes.sizeof(attributes)
    descriptor = libc.syscall(number, _BPF_MAP_CREATE, ctypes.byref(attributes), size)
    if descriptor < 0:
        return os.strerror(ctypes.get_errno())
    os.close(descriptor)
    return None


def nft_ruleset() -> dict[str, Any]:
    """`nft -j list ruleset`; empty when there is no nft, or it may not be asked."""
    text = _output("nft", "-j", "list", "ruleset")
    with suppress(ValueError):
        ruleset: dict[str, Any] = json.loads(text)
        return ruleset
    return {}


def legacy_iptables_rules() -> str:
    """`iptables-legacy-save`, where the old tables are in use; else ''."""
    with suppress(OSError):
        if Path("/proc/net/ip_tables_names").read_text().strip():
            return _output("iptables-legacy-save")
    return ""


def _output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=True
        ).stdout
    return ""
