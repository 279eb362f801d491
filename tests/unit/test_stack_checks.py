"""Checks as people write them: keepalived.conf's checkers, stack.yaml's, and what cannot work."""
# ruff: noqa: E501 - golden texts stay on one line

from ipaddress import IPv4Address
from pathlib import Path, PurePath

import pytest
from stack_files import MemoryFiles

from trimaran.director.settings import DirectorSettings
from trimaran.node.plain import from_plain, to_plain
from trimaran.node.plan import plan
from trimaran.stack.checks import (
    KINDS,
    Check,
    DnsProbe,
    FileProbe,
    HttpProbe,
    PingProbe,
    Regex,
    Script,
    ScriptProbe,
    SmtpProbe,
    TcpProbe,
    Tls,
    UdpProbe,
    parse_hex,
)
from trimaran.stack.errors import StackError
from trimaran.stack.keepalived import read_keepalived
from trimaran.stack.model import Stack, VirtualService
from trimaran.stack.report import remarkable
from trimaran.stack.resolve import checks_of
from trimaran.stack.yaml import read_stack
from trimaran.system.files import DiskFiles

CONF = """virtual_server 10.0.0.1 80 {
    lb_kind DR
    lb_algo wrr
    SERVICE
    real_server 10.0.0.2 80 {
        REAL
        CHECK
    }
}
"""
YAML = """
nodes:
  d: {address: 10.0.0.9}
  r: {address: 10.0.0.2}
virtual_routers:
  front: {router_id: 1, addresses: [10.0.0.1], members: {d: 100}}
virtual_services:
  web:
    listen: front:80
    real_servers: {r: {}}
    REST
"""


def conf(check: str, real: str = "", service: str = "", top: str = "") -> str:
    text = CONF.replace("SERVICE", service).replace("REAL", real).replace("CHECK", check)
    return top + text


def service(text: str) -> VirtualService:
    return next(iter(read_keepalived(text, "k.conf")[0].virtual_services.values()))


def checks(text: str) -> list[Check]:
    found = service(text)
    (real,) = found.real_servers.values()
    return list(checks_of(found, real).values())


def check(text: str) -> Check:
    (only,) = checks(text)
    return only


def problems(text: str) -> list[str]:
    with pytest.raises(StackError) as caught:
        read_keepalived(text, "k.conf")
    return [str(problem) for problem in caught.value.problems]


PROGRAMS = MemoryFiles({"/bin/true": "", "/bin/false": ""})


def yaml(rest: str) -> Stack:
    return read_stack(YAML.replace("REST", rest), "s.yaml", PROGRAMS)[0]


def yaml_problems(rest: str) -> list[str]:
    with pytest.raises(StackError) as caught:
        yaml(rest)
    return [str(problem) for problem in caught.value.problems]


URLS = """HTTP_GET {
            url {
                path /health?x=1
                status_code 200-204 301
                digest 9b3a0c85a887a256d6939da88aabd8cd
                virtualhost own.example
            }
            url {
                path /
                regex "all (is|was) well"
                regex_options caseless dotall no_auto_capture
                regex_no_match
                regex_min_offset 10
                regex_max_offset 90
            }
            http_protocol 1.0c
            fast_recovery
            connect_port 8080
        }"""


def test_http_get_is_a_check_for_each_url() -> None:
    first, second = checks(conf(URLS, service="virtualhost www.example"))
    assert first.http == HttpProbe(
        path="/health?x=1", version="1.0C", host="own.example", port=8080,
        status=((200, 204), (301, 301)), digest="9b3a0c85a887a256d6939da88aabd8cd",
    )  # fmt: skip
    assert second.http == HttpProbe(
        version="1.0C", host="www.example", port=8080, regex=Regex(
            pattern="all (is|was) well", options=("caseless", "dotall", "no_auto_capture"),
            absent=True, min_offset=10, max_offset=90,
        ),
    )  # fmt: skip
    assert (first.interval, first.timeout, first.retries, first.retry_delay) == (60, 5, 1, 3)


