"""Real nginx behind the proxy: the same answers as without it."""

import http.client
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from trimaran.proxy.snapshot import snapshot
from trimaran.stack.http import Http, Listen, Location, Peer, ProxyPass, Server, Upstream
from trimaran.system.engine import Engine

CONFIGURATION = """
daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 128; }}
http {{
  access_log off; client_max_body_size 0; keepalive_requests 7;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
  uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  server {{ listen 127.0.0.1:{port}; root {dir}/root;
    location /said {{ return 200 "$request_method $host $http_x_real_ip $request_uri"; }}
    location /gone {{ return 410; }}
    gzip_types *; gzip_min_length 1; gzip_proxied any;
    location /zip {{ gzip on; alias {dir}/root/; }}
  }}
}}
"""
BODY = bytes(range(256)) * 4000


@pytest.fixture
def nginx_port(tmp_path: Path) -> Iterator[int]:
    binary = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert binary, "nginx is not installed: apt-get install nginx-light"
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "data").write_bytes(BODY)
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)  # nginx's workers run as another user
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    path = tmp_path / "nginx.conf"
    path.write_text(CONFIGURATION.format(dir=tmp_path, port=port))
    process = subprocess.Popen([binary, "-c", str(path), "-e", str(tmp_path / "error.log")])
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            assert process.poll() is None and time.monotonic() < deadline, "nginx did not start"
            time.sleep(0.02)
    yield port
    process.terminate()
    process.wait(20)


@pytest.fixture
def proxy_port(nginx_port: int) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    headers = (("Host", "$host"), ("X-Real-IP", "$remote_addr"))
    forward = ProxyPass(upstream="nginx", set_headers=headers)
    server = Server(
        listen=(Listen(address="127.0.0.1", port=port),),
        locations=(Location(path="/", action=forward),),
    )
    upstream = Upstream(name="nginx", peers=(Peer(address=f"127.0.0.1:{nginx_port}"),))
    engine = Engine(snapshot(Http(servers=(server,), upstreams=(upstream,))), [listener])
    yield port
    engine.stop(0.0)
    listener.close()


def ask(port: int, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    names = ("Content-Type", "Content-Length", "ETag", "Last-Modified", "Content-Range")
    kept = {name: answer.headers[name] for name in names if name in answer.headers}
    result = answer.status, kept, answer.read()
    connection.close()
    return result


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/data", {}),
        ("HEAD", "/data", {}),
        ("GET", "/data", {"Range": "bytes=100-299"}),
        ("GET", "/data", {"Range": "bytes=0-1,5-6"}),
        ("GET", "/zip/data", {"Accept_Encoding": "gzip"}),
        ("GET", "/absent", {}),
        ("GET", "/gone", {}),
        ("DELETE", "/data", {}),
    ],
)
def test_the_answer_is_the_same_with_and_without_us(nginx_port, proxy_port, method, path, headers):
    direct, through = (ask(port, method, path, **headers) for port in (nginx_port, proxy_port))
    if "multipart" in direct[1].get("Content-Type", ""):
        assert through[0] == direct[0] and len(through[2]) == len(direct[2])  # a boundary differs
    else:
        assert through == direct


def test_it_hears_the_client_through_us(proxy_port):
    assert ask(proxy_port, "GET", "/said/a%20b?c", Host="Who:1")[2] == (
        b"GET who 127.0.0.1 /said/a%20b?c"
    )


def test_connections_that_nginx_ends_cost_no_request(proxy_port):
    """keepalive_requests 7: nginx closes after every seventh answer."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy_port, timeout=20)
    for _ in range(60):
        connection.request("GET", "/data")
        assert connection.getresponse().read() == BODY
    connection.close()
