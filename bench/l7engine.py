"""Our engine as one of l7bench's peers: `l7engine.py PORT BACKEND_PORT [options]`."""

import argparse
import signal
import socket

from trimaran.proxy.snapshot import snapshot
from trimaran.stack.http import Files, Http, Listen, Location, Peer, ProxyPass, Server, Upstream
from trimaran.system.engine import Engine


def http(args: argparse.Namespace) -> Http:
    """What l7bench's nginx.conf says, in our model."""
    headers = (("Host", "$host"), ("X-Forwarded-For", "$proxy_add_x_forwarded_for"))
    forward = ProxyPass(upstream="b", set_headers=headers)
    action = Files(root=args.root) if args.root else forward
    server = Server(
        listen=(Listen(address="127.0.0.1", port=args.port),),
        locations=(Location(path="/", action=action),),
        keepalive_timeout=600.0,
        access_log=args.log,
    )
    peers = (Peer(address=f"127.0.0.1:{args.backend}"),)
    upstream = Upstream(name="b", peers=peers, keepalive=1024)
    return Http(servers=(server,), upstreams=(upstream,), workers=args.workers)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("backend", type=int)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--log", help="write an access log")
    parser.add_argument("--root", help="serve its files instead of forwarding")
    args = parser.parse_args()
    model = http(args)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    with socket.create_server(("127.0.0.1", args.port), backlog=4096) as listener:
        engine = Engine(snapshot(model), [listener], args.workers)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
        engine.stop(0.0)


if __name__ == "__main__":
    main()
