"""What an nginx.conf says about answering: each case is a location of one server and one question
to it."""

import os
import re
import socket
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_wire import PATIENCE_S, Client, Message, Proxy

from trimaran.stack.http import Http
from trimaran.stack.nginx import read_nginx
from trimaran.system.files import DiskFiles

CONF = """
http {{
    default_type text/plain;
    geo $remote_addr $here {{ ranges; default away; 127.0.0.0-127.0.0.255 near;
                              127.0.0.1-127.0.0.1 me; 127.0.0.2-127.0.0.255 far;
                              delete 127.0.0.2-127.0.0.255; }}
    geo $arg_ip $proxied {{ proxy 192.0.2.0/24; default no; 10.0.0.0/8 ten; }}
    map $arg_n $kept {{ default $arg_n; }}
    map $arg_n $fresh {{ volatile; default $arg_n; }}
    limit_req_zone $arg_key zone=slow:1m rate=1r/m;
    log_format seen $uri:$status:$pipe:$request_completion;
    server {{
        listen 127.0.0.1:{port};
        server_name front;
        root {dir};
        access_log {dir}/seen.log seen;
        error_log {dir}/error.log info;
        add_header X-Uri $uri;
        location / {{ }}
        location /early {{ return 204; }}
        location /name {{ server_name_in_redirect on; return 301 /x; }}
        location /port {{ port_in_redirect off; return 301 /x; }}
        location /relative {{ absolute_redirect off; return 301 /x; }}
        location /tokens {{ server_tokens off; return 200 -; }}
        location /before {{ alias {dir}/data.txt; if_modified_since before; }}
        location /untagged {{ alias {dir}/data.txt; etag off; }}
        location /two {{ alias {dir}/data.txt; max_ranges 2; }}
        location /none {{ alias {dir}/data.txt; max_ranges 0; }}
        location /trailer {{ add_trailer X-After $host; add_trailer X-Sent $sent_trailer_x_after;
                             return 200 body; }}
        location /trailing {{ alias {dir}/data.txt; add_trailer X-After end; }}
        location /few {{ keepalive_requests 1; return 200 -; }}
        location /told {{ keepalive_timeout 60s 9s; return 200 -; }}
        location /safari {{ keepalive_disable safari; return 200 -; }}
        location /only {{ limit_except GET {{ deny all; }} return 200 -; }}
        location /only-file {{ alias {dir}/data.txt; limit_except GET {{ deny all; }} }}
        location /auth {{ auth_basic closed; auth_basic_user_file {dir}/passwords;
                          alias {dir}/data.txt; }}
        location ~ ^/by-regex/(.*) {{ alias {dir}/sub/$1; }}
        location /nested/ {{ alias {dir}/; location ~ txt {{ try_files $uri =404; }} }}
        location /here {{ return 200 $here; }}
        location /proxied {{ return 200 $proxied; }}
        location /kept {{ set $a $kept$fresh; set $args n=2; return 200 $a:$kept:$fresh; }}
        location /limited {{ limit_req zone=slow; add_header X-Verdict $limit_req_status always; }}
        location /dry {{ limit_req zone=slow; limit_req_dry_run on; limit_req_log_level warn;
                         add_header X-Verdict $limit_req_status always; }}
        location /connection {{ return 200
            $connections_active:$connections_reading:$connections_writing:$connections_waiting; }}
        location /unescape {{ rewrite ^ $arg_to? redirect; }}
        location /expires {{ expires $arg_e; return 200 -; }}
        location /quiet {{ log_not_found off; }}
        location /rate {{ alias {dir}/data.txt; limit_rate 200; limit_rate_after 100; }}
        location /said {{ set $limit_rate 3k; return 200 $limit_rate; }}
        error_page 400 /bad;
        location = /bad {{ return 302 http://help/; }}
    }}
    server {{
        listen 127.0.0.1:{port}; server_name raw;
        return 200 $uri;
    }}
}}
"""
DATA = "".join(f"line {number:03}\n" for number in range(30))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("site")
    (root / "sub").mkdir()
    (root / "data.txt").write_text(DATA)
    (root / "sub" / "inner.txt").write_text("inner")
    os.utime(root / "data.txt", (1_700_000_000, 1_700_000_000))
    (root / "passwords").write_text(
        "apr1:$apr1$salt$Xxd1irWT9ycqoYxGFn4cb.\n"
        "sha:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"
        "ssha:{SSHA}yI6cZwQadOA1e+/f+T+H3eCQQhRzYWx0\n"
        "plain:{PLAIN}password"
    )
    return root


