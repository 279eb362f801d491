"""A TCP server that answers an upload with its SHA-256: `digest_server.py PORT`."""

import hashlib
import socket
import socketserver
import sys


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        digest = hashlib.sha256()
        while data := self.request.recv(1 << 16):
            digest.update(data)
        self.request.sendall(digest.hexdigest().encode())


class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6  # IPv4 comes there too
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    with Server(("", int(sys.argv[1])), Handler) as server:
        server.serve_forever()
