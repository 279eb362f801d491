"""The director's process with tunnels: a real server behind a router, real TCP through IPIP, GUE
and GRE. This machine's kernel need not have any of them: the far end is a small program."""

import hashlib
import random
import socket
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path

from test_director_role import ADDRESSES, DIGEST_SERVER, VIP, Site, site  # noqa: F401

from lan import inside, ip, wait_until
from trimaran.director.settings import RealServerSettings, ServiceSettings, TunnelSettings

FAR = IPv4Address("198.51.100.7")
GUE_PORT = 6080
TUNNELS = {
    8081: TunnelSettings("ipip"),
    8082: TunnelSettings("gue", GUE_PORT, True),
    8083: TunnelSettings("gre", 0, True),
}
TUNNEL_END = Path(__file__).parents[1] / "tunnel_end.py"


def service(port: int) -> ServiceSettings:
    real = RealServerSettings("far", FAR, port, 1, forward="tunnel", tunnel=TUNNELS[port])
    return ServiceSettings(f"web{port}", IPv4Address(VIP), port, "tcp", "rr", (real,))


def far_end(site: Site) -> None:  # noqa: F811
    """r1 has the address that the tunnels lead to, behind itself as its router."""
    namespace = site.lan.namespace("r1")
    ip("-n", namespace, "address", "add", f"{FAR}/32", "dev", "lo")
    end = site.lan.run(
        "r1", sys.executable, str(TUNNEL_END), "tun0", str(GUE_PORT), stdout=subprocess.PIPE
    )
    assert end.stdout is not None and end.stdout.readline() == b"ready\n"
    ip("-n", namespace, "link", "set", "tun0", "up")
    with inside(namespace):
        for at in ("all", "tun0"):  # the client's packets come in where no answer goes out
            Path(f"/proc/sys/net/ipv4/conf/{at}/rp_filter").write_text("0")
    for port in TUNNELS:
        site.lan.run("r1", sys.executable, str(DIGEST_SERVER), str(port))
    director = site.lan.namespace("director")
    ip("-n", director, "route", "add", f"{FAR}/32", "via", ADDRESSES["r1"])
    # The far end reads packets whose checksums no hardware will fill in.
    client = site.lan.namespace("client")
    subprocess.run(
        ["ip", "netns", "exec", client, "ethtool", "-K", "ens33", "tx", "off"],
        check=True,
        capture_output=True,
    )


def upload(site: Site, port: int, data: bytes) -> str:  # noqa: F811
    with inside(site.lan.namespace("client")):
        connection = socket.create_connection((VIP, port), 20.0)
    with connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(100).decode()


def test_tcp_through_every_tunnel_and_a_router(site: Site) -> None:  # noqa: F811
    """The client finds out what fits by the director's word: its packets may not be fragmented."""
    far_end(site)
    role = site.start(services=tuple(service(port) for port in TUNNELS))
    wait_until("the way is known", lambda: all(
        row["listed"] for each in role.status()["services"] for row in each["real_servers"]
    ))  # fmt: skip
    data = random.Random(5).randbytes(1 << 20)
    for port in TUNNELS:
        assert upload(site, port, data) == hashlib.sha256(data).hexdigest(), TUNNELS[port]
    status = role.status()
    (row,) = status["services"][0]["real_servers"]
    assert row["forward"] == "Tunnel" and row["address"] == str(FAR)
    drops = {name: count for name, count in status["drops"].items() if count}
    assert drops.keys() == {"mtu"} and status["flows"]["answered"] == drops["mtu"]