@pytest.fixture(scope="module")
def door(root: Path) -> Iterator[Proxy]:
    def http(port: int) -> Http:
        text = CONF.format(port=port, dir=root)
        return read_nginx(text, str(root / "nginx.conf"), DiskFiles())[0]

    made = Proxy(http)
    yield made
    made.close()


@pytest.fixture
def client(door: Proxy) -> Iterator[Client]:
    with door.client() as client:
        yield client


def ask(client: Client, target: str, *lines: str, method: str = "GET") -> Message:
    head = [f"{method} {target} HTTP/1.1", "Host: front.example", *lines, "", ""]
    client.send("\r\n".join(head))
    return client.response(to_head=method == "HEAD")


REDIRECTS = [
    ("/name", "http://front:{port}/x"),
    ("/port", "http://front.example/x"),
    ("/relative", "/x"),
    ("/unescape?to=http%3A%2F%2Fother%2F%3Fa", "http://other/?a"),
    ("/unescape?to=http%3A%2F%2Fother%0D%0AX:y", "http://other%0D%0AX:y"),
]


@pytest.mark.parametrize(("target", "location"), REDIRECTS)
def test_redirects(client: Client, door: Proxy, target: str, location: str) -> None:
    assert ask(client, target).header("Location") == location.format(port=door.port)


BODIES = [
    ("/here", "me"),
    ("/kept?n=1", "11:1:2"),
    ("/by-regex/inner.txt", "inner"),
    ("/nested/data.txt", DATA),
    ("/said", "3072"),
    ("/connection", "1:0:1:0"),
    ("/a#fragment", None),
]


@pytest.mark.parametrize(("target", "body"), BODIES)
def test_bodies(client: Client, target: str, body: str | None) -> None:
    answer = ask(client, target)
    if body is None:
        assert answer.header("X-Uri") is None and answer.status == 404
    else:
        assert (answer.status, answer.body.decode()) == (200, body)


def test_headers_of_a_server_go_with_its_own_return(client: Client) -> None:
    assert ask(client, "/early").header("X-Uri") == "/early"


def test_the_last_date_counts_that_is_not_after_if_modified_since(client: Client) -> None:
    later = "If-Modified-Since: Wed, 08 Jul 2037 22:53:52 GMT"
    assert ask(client, "/before", later).status == 304
    assert ask(client, "/data.txt", later).status == 200


def test_a_file_without_a_tag(client: Client) -> None:
    assert ask(client, "/untagged").header("ETag") is None


def test_several_ranges_are_parts_of_one_answer(client: Client) -> None:
    answer = ask(client, "/two", "Range: bytes=0-3, 9-12, 100000-")
    kind = answer.header("Content-Type") or ""
    boundary = kind.removeprefix("multipart/byteranges; boundary=")
    assert answer.status == 206 and boundary != kind
    parts = answer.body.decode().split(f"--{boundary}")
    assert [part.partition("\r\n\r\n")[2] for part in parts[1:-1]] == ["line\r\n", "line\r\n"]
    assert f"Content-Range: bytes 9-12/{len(DATA)}" in parts[2]
    assert ask(client, "/two", "Range: bytes=0-1,2-3,4-5").status == 200
    assert ask(client, "/none", "Range: bytes=0-1").status == 200


