"""Debian's keepalived as a machine on a test LAN."""

import subprocess
from pathlib import Path

from lan import Lan, kill

CONFIGURATION = """
global_defs {{
    router_id {name}
}}
vrrp_instance front {{
    state BACKUP
    interface ens33
    virtual_router_id 51
    priority {priority}
    {options}
    virtual_ipaddress {{
        {address}
    }}
}}
"""

PASS = """advert_int 1
    authentication {{
        auth_type PASS
        auth_pass {password}
    }}
"""


class Keepalived:
    """Its VRRP part alone (-P), with files of its own: others may run on this machine."""

    def __init__(
        self,
        lan: Lan,
        machine: str,
        directory: Path,
        *,
        priority: int,
        address: str,
        password: str = "1111",
        options: str | None = None,
    ) -> None:
        """`options` of the instance; without them version 2, 1 s, PASS."""
        self._lan, self._machine, self._directory = lan, machine, directory
        self._file = directory / f"{machine}.conf"
        if options is None:
            options = PASS.format(password=password)
        self._file.write_text(
            CONFIGURATION.format(name=machine, priority=priority, address=address, options=options)
        )
        self._log = directory / f"{machine}.log"
        self.process = self.start()

    def start(self) -> "subprocess.Popen[bytes]":
        """Start it (again)."""
        stem = self._directory / self._machine
        with self._log.open("ab") as log:
            self.process = self._lan.run(
                self._machine, "keepalived", "-P", "-n", "-l", "-D", "-f", str(self._file),
                "-p", f"{stem}.pid", "-r", f"{stem}-vrrp.pid",
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        return self.process

    def stop(self) -> None:
        """Ask it to end, and wait: it resigns."""
        self.process.terminate()
        self.process.wait(10)

    def kill(self) -> None:
        """-9 for both of its processes: its address stays behind in the kernel."""
        kill(self.process)

    def log(self) -> str:
        """All that it has said."""
        return self._log.read_text(errors="replace")
