"""Our engine as one of l7bench's peers: `l7engine.py PORT BACKEND_PORT [WORKERS] [ACCESS_LOG]`."""

import signal
import socket
import sys

from trimaran.proxy.snapshot import snapshot
from trimaran.stack.http import Http, Listen, Location, Peer, ProxyPass, Server, Upstream
from trimaran.system.engine import Engine


def http(port: int, backend_port: int, workers: int, access_log: str | None) -> Http:
    """What l7bench's nginx.conf says, in our model."""
    headers = (("Host", "$host"), ("X-Forwarded-For", "$proxy_add_x_forwarded_for"))
    server = Server(
        listen=(Listen(address="127.0.0.1", port=port),),
        locations=(Location(path="/", action=ProxyPass(upstream="b", set_headers=headers)),),
        keepalive_timeout=600.0,
        access_log=access_log,
    )
    peers = (Peer(address=f"127.0.0.1:{backend_port}"),)
    upstream = Upstream(name="b", peers=peers, keepalive=1024)
    return Http(servers=(server,), upstreams=(upstream,), workers=workers)


def main() -> None:
    """Serve until SIGTERM."""
    port, backend_port = int(sys.argv[1]), int(sys.argv[2])
    workers = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    model = http(port, backend_port, workers, sys.argv[4] if len(sys.argv) > 4 else None)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    with socket.create_server(("127.0.0.1", port), backlog=4096) as listener:
        engine = Engine(snapshot(model), [listener], workers)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
        engine.stop(0.0)


if __name__ == "__main__":
    main()
