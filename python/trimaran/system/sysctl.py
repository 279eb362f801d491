"""Kernel parameters of this network namespace, by name: 'net/ipv4/conf/lo/arp_ignore'."""

from pathlib import Path

_ROOT = Path("/proc/sys")


def read(name: str) -> str:
    """The value. Raises OSError."""
    return (_ROOT / name).read_text().strip()


def write(name: str, value: str) -> None:
    """Set the value. Raises OSError."""
    (_ROOT / name).write_text(f"{value}\n")


def network_namespace() -> str:
    """This network namespace and boot: equal only where values found earlier still count."""
    boot = (_ROOT / "kernel/random/boot_id").read_text().strip()
    return f"{boot}/{Path('/proc/self/ns/net').stat().st_ino}"