def test_ssl_get_sends_a_name_only_when_told() -> None:
    plain = "SSL_GET {\n url {\n path /\n }\n virtualhost a.example\n EXTRA\n}"
    top = "SSL {\n certificate /c.pem\n key /k.pem\n}\n"
    named = check(conf(plain.replace("EXTRA", "enable_sni"), top=top)).http
    assert named is not None
    assert named.tls == Tls(server_name="a.example", certificate="/c.pem", key="/k.pem")
    other = check(conf(plain.replace("EXTRA", "sni_name b.example"))).http
    none = check(conf(plain.replace("EXTRA", ""))).http
    assert other is not None and other.tls == Tls(server_name="b.example")
    assert none is not None and none.tls == Tls() and none.version == "1.0"


CHECKERS = [
    ("TCP_CHECK {\n connect_ip 10.0.0.3\n connect_port 81\n bindto 10.0.0.9\n bind_port 999\n bind_if eth1\n fwmark 5\n}",
     TcpProbe(address=IPv4Address("10.0.0.3"), port=81, source=IPv4Address("10.0.0.9"), source_port=999, interface="eth1", mark=5)),
    ('MISC_CHECK {\n misc_path "/bin/check a \'b c\'"\n misc_dynamic\n user nobody daemon\n}',
     ScriptProbe(command="/bin/check a 'b c'", user="nobody:daemon", dynamic=True)),
    ("PING_CHECK {\n fwmark 5\n}", PingProbe(mark=5)),
    ("UDP_CHECK {\n payload Ab12f 3\n require_reply 4X XX\n min_reply_length 2\n max_reply_length 9\n}",
     UdpProbe(payload="ab120f03", require_reply=True, reply="4xxx", min_length=2, max_length=9)),
    ("UDP_CHECK {\n require_reply\n}", UdpProbe(require_reply=True)),
    ("DNS_CHECK {\n type mx\n name example.org\n}", DnsProbe(type="MX", name="example.org")),
    ("DNS_CHECK {\n}", DnsProbe()),
    ("SMTP_CHECK {\n helo_name me\n}", SmtpProbe(helo="me")),
    ("SMTP_CHECK {\n}", SmtpProbe(helo="smtpchecker.keepalived.org")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "probe"), CHECKERS)
def test_every_checker(text: str, probe: object) -> None:
    found = check(conf(text))
    assert getattr(found, found.kind) == probe


def test_a_file_is_one_that_is_tracked() -> None:
    top = 'track_file load {\n file "/run/load"\n weight 2\n}\n'
    assert check(conf("FILE_CHECK {\n track_file load\n}", top=top)).file == FileProbe(
        path="/run/load", weight=2
    )
    weighing = "FILE_CHECK {\n track_file load\n weight 3 reverse\n}"
    assert check(conf(weighing, top=top)).file == FileProbe(path="/run/load", weight=-3)
    none = "FILE_CHECK {\n track_file load\n weight 0\n}"
    assert check(conf(none, top=top)).file == FileProbe(path="/run/load")


@pytest.mark.parametrize(
    ("checker", "expected"),
    [
        ("TCP_CHECK {\nX\n}", (7, 1, 1, 5)),
        ("HTTP_GET {\nX\nurl {\n}\nurl {\npath /\n}\n}", (7, 1, 3, 5)),
        ("DNS_CHECK {\nX\n}", (7, 3, 7, 5)),
        ("MISC_CHECK {\nX\nmisc_path /x\n}", (7, 0, 1, 7)),
        ("MISC_CHECK {\nX\nmisc_path /x\nmisc_timeout 4\n}", (7, 0, 1, 4)),
    ],
)
def test_each_has_keepalived_s_defaults(checker: str, expected: tuple[float, ...]) -> None:
    found = checks(conf(checker.replace("X", ""), service="delay_loop 7"))[-1]
    assert (found.interval, found.retries, found.retry_delay, found.timeout) == expected
    assert found.warmup is None and not found.alpha


