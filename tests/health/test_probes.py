"""Every kind of probe against a real server of its protocol on loopback, and hostile ones."""
# ruff: noqa: E501 - golden texts stay on one line

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path

import dns.message
import dns.rcode
import pytest
from asking import asked, check, one
from servers import (
    Talk,
    answering,
    closing,
    dripping,
    endless,
    free_port,
    resetting,
    saying,
    serving,
    silent,
)

from lan import inside, ip, wait_until
from trimaran.health.settings import (
    DnsProbe,
    FileProbe,
    PingProbe,
    Probe,
    ScriptProbe,
    SmtpProbe,
    TcpProbe,
    UdpProbe,
)
from trimaran.health.verdict import Outcome

GOOD = Outcome()

# TCP


def test_tcp() -> None:
    assert asked(serving(silent), TcpProbe()) == GOOD
    assert asked(free_port(), TcpProbe()) == "connection refused"


def test_tcp_ends_in_order_not_by_a_reset() -> None:
    async def dialogue() -> bytes:
        heard: asyncio.Queue[bytes] = asyncio.Queue()

        async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.put_nowait(await reader.read())

        async with serving(note) as port:
            assert await one(check(port)) == GOOD
            return await asyncio.wait_for(heard.get(), 20)

    assert asyncio.run(dialogue()) == b"", "an RST would have raised"


def test_tcp_to_somebody_whose_queue_is_full() -> None:
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for each in (first, second):
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        assert asked(port, TcpProbe(), 0.3) == "no answer within 0.3 s"


def test_a_probe_comes_from_where_it_is_told() -> None:
    peers: list[tuple[str, int]] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer.get_extra_info("peername"))

    port = free_port()
    source = IPv4Address("127.0.0.9")
    assert asked(serving(note), source=source, source_port=port, interface="lo") == GOOD
    assert peers == [("127.0.0.9", port)]
    assert asked(serving(note), interface="nothing0") == "no such device"
    assert "assign requested address" in str(asked(serving(note), source=IPv4Address("192.0.2.9")))


@pytest.mark.skipif(os.geteuid() != 0, reason="a mark needs root")
def test_a_probe_bears_its_mark() -> None:
    """The mark chooses a route that leads nowhere."""
    namespace = f"trimaran-test-{os.getpid()}-mark"
    ip("netns", "add", namespace)
    try:
        ip("-n", namespace, "link", "set", "lo", "up")
        ip("-n", namespace, "rule", "add", "pref", "1", "fwmark", "7", "prohibit")
        ip("-n", namespace, "rule", "add", "pref", "2", "lookup", "local")
        ip("-n", namespace, "rule", "del", "pref", "0")
        with inside(namespace):
            assert asked(serving(silent)) == GOOD
            assert asked(serving(silent), mark=8) == GOOD
            assert asked(serving(silent), mark=7) == "permission denied"
    finally:
        ip("netns", "del", namespace)


# scripts


def script(tmp_path: Path, text: str) -> str:
    place = tmp_path / "check"
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(0o755)
    return str(place)


@pytest.mark.parametrize(
    ("text", "dynamic", "expected"),
    [
        ("exit 0", False, GOOD),
        ("exit 1", False, "exit status 1"),
        ("exit 7", False, "exit status 7"),
        ("exit 1", True, "exit status 1"),
        ("exit 7", True, Outcome(weight=5)),
        ("exit 255", True, Outcome(weight=253)),
        ("kill -KILL $$", True, "ended by SIGKILL"),
        ("yes; exit 0", False, GOOD),
    ],
)
def test_scripts(tmp_path: Path, text: str, dynamic: bool, expected: object) -> None:
    command = script(tmp_path, text.replace("yes;", "head -c 10000000 /dev/zero;"))
    assert asked(1, ScriptProbe(command, None, dynamic)) == expected


def test_a_script_has_its_words_and_a_clean_environment(tmp_path: Path) -> None:
    command = script(tmp_path, '[ "$2" = "b c" ] && [ -z "$HOME" ] && [ "$PWD" = / ]')
    assert asked(1, ScriptProbe(f"{command} a 'b c'")) == GOOD


@pytest.mark.parametrize("shield", ["", "trap '' TERM"])
def test_a_script_that_hangs_ends_with_its_process_group(tmp_path: Path, shield: str) -> None:
    pids = tmp_path / "pids"
    command = script(
        tmp_path, f"{shield}\nsleep 60 &\necho $$ $! >{pids}.new; mv {pids}.new {pids}\nwait; wait"
    )
    assert asked(1, ScriptProbe(command), 5.0) == "no answer within 5 s"
    # A kill is a request: the kernel may end the second of them after the first was waited for.
    for pid in pids.read_text().split():
        wait_until(f"the end of {pid}", lambda pid=int(pid): not runs(pid))


