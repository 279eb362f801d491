"""Static files, returns, and which server and location answer."""

import os

import pytest
from http_wire import Client

from trimaran.stack.http import Files, Http, Listen, Location, Return, Server
from trimaran.system.engine import EngineError

CONTENT = bytes(range(256)) * 1000


@pytest.fixture
def site(proxy, tmp_path):
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "index.html").write_text("<p>front</p>")
    (root / "sub" / "index.html").write_text("<p>sub</p>")
    (root / "data.bin").write_bytes(CONTENT)
    (root / "a b%.txt").write_text("odd name")
    (root / "none").write_bytes(b"")
    (tmp_path / "secret").write_text("secret")
    (root / "way-out").symlink_to(tmp_path / "secret")
    (root / "inside").symlink_to("data.bin")
    os.utime(root / "data.bin", (1_700_000_000, 1_700_000_000))

    def make(port: int) -> Http:
        listen = (Listen(address="127.0.0.1", port=port),)
        location = Location(path="/", action=Files(root=str(root)))
        return Http(servers=(Server(listen=listen, locations=(location,)),))

    with proxy(make).client() as client:
        yield client


def test_a_file_with_its_type_date_and_tag(site: Client):
    answer = site.get("/")
    assert answer.body == b"<p>front</p>"
    assert answer.header("Content-Type") == "text/html"
    answer = site.get("/data.bin")
    assert answer.body == CONTENT
    assert answer.header("Content-Type") == "application/octet-stream"
    assert answer.header("Last-Modified") == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert answer.header("ETag") == f'"{1_700_000_000:x}-{len(CONTENT):x}"'
    assert answer.header("Accept-Ranges") == "bytes"


def test_head_has_the_same_head(site: Client):
    assert site.get("/data.bin", method="HEAD").header("Content-Length") == str(len(CONTENT))
    assert site.get("/none").body == b""


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/a%20b%25.txt", 200),
        ("/sub/", 200),
        ("/sub", 301),
        ("/empty/", 403),
        ("/absent", 404),
        ("/absent/", 404),
        ("/data.bin/", 404),
        ("/inside", 200),
        ("/way-out", 403),
        ("/sub/../data.bin", 200),
        ("/sub/%2e%2e/%2e%2e/secret", 400),
        ("/..%2fsecret", 400),
        ("/.%2e/secret", 400),
        ("/%5c..%5csecret", 404),
    ],
)
def test_paths(site: Client, path, status):
    answer = site.get(path)
    assert answer.status == status
    assert b"secret" not in answer.body
    if status == 301:
        assert (answer.header("Location") or "").endswith("/sub/")


def test_other_methods_are_405(site: Client):
    answer = site.get("/", method="DELETE")
    assert (answer.status, answer.header("Allow")) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("bytes=0-0", CONTENT[:1]),
        ("bytes=5-9", CONTENT[5:10]),
        ("bytes=255990-", CONTENT[255990:]),
        ("bytes=-10", CONTENT[-10:]),
        ("bytes=-999999999", CONTENT),
        ("bytes=10-999999999", CONTENT[10:]),
    ],
)
def test_ranges(site: Client, value, part):
    answer = site.get("/data.bin", f"Range: {value}\r\n")
    assert (answer.status, answer.body) == (206, part)
    first = len(CONTENT) - len(part) if not value.startswith("bytes=0-0") else 0
    if value == "bytes=5-9":
        first = 5
    expected = f"bytes {first}-{first + len(part) - 1}/{len(CONTENT)}"
    assert answer.header("Content-Range") == expected


@pytest.mark.parametrize("value", ["bytes=256000-", "bytes=9-5", "bytes=-0", "bytes=x-", "bytes="])
def test_ranges_that_are_not_there(site: Client, value):
    answer = site.get("/data.bin", f"Range: {value}\r\n")
    assert (answer.status, answer.header("Content-Range")) == (416, f"bytes */{len(CONTENT)}")


@pytest.mark.parametrize("value", ["items=0-1", "bytes=0-,0-1"])
def test_other_ranges_get_the_whole(site: Client, value):
    answer = site.get("/data.bin", f"Range: {value}\r\n")
    assert (answer.status, answer.body) == (200, CONTENT)


