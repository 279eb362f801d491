"""Run in the test machine: plays ipvs_cases to the kernel's IPVS and prints whom it chose."""

import ctypes
import os
import socket

from ipvs_cases import CASES, VIP, address, port

SETUP = """
set -e
ip netns add client
ip link add eth0 type veth peer name eth0 netns client
ip addr add 10.0.0.10/24 dev eth0; ip addr add 10.0.0.100/32 dev eth0; ip link set eth0 up
ip route add 10.1.0.0/16 dev eth0
ip -n client link set lo up; ip -n client link set eth0 up
ip -n client addr add 10.0.0.2/24 dev eth0; ip -n client route add local 10.1.0.0/16 dev lo
for n in 1 2 3 4 5; do
  ip neigh add 10.0.0.1$n lladdr 02:00:00:00:00:0$n dev eth0 nud permanent
done
sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0
ip -n client neigh add 10.0.0.100 lladdr $(cat /sys/class/net/eth0/address) dev eth0
"""


def serve(at: int, scheduler: str, flags: str, weights: tuple[int, ...]) -> None:
    service = f"-t {VIP}:{at}"
    lines = [f"-A {service} -s {scheduler}" + (f" -b {flags}" if flags else "")]
    for index, weight in enumerate(weights, 1):
        lines.append(f"-a {service} -r {address(index)}:{at} -g -w {weight or 1}")
    for index, weight in enumerate(weights, 1):
        if not weight:
            lines.append(f"-e {service} -r {address(index)}:{at} -g -w 0")
    assert os.system("ipvsadm -C && ipvsadm -R <<'.'\n" + "\n".join(lines) + "\n.") == 0


def ask(at: int, connections: list[tuple[str, int]]) -> list[socket.socket]:
    """One SYN each, from the client's namespace, where we are."""
    asking = []
    for source in connections:
        each = socket.socket()
        each.setblocking(False)
        each.bind(source)
        each.connect_ex((VIP, at))
        asking.append(each)
    return asking


def chosen(at: int, connections: list[tuple[str, int]]) -> list[str]:
    listed = {}
    for line in os.popen("ipvsadm -Lnc").read().splitlines()[2:]:
        _protocol, _left, _state, source, virtual, real = line.split()
        if virtual == f"{VIP}:{at}":
            listed[source] = real.split(":")[0].rpartition(".")[2]
    return [listed.get(f"{host}:{port}", "-") for host, port in connections]


def enter(namespace: int) -> None:
    assert ctypes.CDLL(None).setns(namespace, 0x40000000) == 0


def main() -> None:
    assert os.system(SETUP) == 0
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    client = os.open("/run/netns/client", os.O_RDONLY)
    for name, (scheduler, flags, weights, connections) in CASES.items():
        at = port(name)
        serve(at, scheduler, flags, weights)
        enter(client)
        asking = ask(at, connections)
        enter(own)
        print(name, *chosen(at, connections), flush=True)
        for each in asking:
            each.close()


main()