def patience_s(expected: object, silence_s: float) -> float:
    """Short where silence is what is expected; an answer may take its time."""
    return silence_s if str(expected).startswith("no answer") else 20.0


def runs(pid: int) -> bool:
    """It is there, and no corpse that waits for init."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_script_that_cannot_run_says_why(tmp_path: Path) -> None:
    place = tmp_path / "text"
    place.write_text("no program")
    assert asked(1, ScriptProbe("/nonexistent x")) == (
        "cannot run '/nonexistent': no such file or directory"
    )
    assert asked(1, ScriptProbe(str(place))) == f"cannot run '{place}': permission denied"
    assert "No closing quotation" in str(asked(1, ScriptProbe("a 'b")))
    assert "nobody-here" in str(asked(1, ScriptProbe("/bin/true", "nobody-here")))


@pytest.mark.skipif(os.geteuid() != 0, reason="another user needs root")
def test_a_script_runs_as_its_user() -> None:
    command = """/bin/sh -c '[ "$(id -un):$(id -gn):$(id -G)" = "nobody:daemon:1" ]'"""
    assert asked(1, ScriptProbe(command, "nobody:daemon")) == GOOD
    assert asked(1, ScriptProbe(command)) == "exit status 1"


# ping


@pytest.fixture
def lonely() -> Iterator[str]:
    """A namespace with nobody but itself."""
    name = f"trimaran-test-{os.getpid()}-ping"
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        ip("netns", "del", name)


@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace needs root")
def test_ping(lonely: str) -> None:
    with inside(lonely):
        assert asked(0, PingProbe()) == GOOD
        nowhere = IPv4Address("192.0.2.1")
        assert asked(0, PingProbe(), address=nowhere) == "network is unreachable"
        Path("/proc/sys/net/ipv4/icmp_echo_ignore_all").write_text("1")
        assert asked(0, PingProbe(), 0.3) == "no answer within 0.3 s"


@pytest.mark.skipif(os.geteuid() != 0, reason="a namespace needs root")
def test_many_pings_at_once_get_each_its_own_answer(lonely: str) -> None:
    async def all_of_them() -> list[Outcome | str]:
        return await asyncio.gather(*(one(check(0, PingProbe())) for _ in range(100)))

    with inside(lonely):
        assert asyncio.run(all_of_them()) == [GOOD] * 100


# UDP


def udp(*replies: bytes) -> Callable[[bytes], list[bytes]]:
    return lambda _data: list(replies)


@pytest.mark.parametrize(
    ("probe", "replies", "expected"),
    [
        (UdpProbe(), [], GOOD),
        (UdpProbe(), [b"x" * 1000], GOOD),
        (UdpProbe(require_reply=True), [b"x"], GOOD),
        (UdpProbe(require_reply=True), [], "no answer within 0.3 s"),
        (UdpProbe(require_reply=True, min_length=2), [b"x"], "the reply has 1 bytes, not 2 to 255"),
        (UdpProbe(require_reply=True), [b"x" * 256], "the reply has 256 bytes, not 0 to 255"),
        (UdpProbe(require_reply=True, reply="78x9"), [b"xy..."], GOOD),
        (
            UdpProbe(require_reply=True, reply="787a"),
            [b"xy"],
            "the reply differs at byte 1: '7879'",
        ),
        (UdpProbe(require_reply=True, reply="7878"), [b"x"], GOOD),
    ],
)
def test_udp(probe: UdpProbe, replies: list[bytes], expected: object) -> None:
    assert asked(answering(udp(*replies)), probe, 20.0 if replies else 0.3) == expected


def test_udp_sends_its_payload_and_hears_of_a_closed_port() -> None:
    heard: list[bytes] = []

    def note(data: bytes) -> list[bytes]:
        heard.append(data)
        return [b"ok"]

    assert asked(answering(note), UdpProbe(payload="00ff", require_reply=True)) == GOOD
    assert heard == [b"\x00\xff"]
    assert asked(free_port(socket.SOCK_DGRAM), UdpProbe()) == "connection refused"


# DNS


def name_server(rcode: dns.rcode.Rcode) -> Callable[[bytes], list[bytes]]:
    def answer(data: bytes) -> list[bytes]:
        reply = dns.message.make_response(dns.message.from_wire(data))
        reply.set_rcode(rcode)
        return [reply.to_wire()]

    return answer


def liar(data: bytes) -> list[bytes]:
    """Garbage, the question itself, answers to other questions; never the answer."""
    asked_for = dns.message.from_wire(data)
    other = dns.message.make_query("other.example", "A", id=asked_for.id)
    late = dns.message.make_response(asked_for)
    late.id ^= 1
    return [b"", b"\xff" * 12, data, dns.message.make_response(other).to_wire(), late.to_wire()]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (name_server(dns.rcode.NOERROR), GOOD),
        (name_server(dns.rcode.SERVFAIL), "the answer is SERVFAIL"),
        (name_server(dns.rcode.REFUSED), "the answer is REFUSED"),
        (udp(), "no answer within 0.3 s"),
        (liar, "no answer within 0.3 s"),
        (lambda data: [*liar(data), *name_server(dns.rcode.NOERROR)(data)], GOOD),
    ],
)
def test_dns(answer: Callable[[bytes], list[bytes]], expected: object) -> None:
    assert (
        asked(answering(answer), DnsProbe("AAAA", "www.example"), patience_s(expected, 0.3))
        == expected
    )


def test_dns_where_nobody_listens() -> None:
    assert asked(free_port(socket.SOCK_DGRAM), DnsProbe()) == "connection refused"


# SMTP


def mail_server(*lines: str) -> Talk:
    """Greets with the first line, and answers each command with the next."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{lines[0]}\r\n".encode())
        for line in lines[1:]:
            if not await reader.readline():
                return
            writer.write(f"{line}\r\n".encode())

    return talk


