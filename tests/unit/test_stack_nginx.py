"""nginx.conf: the classic file, inheritance, and every refusal."""
# ruff: noqa: E501 - golden texts stay on one line

import re
from pathlib import Path

import crossplane.analyzer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stack_files import MemoryFiles

from trimaran.stack.errors import StackError
from trimaran.stack.http import (
    ErrorPage,
    Files,
    Http,
    Limits,
    Listen,
    Location,
    Log,
    Manner,
    Peer,
    ProxyOptions,
    ProxyPass,
    Return,
    Server,
    Upstream,
)
from trimaran.stack.mime_types import BUILT_IN_TYPES
from trimaran.stack.nginx import read_nginx
from trimaran.stack.nginx_directives import NGINX
from trimaran.stack.nginx_values import STREAM_VARIABLES, VARIABLES
from trimaran.stack.report import Note, remarkable, summary

CLASSIC = (
    Path(__file__).parents[2] / "examples" / "seven-nodes" / "classic" / "nginx.conf"
).read_text()


def read(text: str, files: dict[str, str] | None = None) -> tuple[Http, list[Note]]:
    return read_nginx(text, "etc/nginx.conf", MemoryFiles(files or {}))


def server(body: str, http: str = "") -> Server:
    return read(f"http {{ {http} server {{ {body} }} }}")[0].servers[0]


def location(body: str, outer: str = "", http: str = "") -> Location:
    return server(f"{outer} location / {{ {body} }}", http).locations[0]


