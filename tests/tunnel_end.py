"""A tunnel's far end where the kernel has none: takes IPIP, GUE (on PORT) and GRE over IPv4 and
hands what is in them to the kernel through a TUN device of that name: `tunnel_end.py NAME PORT`."""

import fcntl
import os
import select
import socket
import struct
import sys

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
IPIP, GRE = 4, 47


def tun(name: str) -> int:
    """A descriptor: what is written to it comes in at the interface."""
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


def main() -> None:
    device = tun(sys.argv[1])
    ipip = socket.socket(socket.AF_INET, socket.SOCK_RAW, IPIP)
    gre = socket.socket(socket.AF_INET, socket.SOCK_RAW, GRE)
    gue = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    gue.bind(("", int(sys.argv[2])))
    print("ready", flush=True)
    while True:
        for each in select.select([ipip, gre, gue], [], [])[0]:
            data = each.recv(1 << 16)
            if each is gue:
                os.write(device, data[4:])
                continue
            data = data[(data[0] & 15) * 4 :]
            if each is gre:
                data = data[8 if data[0] & 0x80 else 4 :]
            os.write(device, data)


if __name__ == "__main__":
    main()
