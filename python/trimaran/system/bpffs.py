"""The file system that pinned eBPF objects live in."""

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOUNT_POINT = Path("/sys/fs/bpf")
_libc = ctypes.CDLL(None, use_errno=True)


class BpffsError(OSError):
    """There is no bpffs to pin to; the message says why."""


def ensure(directory: Path) -> None:
    """Mount bpffs if it is not, and make the directory on it. Idempotent. Raises BpffsError."""
    if not directory.is_relative_to(MOUNT_POINT):
        raise BpffsError(errno.EINVAL, f"{directory} is not below {MOUNT_POINT}")
    with _locked():
        if not _mounted():
            _mount()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BpffsError(error.errno, f"cannot make {directory}: {error.strerror}") from error


def remove(directory: Path) -> None:
    """Remove the directory, and the empty ones above it, if nothing is pinned there."""
    while directory != MOUNT_POINT and directory.is_relative_to(MOUNT_POINT):
        try:
            directory.rmdir()
        except OSError:
            return
        directory = directory.parent


def _mounted() -> bool:
    """By the mount table: a second mount would hide the pins of the first."""
    rows = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return any(row[1] == str(MOUNT_POINT) and row[2] == "bpf" for row in rows)


def _mount() -> None:
    if _libc.mount(b"bpf", bytes(MOUNT_POINT), b"bpf", 0, b"mode=0700") != 0:
        number = ctypes.get_errno()
        raise BpffsError(
            number,
            f"cannot mount bpffs on {MOUNT_POINT}: {os.strerror(number)}; "
            f"run as root, or mount it beforehand: mount -t bpf bpf {MOUNT_POINT}",
        )


@contextmanager
def _locked() -> Iterator[None]:
    """One at a time among the processes of this machine: two mounts would hide each other."""
    try:
        descriptor = os.open(MOUNT_POINT.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise BpffsError(error.errno, f"this kernel has no {MOUNT_POINT.parent}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
