"""Runs in the test machine: what ipvsadm and the kernel say to each other, as JSON.

Standard input's JSON is a list of shell commands; the answer has a row each:
{"command", "status", "output", "sent": [hex of a message], "heard": [hex of a message]}, generic
netlink only, without the messages that look the family up. Beside it the family's number.
"""

import json
import socket
import struct
import subprocess
import sys

NETLINK_GENERIC = 16
GENL_CONTROL = 16  # the family that resolves families
NLMSG_DONE_OR_ERROR = (2, 3)
ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
LINK = "nlmon0"


def main() -> None:
    commands = json.loads(sys.argv[1])
    subprocess.run(["modprobe", "nlmon"], check=True)
    subprocess.run(["ip", "link", "add", LINK, "type", "nlmon"], check=True)
    subprocess.run(["ip", "link", "set", LINK, "up"], check=True)
    watch = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    watch.bind((LINK, 0))
    watch.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 25)
    watch.setblocking(False)
    rows = [record(watch, command) for command in commands]
    print(json.dumps(rows))


def record(watch: socket.socket, command: str) -> dict:
    """Run it and keep what passed meanwhile."""
    drain(watch)
    done = subprocess.run(
        command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    asked, answered = drain(watch)
    return {
        "command": command,
        "status": done.returncode,
        "output": done.stdout,
        "sent": asked,
        "heard": answered,
    }


def drain(watch: socket.socket) -> tuple[list[str], list[str]]:
    """The messages of IPVS since the last time: those to the kernel, those from it."""
    asked: list[str] = []
    answered: list[str] = []
    control: set[int] = set()  # sequence numbers of questions to the family that resolves families
    while True:
        try:
            data, (_, protocol, *_) = watch.recvfrom(1 << 17)
        except BlockingIOError:
            return asked, answered
        if protocol != NETLINK_GENERIC:
            continue
        while len(data) >= 16:
            length, message, flags, sequence, _ = struct.unpack_from("=IHHII", data)
            whole, data = data[:length], data[(length + 3) & ~3 :]
            if message == GENL_CONTROL:
                control.add(sequence)
            elif message in NLMSG_DONE_OR_ERROR and sequence in control:
                pass
            elif flags & 1 and message not in NLMSG_DONE_OR_ERROR:
                asked.append(whole.hex())
            else:
                answered.append(whole.hex())


main()