def test_timing_is_inherited_from_service_to_server_to_checker() -> None:
    text = conf(
        "TCP_CHECK {\n retry 4\n log_all_failures\n}",
        "retry 5\n delay_before_retry 2\n warmup 9",
        "retry 6\n delay_before_retry 3\n connect_timeout 8\n alpha\n delay_loop 20",
    )
    found = check(text)
    assert (found.retries, found.retry_delay, found.timeout, found.interval) == (4, 2, 8, 20)
    assert (found.warmup, found.alpha, found.log_all_failures) == (9, True, True)
    assert not check(conf("TCP_CHECK {\n alpha no\n}", service="alpha")).alpha


def test_the_rules_of_the_service() -> None:
    found = service(
        conf(
            "TCP_CHECK {\n}",
            'inhibit_on_failure no\n notify_up "/bin/up a" nobody\n notify_down /bin/down',
            "quorum 3\n hysteresis 1\n inhibit_on_failure\n omega\n ha_suspend\n sorry_server 10.0.0.7 80\n"
            'sorry_server_inhibit\n quorum_up "/bin/q up"\n quorum_down /bin/q nobody daemon',
        )
    )
    assert (found.quorum, found.hysteresis, found.inhibit_on_failure, found.omega) == (
        3,
        1,
        True,
        True,
    )
    assert (found.sorry_server, found.sorry_server_inhibit) == ("10.0.0.7:80", True)
    assert found.quorum_up == Script(command="/bin/q up")
    assert found.quorum_down == Script(command="/bin/q", user="nobody:daemon")
    (real,) = found.real_servers.values()
    assert real.inhibit_on_failure is False
    assert real.notify_up == Script(command="/bin/up a", user="nobody")
    assert real.notify_down == Script(command="/bin/down")


def test_scripts_run_as_script_user_unless_they_say_otherwise() -> None:
    top = "global_defs {\n script_user nobody daemon\n}\n"
    both = "notify_up /bin/a\n notify_down /bin/b root"
    found = service(conf("MISC_CHECK {\n misc_path /bin/c\n}", real=both, top=top))
    (real,) = found.real_servers.values()
    assert real.notify_up is not None and real.notify_up.user == "nobody:daemon"
    assert real.notify_down is not None and real.notify_down.user == "root"
    assert found.check is not None and found.check.script is not None
    assert found.check.script.user == "nobody:daemon"


def test_several_checks_of_one_server_have_names() -> None:
    found = service(conf("TCP_CHECK {\n}\nTCP_CHECK {\n connect_port 81\n}\nPING_CHECK {\n}"))
    assert list(found.checks) == ["tcp", "tcp 2", "ping"] and found.check is None


def test_nothing_of_it_is_without_effect_that_matters() -> None:
    notes = remarkable(read_keepalived(conf(URLS), "k.conf")[1])
    assert [str(note) for note in notes if note.status != "warning"] == [
        "k.conf:23:13: fast_recovery: honoured: every url is asked for at every check"
    ]


