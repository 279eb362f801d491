"""Where a node keeps its files while it runs: the control socket, state files, and the lock."""

import fcntl
import grp
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from trimaran.system import clock
from trimaran.system.errors import CannotRunError

DEFAULT = Path("/run/trimaran")
VARIABLE = "TRIMARAN_RUN_DIR"
GROUP = "trimaran"
_LONGEST_SOCKET_PATH = 107  # bytes; sockaddr_un has 108 with the final zero
_ORPHANS_S = 15.0
_HIGH = 512
_BPFFS = Path("/sys/fs/bpf")


def default() -> Path:
    """The run directory: TRIMARAN_RUN_DIR, or /run/trimaran."""
    return Path(os.environ.get(VARIABLE) or DEFAULT)


class RunDirectory:
    """The files of one node: RUN_DIR/NODE.sock and RUN_DIR/NODE/."""

    def __init__(self, base: Path, node: str) -> None:
        self.base = base.absolute()
        self.node = node
        self._lock: int | None = None

    @property
    def lock(self) -> int:
        """The lock's descriptor. The roles inherit it, so that the node counts as running until
        the last of them has ended, also when the daemon itself is killed."""
        assert self._lock is not None, "take() first"
        return self._lock

    @property
    def state(self) -> Path:
        """The directory of state files."""
        return self.base / self.node

    @property
    def socket_path(self) -> Path:
        """The control API's socket."""
        return self.base / f"{self.node}.sock"

    @property
    def pins(self) -> Path:
        """Where the node's eBPF objects are pinned."""
        return _BPFFS / self.base.name / self.node

    def take(self) -> None:
        """Make the directories and hold the lock until this process ends, however it ends.
        Raises CannotRunError when a daemon of this name holds it, or the place is not ours."""
        if len(os.fsencode(self.socket_path)) > _LONGEST_SOCKET_PATH:
            raise CannotRunError(
                f"the path of the control socket is too long: {self.socket_path}",
                "choose a shorter --run-dir",
            )
        try:
            self.base.mkdir(mode=0o755, parents=True, exist_ok=True)
            self.state.mkdir(mode=0o700, exist_ok=True)
            lock = os.open(self.state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CannotRunError(
                f"cannot use the run directory {self.base}: {error.strerror}",
                "run as root, or choose another with --run-dir",
            ) from error
        lock = _high(lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._wait_for_orphans(lock)
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        self._lock = lock

    def _wait_for_orphans(self, lock: int) -> None:
        """Wait until the roles of a killed daemon, which hold its lock, have ended."""
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
        deadline = clock.now() + _ORPHANS_S
        while not (holder.isdigit() and Path(f"/proc/{holder}").exists()):
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            if clock.now() > deadline:
                os.close(lock)
                raise CannotRunError(
                    f"the roles of a killed daemon for node {self.node} do not end",
                    f"end them: fuser {self.state / 'lock'} shows them",
                )
            time.sleep(0.05)
        os.close(lock)
        raise CannotRunError(
            f"a daemon for node {self.node} runs already (pid {holder}) with the run directory "
            f"{self.base}",
            "stop it first",
        )

    def listen(self) -> socket.socket:
        """The control socket, mode 0660, of group `trimaran` where there is one. One that a
        killed daemon left is replaced: the lock says that nobody lives behind it."""
        assert self._lock is not None, "take() first"
        self.socket_path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)  # nobody may connect before mode and group are right
        try:
            listener.bind(str(self.socket_path))
        finally:
            os.umask(before)
        if os.geteuid() == 0:
            os.chown(self.socket_path, -1, _group())
        self.socket_path.chmod(0o660)
        listener.listen(128)
        listener.setblocking(False)
        return listener

    def leave(self) -> None:
        """Remove the socket and give the lock back. The lock's file stays: removing it would let
        two daemons hold two locks of one name."""
        if self._lock is None:
            return
        self.socket_path.unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None


def _high(descriptor: int) -> int:
    """The same file at a number out of the way of LISTEN_FDS, which start at 3."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH)
    os.close(descriptor)
    return moved


def _group() -> int:
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return 0
