"""auth_request and mirror: requests that a request makes."""

from http_wire import OK, Message, dead_address, nginx_conf


def guard(request: Message) -> bytes:
    token = request.header("Authorization") or ""
    if token == "good":
        return b"HTTP/1.1 204 Fine\r\nX-User: somebody\r\n\r\n"
    if token == "known":
        return b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"
    if token == "broken":
        return b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"
    return b'HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 2\r\n\r\nno'


def guarded(guard_address: str, peer: str, more: str = ""):
    return nginx_conf(f"""server {{ listen 127.0.0.1:PORT; auth_request /leave;
        auth_request_set $who $upstream_http_x_user;
        location / {{ proxy_pass http://{peer}; proxy_set_header X-User $who; {more} }}
        location /head {{ proxy_pass http://{peer}; add_header X-Who $who; }}
        location /open {{ auth_request off; proxy_pass http://{peer}; }}
        location = /leave {{ internal; proxy_pass http://{guard_address}/check;
            proxy_pass_request_body off; proxy_set_header Content-Length "";
            proxy_set_header X-Original $request_uri; }} }}""")


def test_leave_is_asked_before_anything_is_done(backend, proxy):
    asked, peer = backend(guard), backend()
    served = proxy(guarded(asked.address, peer.address))
    with served.client() as client:
        assert client.get("/a?b=c", "Authorization: good\r\n").body == b"ok"
        assert peer.requests[0].header("X-User") == "somebody"
        assert asked.requests[0].start == "GET /check HTTP/1.1"
        assert asked.requests[0].header("X-Original") == "/a?b=c"
        assert client.get("/head", "Authorization: good\r\n").header("X-Who") == "somebody"
        refused = client.get("/a")
        assert (refused.status, refused.header("WWW-Authenticate")) == (401, 'Basic realm="x"')
        assert client.get("/a", "Authorization: known\r\n").status == 403
        assert client.get("/a", "Authorization: broken\r\n").status == 500
        assert client.get("/leave").status == 404
        assert len(peer.requests) == 2
        assert client.get("/open").body == b"ok"


def test_a_body_waits_for_the_leave(backend, proxy):
    asked, peer = backend(guard), backend()
    with proxy(guarded(asked.address, peer.address)).client() as client:
        head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nAuthorization: good\r\n\r\n"
        client.send(head)
        client.send("hello")
        assert client.response().body == b"ok"
        assert (peer.requests[0].body, asked.requests[0].body) == (b"hello", b"")
        client.send(head.replace("good", "bad") + "hello")
        assert client.response().status == 401


def test_whoever_cannot_be_asked_gives_no_leave(backend, proxy):
    holder, dead = dead_address()
    peer = backend()
    with holder, proxy(guarded(dead, peer.address)).client() as client:
        assert client.get("/a", "Authorization: good\r\n").status == 500
    assert not peer.requests


def test_either_address_or_leave(backend, proxy):
    asked, peer = backend(guard), backend()
    served = proxy(guarded(asked.address, peer.address, "satisfy any; deny all;"))
    with served.client() as client:
        assert client.get("/", "Authorization: good\r\n").status == 200
        assert client.get("/").status == 401
    allowed = proxy(guarded(asked.address, peer.address, "satisfy any; allow all;"))
    with allowed.client() as client:
        assert client.get("/").status == 200


def test_copies_go_where_the_location_says(backend, proxy, eventually):
    copy, peer = backend(lambda request: OK * 1), backend()
    text = f"""server {{ listen 127.0.0.1:PORT;
        location / {{ mirror /copy; proxy_pass http://{peer.address}; }}
        location /bare {{ mirror /copy; mirror_request_body off;
                          proxy_pass http://{peer.address}; }}
        location /copy {{ internal; proxy_pass http://{copy.address}$request_uri; }} }}"""
    with proxy(nginx_conf(text)).client() as client:
        for path in ("/a?b=c", "/bare"):
            client.send(f"PUT {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            assert client.response().body == b"ok"
            eventually(lambda: len(copy.requests) == len(peer.requests))
    seen = [(each.start, each.body) for each in copy.requests]
    assert seen == [("PUT /a?b=c HTTP/1.1", b"hello"), ("PUT /bare HTTP/1.1", b"")]
    assert [each.body for each in peer.requests] == [b"hello", b"hello"]


def test_a_copy_that_fails_or_never_ends_harms_nobody(backend, proxy):
    holder, dead = dead_address()
    peer, mute = backend(), backend(lambda request: b"HTTP/1.1 200 OK\r\n")
    text = f"""server {{ listen 127.0.0.1:PORT;
        location / {{ mirror /dead; mirror /mute; mirror /nowhere;
                      proxy_pass http://{peer.address}; }}
        location /dead {{ proxy_pass http://{dead}; }}
        location /mute {{ proxy_pass http://{mute.address}; }} }}"""
    with holder, proxy(nginx_conf(text)).client() as client:
        for _ in range(5):
            assert client.get().body == b"ok"