HTTP = "HTTP_GET {\n url {\n path /\n X\n }\n}"
REFUSED = [
    (HTTP.replace("X", "digest 123"), "10:2: 'digest' a digest is 32 hexadecimal digits, not 3 characters; `trimaran digest URL` prints it"),
    (HTTP.replace("X", "status_code 200-100"), "10:2: 'status_code' '200-100' is no status code; write it like 200 or 200-299"),
    (HTTP.replace("X", 'regex "a(b"'), "10:2: 'regex' 'a(b' is no regular expression: missing ) at character 4"),
    (HTTP.replace("X", "regex a\n regex_options ungreedy"), "11:2: 'regex_options' the option 'ungreedy' is not known; allowed: alt_verbnames, "),
    (HTTP.replace("path /", "path x"), "9:2: 'path' 'x' does not begin with '/'"),
    ("HTTP_GET {\n}", "7:9: 'HTTP_GET' needs a 'url { … }' block"),
    ("MISC_CHECK {\n}", "7:9: 'MISC_CHECK' needs 'misc_path'"),
    ("FILE_CHECK {\n track_file x\n}", "8:2: 'track_file' there is no track_file 'x' with a `file`"),
    ("UDP_CHECK {\n payload xyz\n}", "8:2: 'payload' 'xyz' is not hexadecimal"),
    ("DNS_CHECK {\n type ANY\n}", "8:2: 'type' 'ANY' is not possible yet (allowed: a, aaaa, cname, mx, ns, soa, txt)"),
    ("TCP_CHECK {\n connect_port 0\n}", "8:2: 'connect_port' takes a number from 1 to 65535, not 0"),
    ("TCP_CHECK {\n retry -1\n}", "8:2: 'retry' takes a number from 0 to 100, not -1"),
    ("TCP_CHECK {\n bind_if a/b\n}", "8:2: 'bind_if' 'a/b' is no name of an interface"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), REFUSED, ids=[each for _, each in REFUSED])
def test_what_cannot_work_is_refused_where_it_stands(text: str, expected: str) -> None:
    (problem,) = problems(conf(text))
    assert problem.startswith(f"k.conf:{expected}")


def test_the_sorry_server_must_be_another_and_on_the_same_port() -> None:
    assert problems(conf("", service="sorry_server 10.0.0.2 80")) == [
        "k.conf:1:1: '10.0.0.2:80' is the real server '10.0.0.2:80' too"
    ]
    assert (
        "differs from the service's port 80"
        in problems(conf("", service="sorry_server 10.0.0.7 81"))[0]
    )
    assert (
        "is neither a node nor an IP address" in problems(conf("", service="sorry_server x 80"))[0]
    )


GROUP = """virtual_server_group many {
    10.0.0.1 80
    10.0.0.250-10.0.1.1 80
    10.0.2.8/30 443
    10.0.3.1-3 80
}
"""


def test_a_group_is_a_service_for_each_address_with_shared_checks() -> None:
    text = GROUP.replace("443", "80") + conf(
        "TCP_CHECK {\n}", real="notify_up /bin/true", service="quorum_up /bin/true"
    ).replace("10.0.0.1 80", "group many")
    stack, _notes = read_keepalived(text, "k.conf")
    names = [f"10.0.0.{n}:80" for n in (1, 250, 251, 252, 253, 254, 255)]
    names += [f"10.0.{n}:80" for n in ("1.0", "1.1", "2.8", "2.9", "2.10", "2.11")]
    assert list(stack.virtual_services) == [*names, *(f"10.0.3.{n}:80" for n in (1, 2, 3))]
    first, second, *_ = stack.virtual_services.values()
    assert first.quorum_up and not second.quorum_up
    assert first.check == second.check
    assert [bool(each.notify_up) for each in first.real_servers.values()] == [True]
    assert [bool(each.notify_up) for each in second.real_servers.values()] == [False]
    settings = plan(stack, "node", PurePath("/run"), PurePath("/pins")).roles["director"]
    assert isinstance(settings, DirectorSettings)
    asked = {c for s in settings.services for r in s.real_servers for c in r.checks.values()}
    assert len(asked) == 1, "one check for all"


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("fwmark 7", "2:1: 'fwmark' by fwmark is not supported yet (list addresses and ports)"),
        ("10.0.0.1", "2:1: '10.0.0.1' needs a port, and nothing else (DR forwards one port)"),
        (
            "10.0.0.9-1 80",
            "2:1: '10.0.0.9-1' '10.0.0.9-1' is a range of -7 addresses (possible: 1 to 1024)",
        ),
        (
            "10.0.0.0/8 80",
            "2:1: '10.0.0.0/8' '10.0.0.0/8' is a range of 16777216 addresses (possible: 1 to 1024)",
        ),
        ("10.0.0.1-x 80", "2:1: '10.0.0.1-x' 'x' is not an IPv4 address"),
        (
            "10.0.0.1 80\n10.0.0.0/30 80",
            "3:1: '10.0.0.0/30' has 10.0.0.1 port 80, which is in the group already",
        ),
        ("", "4:1: 'virtual_server' the group 'g' holds no address"),
    ],
)
def test_what_a_group_cannot_hold(group: str, expected: str) -> None:
    text = f"virtual_server_group g {{\n{group}\n}}\n" + conf("").replace("10.0.0.1 80", "group g")
    assert problems(text)[0] == f"k.conf:{expected}"