DATE, LATER = "Tue, 14 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 2023 22:13:21 GMT"
EARLIER = "Tue, 14 Nov 2023 22:13:19 GMT"
TAG = f'"{1_700_000_000:x}-{len(CONTENT):x}"'


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (f"If-Modified-Since: {DATE}", 304),
        (f"If-Modified-Since: {EARLIER}", 200),
        ("If-Modified-Since: nonsense", 200),
        (f"If-None-Match: {TAG}", 304),
        (f'If-None-Match: "x", W/{TAG}', 304),
        ("If-None-Match: *", 304),
        ('If-None-Match: "x"', 200),
        (f'If-None-Match: "x"\r\nIf-Modified-Since: {DATE}', 200),
        (f"If-Match: {TAG}", 200),
        ('If-Match: "x"', 412),
        (f"If-Match: W/{TAG}", 412),
        (f"If-Unmodified-Since: {EARLIER}", 412),
        (f"If-Unmodified-Since: {LATER}", 200),
        (f"Range: bytes=0-1\r\nIf-Range: {TAG}", 206),
        ('Range: bytes=0-1\r\nIf-Range: "x"', 200),
        (f"Range: bytes=0-1\r\nIf-Range: {DATE}", 206),
        (f"Range: bytes=0-1\r\nIf-Range: {LATER}", 200),
    ],
)
def test_conditions(site: Client, headers, status):
    answer = site.get("/data.bin", f"{headers}\r\n")
    assert answer.status == status
    if status == 304:
        assert answer.header("ETag") == TAG
        assert answer.body == b""


def words(port: int) -> Http:
    def say(text: str) -> Return:
        return Return(status=200, text=text)

    def server(text: str, *names: str, default: bool = False) -> Server:
        listen = (Listen(address="127.0.0.1", port=port, default_server=default),)
        locations = (
            Location(path="/", action=say(f"{text} /")),
            Location(match="=", path="/exact", action=say(f"{text} =/exact")),
            Location(path="/long", action=say(f"{text} /long")),
            Location(match="^~", path="/long/er", action=say(f"{text} /long/er")),
            Location(path="/go", action=Return(status=302, text="/there$is_args$args")),
            Location(path="/away", action=Return(status=301, text="https://$host$request_uri")),
            Location(path="/teapot", action=Return(status=404)),
        )
        return Server(listen=listen, names=names, locations=locations)

    return Http(
        servers=(
            server("first", "a.example"),
            server("second", "b.example", "*.wild.example", ".dot.example", default=True),
            server("third", "*.deep.wild.example", "www.tail.*"),
        ),
        default_type="text/plain",
    )


@pytest.mark.parametrize(
    ("host", "server"),
    [
        ("a.example", "first"),
        ("A.EXAMPLE:80", "first"),
        ("a.example.", "first"),
        ("b.example", "second"),
        ("x.wild.example", "second"),
        ("wild.example", "second"),
        ("x.y.wild.example", "second"),
        ("x.deep.wild.example", "third"),
        ("dot.example", "second"),
        ("x.dot.example", "second"),
        ("www.tail.org", "third"),
        ("unknown", "second"),
    ],
)
def test_servers_by_host(proxy, host, server):
    with proxy(words).client() as client:
        client.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
        assert client.response().body.decode() == f"{server} /"


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/", "/"),
        ("/exact", "=/exact"),
        ("/exact/", "/"),
        ("/exact?a=b", "=/exact"),
        ("/longest", "/long"),
        ("/long/er/x", "/long/er"),
        ("/x/../%65xact", "=/exact"),
    ],
)
def test_locations_by_path(proxy, path, location):
    with proxy(words).client() as client:
        assert client.get(path).body.decode() == f"second {location}"


def test_returns(proxy):
    door = proxy(words)
    with door.client() as client:
        answer = client.get("/go?a=b")
        assert answer.header("Location") == f"http://test:{door.port}/there?a=b"
        assert client.get("/away?x").header("Location") == "https://test/away?x"
        answer = client.get("/teapot")
        assert answer.status == 404 and b"404 Not Found" in answer.body


def test_an_unknown_variable_is_refused(proxy):
    def make(port: int) -> Http:
        location = Location(path="/", action=Return(status=200, text="$nonsense"))
        listen = (Listen(address="127.0.0.1", port=port),)
        return Http(servers=(Server(listen=listen, locations=(location,)),))

    with pytest.raises(EngineError, match=r"unknown variable '\$nonsense'"):
        proxy(make)
