"""Network namespaces: make, enter, find who lives inside, end them, remove.

They lie where `ip netns` looks for them. Entering changes the network of the calling thread and
nothing else: `ip netns exec` also remounts /sys, which hides bpffs and every pinned map.
"""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CLONE_NEWNET = 0x40000000
MS_BIND, MS_REC, MS_SHARED, MNT_DETACH = 4096, 16384, 1 << 20, 2
DIRECTORY = Path("/run/netns")

_libc = ctypes.CDLL(None, use_errno=True)


class NamespaceError(OSError):
    """The kernel refused; the message says what was asked."""


def names(prefix: str) -> list[str]:
    """The namespaces of this machine whose name starts with `prefix`, sorted."""
    if not DIRECTORY.is_dir():
        return []
    return sorted(path.name for path in DIRECTORY.iterdir() if path.name.startswith(prefix))


def create(name: str) -> None:
    """Make a namespace (it holds a `lo` that is down). Raises NamespaceError."""
    _share_directory()
    place = DIRECTORY / name
    try:
        place.touch(exist_ok=False)
    except FileExistsError as error:
        raise NamespaceError(error.errno, f"the network namespace {name} exists already") from error

    def make() -> None:
        _call("unshare", CLONE_NEWNET)
        _call("mount", b"/proc/thread-self/ns/net", bytes(place), b"none", MS_BIND, None)

    try:
        _in_thread(make)
    except NamespaceError:
        place.unlink()
        raise


def delete(name: str) -> None:
    """Remove the name. The kernel ends the namespace once its last process is gone. Idempotent."""
    place = DIRECTORY / name
    with suppress(NamespaceError):  # a plain file: its mount is gone or never was
        _call("umount2", bytes(place), MNT_DETACH)
    place.unlink(missing_ok=True)


def enter(name: str) -> None:
    """Move the calling thread, and what it starts from now on, into the namespace for good."""
    try:
        descriptor = os.open(DIRECTORY / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NamespaceError(error.errno, f"there is no network namespace {name}") from error
    try:
        _call("setns", descriptor, CLONE_NEWNET)
    finally:
        os.close(descriptor)


@contextmanager
def entered(name: str) -> Iterator[None]:
    """The calling thread is in the namespace within the block. Sockets made and processes started
    there stay there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(name)
        try:
            yield
        finally:
            _call("setns", home, CLONE_NEWNET)
    finally:
        os.close(home)


def processes(name: str) -> list[int]:
    """The process ids of everybody who lives in the namespace, oldest first; [] without it."""
    try:
        wanted = (DIRECTORY / name).stat()
    except FileNotFoundError:
        return []
    found: list[int] = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        with suppress(OSError):  # it ended meanwhile
            there = Path(f"/proc/{entry.name}/ns/net").stat()
            if (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino):
                found.append(int(entry.name))
    return sorted(found)


def end_processes(name: str, timeout_s: float = 10.0) -> None:
    """Kill everybody (but the caller) in the namespace with -9, and return when nobody is left.
    Raises NamespaceError when somebody is still there after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while alive := [process for process in processes(name) if process != os.getpid()]:
        for process in alive:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise NamespaceError(0, f"processes {alive} in {name} do not end")
        time.sleep(0.01)


def _share_directory() -> None:
    """As `ip netns add` does: a shared mount, so that names removed here vanish everywhere."""
    DIRECTORY.mkdir(mode=0o755, exist_ok=True)
    place = bytes(DIRECTORY)
    try:
        _call("mount", b"", place, b"none", MS_SHARED | MS_REC, None)
    except NamespaceError:
        _call("mount", place, place, b"none", MS_BIND | MS_REC, None)
        _call("mount", b"", place, b"none", MS_SHARED | MS_REC, None)


def _in_thread(action: Callable[[], None]) -> None:
    """Run where a changed namespace ends with the thread."""
    failure: list[NamespaceError] = []

    def guarded() -> None:
        try:
            action()
        except NamespaceError as error:
            failure.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]


def _call(name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise NamespaceError(code, f"{name}: {os.strerror(code)}")