def problems(text: str, files: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(StackError) as caught:
        read(text, files)
    return [str(problem) for problem in caught.value.problems]


def refusal(body: str) -> list[str]:
    return problems(f"http {{ server {{\n{body}\n}} }}")


USUAL = Manner(keepalive_requests=1000, keepalive_time=3600, keepalive_disable=("msie6",))


def with_manner(location: Location, manner: Manner = USUAL) -> Location:
    return location.model_copy(update={"manner": manner})


def test_the_classic_file_loads_as_it_stands() -> None:
    http, notes = read(CLASSIC)
    kept = USUAL.model_copy(update={"keepalive_timeout": 65.0})
    pages = (ErrorPage(statuses=(500, 502, 503, 504), uri="/50x.html"),)
    assert http == Http(
        servers=(
            Server(
                listen=(Listen(port=80),),
                names=("localhost",),
                locations=(
                    Location(
                        path="/",
                        action=ProxyPass(
                            upstream="webservers",
                            set_headers=(
                                ("Host", "$host"),
                                ("X-Real-IP", "$remote_addr"),
                                ("X-Forwarded-For", "$proxy_add_x_forwarded_for"),
                            ),
                            options=ProxyOptions(
                                request_buffering=True,
                                body_directory="etc/client_body_temp",
                                temp_directory="etc/proxy_temp",
                            ),
                        ),
                        error_pages=pages,
                        manner=kept,
                    ),
                    Location(
                        match="=",
                        path="/50x.html",
                        action=Files(root="etc/html"),
                        error_pages=pages,
                        manner=kept,
                    ),
                ),
                keepalive_timeout=65,
            ),
        ),
        upstreams=(
            Upstream(
                name="webservers",
                peers=(Peer(address="192.168.31.97:80"), Peer(address="192.168.31.86:80")),
            ),
        ),
        types=BUILT_IN_TYPES,
        default_type="application/octet-stream",
        directory="etc/",
    )
    assert summary(notes) == "21 of 23 options honoured, 2 without effect"
    assert [str(note) for note in remarkable(notes)] == [
        "etc/nginx.conf:4:5: worker_connections: no effect: the limit is that of open files",
        "etc/nginx.conf:8:5: include: honoured: there is no 'mime.types': the built-in media types are used",
        "etc/nginx.conf:10:5: sendfile: no effect: tuning that the engine does not need",
    ]


def test_a_mime_types_that_is_there_is_used() -> None:
    http, notes = read(CLASSIC, {"etc/mime.types": "types { text/x a b; text/y c; }"})
    assert http.types == {"a": "text/x", "b": "text/x", "c": "text/y"}
    assert [note.word for note in remarkable(notes)] == ["worker_connections", "sendfile"]


def test_defaults_are_those_of_nginx() -> None:
    http, _ = read("http { server { } }")
    assert http.types == {"html": "text/html", "gif": "image/gif", "jpg": "image/jpeg"}
    assert (http.default_type, http.client_max_body_size, http.workers) == (
        "text/plain",
        1 << 20,
        1,
    )
    assert http.servers == (
        Server(
            locations=(with_manner(Location(path="/", action=Files(root="etc/html"))),),
            listen=(Listen(),),
        ),
    )


def test_headers_are_inherited_only_where_none_is_set() -> None:
    outer = "proxy_set_header A a; proxy_set_header B b;"

    def headers(body: str, outer: str, http: str = "") -> tuple[tuple[str, str], ...]:
        action = location(f"proxy_pass http://10.0.0.1; {body}", outer, http).action
        assert isinstance(action, ProxyPass)
        return action.set_headers

    assert headers("", outer) == (("A", "a"), ("B", "b"))
    assert headers("", "", outer) == (("A", "a"), ("B", "b"))
    assert headers('proxy_set_header C "";', outer) == (("C", ""),)


def test_error_pages_are_inherited_only_where_none_is_set() -> None:
    outer = "error_page 404 =200 /ok; error_page 500 = /other;"
    assert location("", outer).error_pages == (
        ErrorPage(statuses=(404,), uri="/ok", answer=200),
        ErrorPage(statuses=(500,), uri="/other", answer=0),
    )
    assert location("error_page 403 /no;", outer).error_pages == (
        ErrorPage(statuses=(403,), uri="/no"),
    )


@pytest.mark.parametrize(
    ("url", "upstream", "uri", "address"),
    [
        ("http://10.0.0.1", "10.0.0.1", None, "10.0.0.1:80"),
        ("http://10.0.0.1:8080/", "10.0.0.1:8080", "/", "10.0.0.1:8080"),
        ("http://10.0.0.1/a/b?c", "10.0.0.1", "/a/b?c", "10.0.0.1:80"),
        ("http://localhost:81", "localhost:81", None, "localhost:81"),
        ("HTTP://pool/x", "pool", "/x", "10.0.0.9:80"),
    ],
)
def test_proxy_pass(url: str, upstream: str, uri: str | None, address: str) -> None:
    http, _ = read(
        f"http {{ server {{ location / {{ proxy_pass {url}; proxy_read_timeout 1m; }} }}"
        " upstream pool { server 10.0.0.9; } }"
    )
    action = http.servers[0].locations[0].action
    assert isinstance(action, ProxyPass)
    assert (action.upstream, action.uri, action.read_timeout) == (upstream, uri, 60)
    [peers] = [each.peers for each in http.upstreams if each.name == upstream]
    assert peers == (Peer(address=address),)


def test_servers_of_an_upstream() -> None:
    http, notes = read(
        "http { upstream u { server 10.0.0.1 weight=5 max_fails=0 fail_timeout=1m30s; zone u 64k;"
        " server 10.0.0.2:81 backup down; keepalive 8; } server { } }"
    )
    assert http.upstreams == (
        Upstream(
            name="u",
            peers=(
                Peer(address="10.0.0.1:80", weight=5, max_fails=0, fail_timeout=90),
                Peer(address="10.0.0.2:81", backup=True, down=True),
            ),
            keepalive=8,
        ),
    )
    assert [note.word for note in remarkable(notes)] == ["zone"]


def test_locations_and_what_they_do() -> None:
    found = server(
        """
        root /srv; index a.html b.html;
        location = /x { return 204; }
        location ^~ /y/ { return 301 https://$host$request_uri; }
        location =/z { internal; root www; index c; }
        location /w { return "http://other/"; }
        location /v { try_files $uri $uri/ =404; }
        """
    )
    plain = tuple(with_manner(each, Manner()) for each in found.locations)
    assert plain == (
        Location(match="=", path="/x", action=Return(status=204)),
        Location(
            match="^~", path="/y/", action=Return(status=301, text="https://$host$request_uri")
        ),
        Location(match="=", path="/z", internal=True, action=Files(root="etc/www", index=("c",))),
        Location(path="/w", action=Return(status=302, text="http://other/")),
        Location(
            path="/v",
            action=Files(root="/srv", index=("a.html", "b.html")),
            try_files=("$uri", "$uri/", "=404"),
        ),
        Location(path="/", action=Files(root="/srv", index=("a.html", "b.html"))),
    )


def test_a_return_of_the_server_comes_first() -> None:
    text = "http { server { location /a { root x; } return 301 https://$host/; } }"
    http, notes = read(text)
    assert http.servers[0].rewrite == (Return(status=301, text="https://$host/"),)
    assert "location" in [note.word for note in remarkable(notes)]


def test_listen_and_names() -> None:
    found = server(
        "listen 10.0.0.1:81 default_server backlog=9; listen *:82; listen 10.0.0.2; listen [::]:80;"
        ' server_name A.example b.example ""; server_name *.c .d e.*;'
    )
    assert found.listen == (
        Listen(address="10.0.0.1", port=81, default_server=True),
        Listen(port=82),
        Listen(address="10.0.0.2", port=80),
    )
    assert found.names == ("a.example", "b.example", "", "*.c", ".d", "e.*")


def test_the_access_log() -> None:
    assert server("access_log logs/a.log;").access_log == "etc/logs/a.log"
    assert server("access_log off;", "access_log /var/log/a.log;").access_log is None
    assert server("", "access_log /var/log/a.log;").access_log == "/var/log/a.log"
    formatted = server("", "log_format main $uri; access_log /var/log/a.log main if=$args;")
    assert formatted.locations[0].logs == (
        Log(path="/var/log/a.log", format="$uri", condition="$args"),
    )


def test_limits_may_differ_by_server_and_location() -> None:
    body = "server { large_client_header_buffers 8 16k; location /a { send_timeout 30s; } }"
    http, _ = read(f"http {{ {body} server {{ listen 81; merge_slashes off; }} }}")
    first, second = http.servers
    assert first.limits and (first.limits.header_line, first.limits.header_buffers) == (16384, 8)
    assert first.locations[0].send_timeout == 30.0 and second.locations[0].send_timeout is None
    assert second.limits == Limits(merge_slashes=False)


def test_includes_are_taken_from_the_directory_of_the_file() -> None:
    files = {
        "etc/conf.d/b.conf": "server { listen 82; }",
        "etc/conf.d/a.conf": "server { include inner; }",
        "etc/inner": "listen 81;",
    }
    http, _ = read("http { include conf.d/*.conf; include none/*.conf; }", files)
    assert [each.listen[0].port for each in http.servers] == [81, 82]
    files["etc/inner"] = "lissen 81;\nroot /x"
    assert problems("http { include conf.d/*.conf; include gone; }", files) == [
        "etc/inner:2:1: 'root' is not ended by ';'",
        "etc/nginx.conf:1:31: there is no file 'gone'",
    ]
    assert problems("include nginx.conf;", {"etc/nginx.conf": "include nginx.conf;"}) == [
        "etc/nginx.conf:1:1: files included deeper than 16; does one include itself?"
    ]


def test_an_unknown_directive_is_a_warning_with_the_nearest() -> None:
    _, notes = read("http { server { kepalive_timeout 5; } }")
    assert [str(note) for note in remarkable(notes)] == [
        "etc/nginx.conf:1:17: kepalive_timeout: unknown: not known; did you mean 'keepalive_timeout'?"
    ]


REFUSED = [
    ("location / { deny 10.0.0.x; }", "2:14: 'deny' '10.0.0.x' is not a network"),
    ("if (a) { return 403; }", "2:1: 'if' 'a' is not a variable"),
    ("set $host a;", "2:1: 'set' '$host' cannot be changed, for now"),
    ("location / { auth_jwt realm; }", "2:14: 'auth_jwt' is refused (ignoring it could let in whom it shuts out)"),
    ("location x { }", "2:1: 'location' 'x' does not start with '/'"),
    ("location /a { } location /a { }", "2:17: 'location' '/a' is there already"),
    ("ssl_certificate a;", "2:1: 'ssl_certificate' is refused (not supported yet: what is to be encrypted would be in clear)"),
    ("listen 443 ssl;", "2:1: 'listen' 'ssl' is not supported yet"),
    ("listen [::]:80;", "1:8: 'server' listens on no IPv4 address"),
    ("listen 0;", "2:1: 'listen' takes a number from 1 to 65535, not 0"),
    ("listen host:80;", "2:1: 'listen' 'host' is not an IPv4 address (names are not looked up yet)"),
    ("server_name a.*.b;", "2:1: 'server_name' 'a.*.b': a wildcard is the first or the last part of a name"),
    ("location / { proxy_pass https://a; }", "2:14: 'proxy_pass' 'https://a' is not supported yet (only http:// upstreams are spoken to)"),
    ("location / { proxy_pass http://-name; }", "2:14: 'proxy_pass' '-name' is neither an address nor a host's name"),
    ("location / { proxy_pass http://a; proxy_set_header H $hosst; }", f"2:35: 'proxy_set_header' the variable '$hosst' is not known (did you mean 'host'? allowed: {', '.join(sorted(VARIABLES))})"),
    ("location / { proxy_pass http://a; proxy_set_header H: x; }", "2:35: 'proxy_set_header' 'H:' is not a header's name"),
    ("return 200 $;", f"2:1: 'return' the variable '$' is not known (allowed: {', '.join(sorted(VARIABLES))})"),
    ("location / { fastcgi_pass a; }", "2:14: 'fastcgi_pass' is refused (not supported yet: this location would answer with files)"),
    ("proxy_pass http://10.0.0.1;", "2:1: 'proxy_pass' does not belong here; it belongs into location, if, limit_except"),
    ("error_page 200 /x;", "2:1: 'error_page' takes a number from 300 to 599, not 200"),
    ("return 100;", "2:1: 'return' 100 is no final status"),
    ("root a; root b;", "2:9: 'root' is there already, in line 2"),
    ("keepalive_timeout soon;", "2:1: 'keepalive_timeout' 'soon' is not a time (write it like 60s, 500ms or 1m30s)"),
    ("client_max_body_size big;", "2:1: 'client_max_body_size' 'big' is not a size (write it like 8k or 1m)"),
    ("listen;", "2:1: 'listen' takes at least 1 argument, not 0"),
    ("root;", "2:1: 'root' takes 1 argument, not 0"),
    ("location /;", "2:1: 'location' opens a block: '{' is missing"),
    ("root a { }", "2:1: 'root' has no block"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), REFUSED, ids=[body for body, _ in REFUSED])
def test_what_cannot_be_obeyed_is_refused(body: str, expected: str) -> None:
    assert refusal(body) == [f"etc/nginx.conf:{expected}"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("server 10.0.0.1 speed=3s;", "3: 'server' 'speed=3s' is not supported yet"),
        ("server 10.0.0.1 weight=0;", "3: 'server' takes a number from 1 to 65535, not 0"),
        ("server we/b;", "3: 'server' 'we/b' is neither an address nor a host's name"),
        ("server unix:x;", "3: 'server' 'unix:x' names no socket "
             "(write unix: and an absolute path)"),
        ("", "1: 'upstream' u has no server"),
    ],
)  # fmt: skip
def test_what_cannot_be_obeyed_in_an_upstream_is_refused(body: str, expected: str) -> None:
    column = "2:1" if expected.startswith("3") else "1:8"
    text = f"http {{ upstream u {{\n{body} }} server {{ }} }}"
    assert problems(text) == [f"etc/nginx.conf:{column}{expected[1:]}"]