def test_a_group_that_is_not_there() -> None:
    text = GROUP + conf("").replace("10.0.0.1 80", "group man")
    assert problems(text) == [
        "k.conf:7:1: 'virtual_server' there is no virtual_server_group 'man' (did you mean 'many'? allowed: many)"
    ]


# stack.yaml


@pytest.mark.parametrize(
    ("rest", "kinds"),
    [
        ("", ["tcp"]),
        ("check:", []),
        ("check: {interval: 9s}", ["tcp"]),
        ("check: {http: {path: /health}}", ["http"]),
        ("checks: {page: {http: {}}, port: {tcp: {port: 81}}}", ["page", "port"]),
        ("check: {ping: {}}\n    checks: {port: {tcp: {}}}", ["ping", "port"]),
    ],
)
def test_checks_have_names(rest: str, kinds: list[str]) -> None:
    stack = yaml(rest)
    found = stack.virtual_services["web"]
    assert list(checks_of(found, found.real_servers["r"])) == kinds


def test_a_server_s_own_checks_replace_the_service_s() -> None:
    stack = yaml("check: {ping: {}}")
    text = YAML.replace("{r: {}}", "{r: {check: {smtp: {}}}}").replace("REST", "check: {ping: {}}")
    own = read_stack(text, "s.yaml")[0]
    for each, kind in ((stack, "ping"), (own, "smtp")):
        found = each.virtual_services["web"]
        assert list(checks_of(found, found.real_servers["r"])) == [kind]


FULL = """checks:
      page:
        http:
          path: /health
          method: POST
          headers: {X-Key: a, Accept: application/json}
          body: "{}"
          json_value: {state: ok, parts.0.n: 3}
          tls: {verify: true, server_name: www.example, min_days: 14}
          regex: {pattern: ok}
          status: [200, 202-204]
        interval: 2s
        timeout: 500ms
        rise: 3
      mark: {udp: {payload: "00 ff", require_reply: true, mark: 7}}
      say: {grpc: {service: web, port: 50051}}
      run: {script: {command: /bin/true, dynamic: true}}
      name: {dns: {name: example.org, type: A}}
      load: {file: {path: /run/load, weight: -1}}
      mail: {smtp: {}}
      echo: {ping: {}}
      port: {tcp: {interface: eth1}}
    quorum: 2
    slow_start: 30s
    quorum_up: /bin/true
    quorum_down: {command: /bin/false, user: nobody, timeout: 2s}
    sorry_server: 10.0.0.7"""


def test_every_kind_reaches_the_director_and_survives_the_border() -> None:
    settings = plan(yaml(FULL), "d", PurePath("/run"), PurePath("/pins")).roles["director"]
    assert isinstance(settings, DirectorSettings)
    assert from_plain(DirectorSettings, to_plain(settings)) == settings
    (service,) = settings.services
    found = service.real_servers[0].checks
    assert {check.probe.__struct_config__.tag for check in found.values()} == set(KINDS)
    assert len(set(found.values())) == len(found), "checks can be compared and shared"
    page = found["page"]
    assert page.probe.headers == (("X-Key", "a"), ("Accept", "application/json"))
    assert page.probe.json_value == (("state", "ok"), ("parts.0.n", 3))
    assert page.probe.status == ((200, 200), (202, 204))
    assert (page.interval_s, page.timeout_s, page.rise) == (2.0, 0.5, 3)
    assert (found["say"].target.port, found["mark"].target.mark) == (50051, 7)
    assert service.sorry_server is not None and str(service.sorry_server.address) == "10.0.0.7"
    assert service.pool.slow_start_s == 30 and service.pool.quorum == 2


