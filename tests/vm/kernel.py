"""The kernel of the test machine: Debian's own, unpacked (never installed) into a cache.

    python tests/vm/kernel.py     fetch it now, as `make test` does; silent when it is there

Debian's image has IPVS and every module that goes with it; the machine that runs the tests need
not. Three quarters of it (graphics, sound, hardware) are left out.
"""

import fcntl
import lzma
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

IMAGE = "linux-image-amd64"
LEFT_OUT = [
    "sound", "drivers/gpu", "drivers/media", "drivers/staging", "drivers/scsi", "drivers/usb",
    "drivers/iio", "drivers/infiniband", "drivers/input", "drivers/hid", "drivers/net/ethernet",
    "drivers/net/wireless", "drivers/net/usb", "drivers/video",
]  # fmt: skip


class NoMachineError(RuntimeError):
    """There can be no test machine here; one sentence says why and what to do."""


@dataclass(frozen=True)
class Kernel:
    """What is unpacked: `image` boots, `modules` is .../lib/modules/VERSION."""

    image: Path
    modules: Path
    busybox: Path

    def files(self, names: Iterable[str]) -> list[Path]:
        """The named modules and what they need, in the order of loading; none for a built-in."""
        needs: dict[str, list[str]] = {}
        for line in (self.modules / "modules.dep").read_text().splitlines():
            path, _, rest = line.partition(":")
            name = Path(path).name.split(".")[0].replace("-", "_")
            needs[name] = [*reversed(rest.split()), path]
        order = dict.fromkeys(path for name in names for path in needs.get(name, ()))
        return [self.modules / path for path in order]


def kernel() -> Kernel:
    """The cached one; fetched first where there is none. Raises NoMachineError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trimaran" / "vm"
    if not (cache / "done").exists():
        cache.parent.mkdir(parents=True, exist_ok=True)
        with (cache.parent / "vm.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (cache / "done").exists():
                _fetch(cache)
    version = next((cache / "lib" / "modules").iterdir())
    image = next((cache / "boot").glob("vmlinu[xz]*"))
    return Kernel(image, version, cache / "bin" / "busybox")


def _fetch(cache: Path) -> None:
    if platform.machine() != "x86_64":
        raise NoMachineError(
            f"the test machine is an x86_64 one, and this is {platform.machine()}:"
            " run the tests on x86_64"
        )
    for program in ("apt-get", "dpkg-deb", "/sbin/depmod"):
        if shutil.which(program) is None:
            raise NoMachineError(
                f"there is no {program} to fetch a kernel with IPVS:"
                " run tools/setup peers on Debian"
            )
    shutil.rmtree(cache, ignore_errors=True)
    cache.mkdir()
    with tempfile.TemporaryDirectory(dir=cache.parent) as name:
        packages = _download(Path(name))
        for package in packages:
            _unpack(package, cache)
    version = next((cache / "lib" / "modules").iterdir())
    subprocess.run(["/sbin/depmod", "-b", cache, version.name], check=True)
    _bare(next((cache / "boot").glob("vmlinuz-*")))
    (cache / "done").touch()


def _download(directory: Path) -> list[Path]:
    """Debian's packages, by apt; its lists are brought up to date when that is what is missing."""
    said = ""
    for update in (False, True):
        if update:
            subprocess.run(["apt-get", "-qq", "update"], capture_output=True, check=False)
        depends = _run("apt-cache", "depends", IMAGE).stdout
        real = re.search(r"Depends: (linux-image-\d\S*)", depends)
        if real is None:
            said = f"apt knows no {IMAGE}"
            continue
        got = _run("apt-get", "-qq", "download", real[1], "busybox-static", cwd=directory)
        packages = list(directory.glob("*.deb"))
        if got.returncode == 0 and len(packages) == 2:
            return packages
        said = " ".join(got.stderr.split())[-200:]
    raise NoMachineError(
        f"no kernel with IPVS could be fetched by apt-get ({said}):"
        " run apt-get update, and try again"
    )


def _run(*command: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def _unpack(package: Path, cache: Path) -> None:
    left_out = [f"--exclude=./lib/modules/*/kernel/{name}" for name in LEFT_OUT]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as data:
        subprocess.run(
            ["tar", "-x", "-C", cache, "--wildcards", "--exclude=./usr", *left_out],
            stdin=data.stdout,
            check=True,
        )


def _bare(image: Path) -> None:
    """Write the ELF kernel that is in a bzImage beside it: it boots without unpacking itself,
    which costs an emulator seconds."""
    data = image.read_bytes()
    start = (data[0x1F1] + 1) * 512 + struct.unpack_from("<I", data, 0x248)[0]
    try:
        elf = lzma.LZMADecompressor().decompress(data[start:])
    except lzma.LZMAError:  # another compression: qemu boots the bzImage as it is
        return
    if elf[:4] == b"\x7fELF":
        image.with_name("vmlinux").write_bytes(elf)
        image.unlink()


if __name__ == "__main__":
    try:
        kernel()
    except NoMachineError as error:
        sys.exit(f"trimaran: {error}")