def test_what_is_done_anyway_or_without_effect() -> None:
    body = "proxy_redirect off; proxy_next_upstream timeout error; autoindex on; proxy_http_version 1.1;"
    notes = read(f"http {{ server {{ location / {{ {body} }} }} }}")[1]
    assert [(note.word, note.status) for note in remarkable(notes)] == [
        ("autoindex", "no effect"),
    ]


def test_the_variables_are_those_of_the_engine() -> None:
    source = (
        Path(__file__).parents[2] / "rust" / "proxy" / "src" / "vars" / "names.rs"
    ).read_text()
    named = source[source.index("fn named(") :].split("_ =>")[0]
    assert set(re.findall(r'\(\s*"(\w+)",\s*Variable', source)) == VARIABLES | STREAM_VARIABLES
    assert {"http_", "arg_", "cookie_"} <= set(re.findall(r'rest\("(\w+_)"', named))


CONTEXTS = {
    "the top level": crossplane.analyzer.NGX_MAIN_CONF,
    "http": crossplane.analyzer.NGX_HTTP_MAIN_CONF,
    "server": crossplane.analyzer.NGX_HTTP_SRV_CONF,
    "location": crossplane.analyzer.NGX_HTTP_LOC_CONF,
    "upstream": crossplane.analyzer.NGX_HTTP_UPS_CONF,
}


