"""A TCP server that says its name, and answers each line with it: `named_server.py NAME PORT`."""

import socket
import socketserver
import sys


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for _ in self.rfile:
            self.wfile.write(f"{sys.argv[1]}\n".encode())


class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6  # IPv4 comes there too
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    with Server(("", int(sys.argv[2])), Handler) as server:
        server.serve_forever()
