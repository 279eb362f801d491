"""A UDP server that answers every datagram with its name and the datagram's length:
`udp_server.py NAME PORT`. Over IPv4 and IPv6, from the address that was asked."""

import socket
import sys

IPV6_RECVPKTINFO, IPV6_PKTINFO = 49, 50

with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as served:
    served.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    served.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
    served.bind(("::", int(sys.argv[2])))
    while True:
        data, control, _, sender = served.recvmsg(1 << 16, 128)
        asked = [(level, kind, info) for level, kind, info in control if kind == IPV6_PKTINFO]
        served.sendmsg([f"{sys.argv[1]} {len(data)}".encode()], asked, 0, sender)