@pytest.mark.parametrize(("context", "bit"), CONTEXTS.items(), ids=CONTEXTS)
def test_the_table_knows_every_directive_that_crossplane_knows(context: str, bit: int) -> None:
    known = {
        name
        for name, masks in crossplane.analyzer.DIRECTIVES.items()
        if any(mask & bit for mask in masks)
    }
    assert len(known) > 10
    assert known - set(NGINX[context]) - {"include"} == set()


WORDS = sorted({name for names in NGINX.values() for name in names})
PIECES = st.sampled_from(
    [*WORDS, "{", "}", ";", "http {", "server {", "location / {", "10.0.0.1", "80", "$a", "'"]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=40).map(" ".join) | st.text(max_size=80))
def test_any_text_is_http_or_a_stack_error(text: str) -> None:
    try:
        read(text)
    except StackError as error:
        assert error.problems


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_file_is_http_or_a_stack_error(data: st.DataObject) -> None:
    lines = CLASSIC.split("\n")
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, len(lines) - 1))
        word = data.draw(st.sampled_from(WORDS))
        value = data.draw(st.sampled_from(["", " x", " 1 2", " http://a", " 10.0.0.1:80 down"]))
        lines[where] = data.draw(st.sampled_from(["", "}", *lines, f"{word}{value};"]))
    try:
        read("\n".join(lines))
    except StackError as error:
        assert all(problem.place.line <= len(lines) + 1 for problem in error.problems)