def test_trailers_follow_the_last_chunk(client: Client) -> None:
    client.send("GET /trailer HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    text = client.stream.read().decode()
    assert text.endswith("4\r\nbody\r\n0\r\nX-After: h\r\nX-Sent: h\r\n\r\n")
    assert "Content-Length" not in text


def test_trailers_follow_a_file(client: Client) -> None:
    client.send("GET /trailing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    text = client.stream.read().decode()
    assert text.endswith(f"{len(DATA):x}\r\n{DATA}\r\n0\r\nX-After: end\r\n\r\n")


def test_who_is_kept_and_told(client: Client, door: Proxy) -> None:
    assert ask(client, "/told").header("Keep-Alive") == "timeout=9"
    safari = "User-Agent: Mozilla (Mac OS X) Safari/1"
    assert ask(client, "/safari", safari).header("Connection") == "close"
    with door.client() as other:
        assert ask(other, "/few").header("Connection") == "close"


@pytest.mark.parametrize(("target", "method", "status"), [
    ("/only-file", "GET", 200), ("/only-file", "HEAD", 200), ("/only-file", "DELETE", 403),
])  # fmt: skip
def test_methods_that_are_let_pass(client: Client, target: str, method: str, status: int) -> None:
    assert ask(client, target, method=method).status == status


@pytest.mark.parametrize("name", ["apr1", "sha", "ssha", "plain"])
def test_passwords(client: Client, name: str) -> None:
    def status(password: str) -> int:
        pair = b64encode(f"{name}:{password}".encode()).decode()
        return ask(client, "/auth", f"Authorization: Basic {pair}").status

    assert (status("password"), status("Password")) == (200, 401)


def test_geo_believes_the_proxies_that_it_is_told(client: Client) -> None:
    through = "X-Forwarded-For: 10.1.1.1"
    assert ask(client, "/proxied?ip=192.0.2.7", through).body == b"ten"
    assert ask(client, "/proxied?ip=198.51.100.1", through).body == b"no"


def test_limits_tell_their_verdict_and_log_it(client: Client, root: Path) -> None:
    verdicts = [ask(client, f"/{each}?key=k").header("X-Verdict") for each in
                ("limited", "limited", "dry")]  # fmt: skip
    assert verdicts == ["PASSED", "REJECTED", "REJECTED_DRY_RUN"]
    log = (root / "error.log").read_text()
    assert re.search(r'\[error\] .* limiting requests by zone "slow", client: 127.0.0.1', log)
    assert re.search(r'\[warn\] .* limiting requests, dry run by zone "slow"', log)


def test_what_is_not_found_is_logged_unless_told_not_to(client: Client, root: Path) -> None:
    assert ask(client, "/absent").status == 404
    assert ask(client, "/quiet").status == 404
    log = (root / "error.log").read_text()
    assert f'open() "{root}/absent" failed (2: No such file or directory)' in log.replace("//", "/")
    assert "/quiet" not in log


@pytest.mark.parametrize(("value", "control"), [
    ("1m30s", "max-age=90"), ("-5", "no-cache"), ("epoch", "no-cache"), ("bad", None), ("", None),
])  # fmt: skip
def test_expires_by_a_variable(client: Client, value: str, control: str | None) -> None:
    assert ask(client, f"/expires?e={value}").header("Cache-Control") == control


def test_a_rate_holds_the_answer_back_and_loses_nothing(client: Client) -> None:
    assert ask(client, "/rate").body.decode() == DATA


def test_a_refused_request_has_its_page(client: Client) -> None:
    client.send("GET / HTTP/1.1\r\nHost: a..b\r\n\r\n")
    answer = client.response()
    assert (answer.status, answer.header("Location")) == (302, "http://help/")


ONCE = ["If-Match: a", "If-Range: a", "Expect: a", "Authorization: a", "Content-Range: a"]


@pytest.mark.parametrize("line", ONCE)
def test_headers_that_may_be_there_once(client: Client, line: str) -> None:
    assert ask(client, "/early", line, line).status == 302  # error_page 400


def test_pipelined_requests_are_logged_as_such(client: Client, door: Proxy, root: Path) -> None:
    client.send("GET /early HTTP/1.1\r\nHost: h\r\n\r\n" * 2)
    assert [client.response().status for _ in range(2)] == [204, 204]
    lines = [each for each in (root / "seen.log").read_text().split() if each.startswith("/early")]
    assert lines[-1] == "/early:204:p:OK"


def test_syslog_gets_one_datagram_a_line(proxy, tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(PATIENCE_S)
        where = f"syslog:server=127.0.0.1:{server.getsockname()[1]},tag=edge,facility=user"

        def http(port: int) -> Http:
            text = (
                f"http {{ log_format short $status; server {{ listen 127.0.0.1:{port};"
                f" access_log {where} short; error_log {where},nohostname; root {tmp_path}; }} }}"
            )
            return read_nginx(text, str(tmp_path / "nginx.conf"), DiskFiles())[0]

        with proxy(http).client() as client:
            assert client.get("/absent").status == 404
            error, access = (server.recv(4096).decode() for _ in range(2))
    assert re.match(r"<11>\w{3} [ \d]\d \d\d:\d\d:\d\d edge: .* \[error\] ", error)
    assert re.match(r"<14>\w{3} [ \d]\d \d\d:\d\d:\d\d \S+ edge: 404$", access)


def test_heads_are_held_to_their_servers_own_limits(proxy, tmp_path: Path) -> None:
    def http(port: int) -> Http:
        text = f"""http {{ server {{ listen 127.0.0.1:{port}; merge_slashes off; max_headers 3;
            underscores_in_headers on; large_client_header_buffers 2 200;
            location / {{ return 200 $uri:$http_a_b; }} }} }}"""
        return read_nginx(text, str(tmp_path / "nginx.conf"), DiskFiles())[0]

    door = proxy(http)
    with door.client() as client:
        assert client.get("/a//b", "A_B: c\r\n").body == b"/a//b:c"
    for lines, status in (("A: b\r\n" * 3, 400), (f"A: {'x' * 250}\r\n", 400), ("A: b\r\n", 200)):
        with door.client() as client:
            assert client.get("/", lines).status == status