YAML_REFUSED = [
    ("check: {http: {digest: 12}}", "11:28: virtual_services.web.check.http.digest: a digest is 32 hexadecimal digits, not 2 characters; `trimaran digest URL` prints it"),
    ("check: {http: {regex: {pattern: 'a['}}}", "11:27: virtual_services.web.check.http.regex: 'a[' is no regular expression: unterminated character set at character 3"),
    ("check: {http: {}, tcp: {}}", "11:12: virtual_services.web.check: a check is of one kind, not of tcp and http: use `checks`"),
    ("check: {http: {tls: {min_days: 3}}}", "11:25: virtual_services.web.check.http.tls: min_days needs `verify: true`: nothing else reads the certificate"),
    ("check: {http: {tls: {verify: true}}}", "11:25: virtual_services.web.check.http.tls: verify needs `server_name`: the name that the certificate must have"),
    ("check: {udp: {payload: xyz}}", "11:28: virtual_services.web.check.udp.payload: 'xyz' is not hexadecimal"),
    ("check: {htp: {}}", "11:13: unknown key 'htp' in virtual_services.web.check (did you mean 'http'? allowed: "),
    ("check: {http: {status: 2xx}}", "11:20: virtual_services.web.check.http.status.0: '2xx' is no status code; write it like 200 or 200-299"),
    ("check: {script: {command: /bin/none a}}", "11:31: '/bin/none' is not executable (chmod +x /bin/none)"),
    ("quorum_up: /bin/none", "11:16: '/bin/none' is not executable (chmod +x /bin/none)"),
    ("checks: {a: {script: {command: /bin/none}}}", "11:36: '/bin/none' is not executable"),
    ("sorry_server: r", "11:19: 'r' is the real server 'r' too"),
    ("sorry_server: nobody", "11:19: 'nobody' is neither a node nor an IP address (allowed: d, r)"),
]  # fmt: skip


@pytest.mark.parametrize(("rest", "expected"), YAML_REFUSED, ids=[each for _, each in YAML_REFUSED])
def test_what_cannot_work_is_refused_in_yaml(rest: str, expected: str) -> None:
    (problem,) = yaml_problems(rest)
    assert problem.startswith(f"s.yaml:{expected}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (conf("MISC_CHECK {\n misc_path '/bin/none a'\n}".replace("'", '"')), 8),
        (conf("", real="notify_up /bin/none"), 6),
        (conf("", service="quorum_down /bin/none"), 4),
    ],
)
def test_a_program_that_cannot_run_is_refused_where_it_stands(text: str, line: int) -> None:
    with pytest.raises(StackError) as caught:
        read_keepalived(text, "k.conf", PROGRAMS)
    (problem,) = caught.value.problems
    assert problem.place.line == line and "'/bin/none' is not executable" in problem.message


def test_what_is_wrong_with_a_program_on_the_disk(tmp_path: Path) -> None:
    place = tmp_path / "x"
    look = DiskFiles().refusal
    missing = look(f"{place} a")
    assert missing is not None and not missing.fatal and "is not on this machine" in missing.message
    place.write_text("#!/bin/sh\n")
    cases = [(0o644, "is not executable"), (0o757, "others than root may write"), (0o755, "")]
    for mode, expected in cases:
        place.chmod(mode)
        refusal = look(str(place))
        assert expected in refusal.message and refusal.help if refusal else expected == "", mode
    for command, expected in (("x", "absolute path"), ("/tmp", "is no file"), ("'", "quotation")):
        refusal = look(command)
        assert refusal is not None and refusal.fatal and expected in refusal.message


def test_hexadecimal_in_groups_as_keepalived_has_it() -> None:
    assert parse_hex("Ab12f 3 456 546443123") == "ab120f0345065464431203"