@pytest.mark.parametrize(
    ("talk", "expected"),
    [
        (mail_server("220 hello", "250 pleased", "221 bye"), GOOD),
        (mail_server("220-hel\r\n220 lo", "250-a\r\n250 b", "221 bye"), GOOD),
        (mail_server("554 go away"), "greeting: 220 was wanted, not '554 go away'"),
        (mail_server("220 hello", "550 no"), "after HELO: 250 was wanted, not '550 no'"),
        (mail_server("220 hello", "250 a", "500 what"), "after QUIT: 221 was wanted, not '500 what'"),
        (mail_server("220 hello"), "the connection ended within the dialogue"),
        (saying(b""), "no answer within 0.4 s"),
        (silent, "no answer within 0.4 s"),
        (closing, "no answer within 0.4 s"),
        (dripping(b"220-x\r\n"), "no answer within 0.4 s"),
        (endless(b"220-", b"x" * 1000), "a reply of more than 4096 bytes"),
        (saying(b"HTTP/1.1 400 Bad\r\n"), "no answer within 0.4 s"),
    ],
)  # fmt: skip
def test_smtp(talk: Talk, expected: object) -> None:
    assert asked(serving(talk), SmtpProbe("me.example"), patience_s(expected, 0.4)) == expected


# files


@pytest.mark.parametrize(
    ("text", "weight", "expected"),
    [
        ("0\n", None, GOOD),
        ("1", None, "'FILE' holds 1, not 0"),
        (" 12 words", 2, Outcome(change=24)),
        ("-3", 5, Outcome(change=-15)),
        ("-254", 1, "'FILE' holds -254: -254 is below -253"),
        ("", None, "'FILE' holds no number: ''"),
        ("well", None, "'FILE' holds no number: 'well'"),
        ("\xff\x00", None, "'FILE' holds no number: "),
        ("1" * 5000, 1, "'FILE' holds no number: '11111111111111111111'"),
    ],
)
def test_files(tmp_path: Path, text: str, weight: int | None, expected: object) -> None:
    place = tmp_path / "number"
    place.write_text(text, encoding="latin-1")
    said = asked(1, FileProbe(str(place), weight))
    if isinstance(expected, str):
        assert str(said).startswith(expected.replace("FILE", str(place)))
    else:
        assert said == expected


def test_a_file_that_is_none(tmp_path: Path) -> None:
    assert asked(1, FileProbe(f"{tmp_path}/none")) == "no such file or directory"
    assert asked(1, FileProbe(str(tmp_path))) == "is a directory"
    os.mkfifo(tmp_path / "pipe")
    assert "holds no number" in str(asked(1, FileProbe(f"{tmp_path}/pipe")))


# all of them


@pytest.mark.parametrize("probe", [SmtpProbe(), TcpProbe(), UdpProbe(), DnsProbe()])
def test_no_probe_leaves_a_descriptor_or_outlives_a_reset(probe: Probe) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for talk in (resetting, closing, silent):
        asked(serving(talk), probe, 0.2)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
