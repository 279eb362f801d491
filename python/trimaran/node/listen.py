"""Runs a role with its listening sockets placed by the LISTEN_FDS convention (sd_listen_fds(3)).

`python -m trimaran.node.listen MODULE` in the process that becomes the role: descriptors named in
TRIMARAN_LISTEN_FDS are moved to 3, 4, …, LISTEN_FDS and LISTEN_PID are set, and the role's module
runs in this same process. Only the process itself knows its pid early enough, and code between
fork and exec would not be safe in a supervisor with threads.
"""

import fcntl
import os
import runpy
import sys
from collections.abc import MutableMapping, Sequence

from trimaran.node.channel import CHANNEL_VARIABLE

LISTEN_VARIABLE = "TRIMARAN_LISTEN_FDS"
FIRST = 3


def place(descriptors: Sequence[int], environment: MutableMapping[str, str]) -> None:
    """Move the descriptors to 3, 4, … (inheritable, in order), and the channel out of their way."""
    above = FIRST + len(descriptors)
    channel = int(environment[CHANNEL_VARIABLE])
    moved = fcntl.fcntl(channel, fcntl.F_DUPFD_CLOEXEC, above)
    high = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, above) for each in descriptors]
    for each in {channel, *descriptors}:
        os.close(each)
    for target, each in enumerate(high, FIRST):
        os.dup2(each, target)
        os.close(each)
    environment[CHANNEL_VARIABLE] = str(moved)
    environment["LISTEN_FDS"] = str(len(descriptors))
    environment["LISTEN_PID"] = str(os.getpid())


def main() -> None:
    """Place the sockets, then be the role."""
    module = sys.argv[1]
    place([int(each) for each in os.environ.pop(LISTEN_VARIABLE).split(",")], os.environ)
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
