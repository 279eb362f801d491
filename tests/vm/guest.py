"""What runs inside the test machine: the first process, and the one that takes the jobs."""

import shlex
from pathlib import Path

from vm.kernel import Kernel

BOOT_MODULES = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"]
SCHEDULERS = ["rr", "wrr", "lc", "wlc", "sh", "mh", "dh", "sed", "nq", "fo", "ovf", "lblc", "lblcr"]
TEST_MODULES = [
    "ip_vs", *(f"ip_vs_{name}" for name in SCHEDULERS),
    "veth", "dummy", "bridge",
]  # fmt: skip

# The host's root is the overlay's lower layer; jobs is the one directory that both sides write to.
INIT = r"""#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
while read m; do insmod $m || echo "insmod $m failed"; done < /modules
. /variables
o=trans=virtio,version=9p2000.L,msize=262144
mkdir /lower /rw /new
mount -t 9p -o $o,ro,cache=loose host /lower && mount -t tmpfs -o size=75% rw /rw &&
mkdir /rw/u /rw/w &&
mount -t overlay -o lowerdir=/lower,upperdir=/rw/u,workdir=/rw/w root /new || poweroff -f
mkdir -p "/new/lib/modules/$VERSION"
mount -o bind "/lower$MODULES" "/new/lib/modules/$VERSION"
mkdir -p "/new$JOBS"
mount -t 9p -o $o,cache=none jobs "/new$JOBS" || poweroff -f
mount -t proc proc /new/proc; mount -t sysfs sys /new/sys
mount -o move /dev /new/dev; mkdir -p /new/dev/pts /new/dev/shm
mount -t devpts -o ptmxmode=666 pts /new/dev/pts; mount -t tmpfs shm /new/dev/shm
mount -t tmpfs run /new/run; mkdir -p /new/run/lock /new/run/netns
mount -t cgroup2 cg /new/sys/fs/cgroup; mount -t bpf bpf /new/sys/fs/bpf
mount -t debugfs dbg /new/sys/kernel/debug; mount -t tracefs tr /new/sys/kernel/tracing
ln -sf /proc/self/fd /new/dev/fd
cp /agent /world /new/run/
exec switch_root /new /bin/sh /run/agent
"""

# A line from the host is a job's directory and its seconds; the answer is the directory's name.
# When the host's end is closed the machine ends.
AGENT = r"""
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
hostname ipvs-vm 2>/dev/null || echo ipvs-vm > /proc/sys/kernel/hostname
ip link set lo up
echo 1 > /proc/sys/net/core/bpf_jit_enable
for p in /sys/class/virtio-ports/*; do
  ln -s /dev/${p##*/} /dev/vm.$(cat $p/name)
done
exec 3<> /dev/vm.control
echo ready >&3
while read -r job seconds <&3; do
  timeout -s KILL $seconds unshare -n -m -p -f --kill-child sh /run/world $job \
    </dev/null >/run/output 2>/run/errors 3>&-
  echo $? > $job/status
  cp /run/output /run/errors $job/
  echo ${job##*/} >&3
done
echo o > /proc/sysrq-trigger
"""

WORLD = r"""
mount -t proc proc /proc; mount -t sysfs sys /sys
mount -t bpf bpf /sys/fs/bpf; mount -t tmpfs netns /run/netns
ip link set lo up
cd /tmp
. $1/run
"""


def initramfs(kernel: Kernel, jobs: Path) -> bytes:
    """Everything the machine boots from, as a cpio archive."""
    files = kernel.files([*BOOT_MODULES, *TEST_MODULES])
    variables = {"VERSION": kernel.modules.name, "MODULES": str(kernel.modules), "JOBS": str(jobs)}
    settings = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    entries = [(name, 0o40755, b"") for name in ("bin", "dev", "proc", "sys", "m")]
    entries += [(f"m/{file.name}", 0o100644, file.read_bytes()) for file in files]
    entries += [
        ("bin/busybox", 0o100755, kernel.busybox.read_bytes()),
        ("init", 0o100755, INIT.encode()),
        ("modules", 0o100644, "".join(f"/m/{file.name}\n" for file in files).encode()),
        ("variables", 0o100644, settings.encode()),
        ("agent", 0o100755, AGENT.encode()),
        ("world", 0o100755, WORLD.encode()),
    ]
    return _cpio(entries)


def _cpio(entries: list[tuple[str, int, bytes]]) -> bytes:
    """A newc archive of (name, mode, data)."""
    archive = bytearray()
    for inode, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = [inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        archive += b"070701" + b"".join(b"%08X" % field for field in fields)
        archive += name.encode() + b"\0"
        archive += b"\0" * (-len(archive) % 4) + data
        archive += b"\0" * (-len(archive) % 4)
    return bytes(archive)
