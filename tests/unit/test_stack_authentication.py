"""Passwords and keys, as both configuration languages have them, down to the vrrp process."""

import pytest
from stack_files import MemoryFiles

from trimaran.node.plan_vrrp import vrrp_settings
from trimaran.stack.errors import StackError
from trimaran.stack.keepalived import read_keepalived
from trimaran.stack.yaml import read_stack
from trimaran.vrrp.seal import HmacKey, HmacSettings

KEY = "0123456789abcdef0123456789abcdef"
YAML = """
nodes: {{a: {{address: 10.0.0.2}}, b: {{address: 10.0.0.3}}}}
virtual_routers:
  front:
    router_id: 1
    version: {version}
    addresses: [10.0.0.1]
    members: {{a: 100, b: 50}}
    advert_interval: 2
    authentication: {authentication}
"""


def keepalived(options: str, files: dict[str, str] | None = None) -> str | HmacSettings | tuple:  # type: ignore[type-arg]
    text = (
        "vrrp_instance VI {\ninterface ens33\nvirtual_router_id 1\n"
        f"virtual_ipaddress {{\n10.0.0.1\n}}\n{options}\n}}"
    )
    stack, notes = read_keepalived(text, "k.conf", MemoryFiles(files or {}))
    assert KEY not in str(notes)
    return _of(stack)


def _of(stack: object, node: str = "node") -> tuple | HmacSettings:  # type: ignore[type-arg]
    (router,) = vrrp_settings(stack, node).routers  # type: ignore[arg-type]
    return router.hmac or (router.password, router.ah)


def stack(version: int, authentication: str, files: dict[str, str] | None = None) -> object:
    text = YAML.format(version=version, authentication=authentication)
    read, _ = read_stack(text, "stack.yaml", MemoryFiles(files or {}))
    assert KEY not in repr(read)
    return _of(read, "a")


def test_ah() -> None:
    assert keepalived("authentication {\nauth_type AH\nauth_pass secret\n}") == (b"secret", True)
    assert stack(2, "{type: ah, password: secret}") == (b"secret", True)


def test_hmac_keys_of_every_kind() -> None:
    block = (
        f"advert_int 2\nauth_hmac {{\nkey 1 {KEY}\nkey 2 hex:{'0f' * 32}\nkey 3 file:k/3\n"
        "active_key 2\n}"
    )
    keys = (HmacKey(1, KEY.encode()), HmacKey(2, b"\x0f" * 32), HmacKey(3, KEY.encode()))
    assert keepalived(block, {"k/3": f"{KEY}\n"}) == HmacSettings(keys, 2, 6, "enforce")
    text = f"{{type: hmac, active: 2, keys: {{1: '{KEY}', 2: 'hex:{'0f' * 32}', 3: 'file:k/3'}}}}"
    assert stack(3, text, {"k/3": f"hex:{KEY.encode().hex()}"}) == HmacSettings(keys, 2, 6)


def test_hmac_options() -> None:
    block = f"auth_hmac {{\nkey 9 {KEY}\nactive_key 9\nanti_replay monotonic\nmode receive-only\n}}"
    key = HmacKey(9, KEY.encode())
    assert keepalived(block) == HmacSettings((key,), 9, None, "receive-only")
    block = f"auth_hmac {{\nkey 9 {KEY}\nactive_key 9\ntime_window 30\nmode permissive\n}}"
    assert keepalived(block) == HmacSettings((key,), 9, 30, "permissive")


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        ("key 1 short\nactive_key 1", "k.conf:8:1: 'key' 1 has 5 bytes; possible: 32 to 64"),
        ("key 1 hex:zz\nactive_key 1",
         "k.conf:8:1: 'key' 1 is no row of pairs of hexadecimal digits after 'hex:'"),
        ("key 1 file:none\nactive_key 1",
         "k.conf:8:1: 'key' 1 cannot be read: No such file or directory"),
        (f"key {KEY} 1\nactive_key 1",
         "k.conf:8:1: 'key' takes a number from 1 to 255, and then the key"),
        (f"key 1 {KEY}", "k.conf:7:1: 'auth_hmac' needs 'active_key'"),
        (f"key 1 {KEY}\nactive_key 2", "k.conf:9:1: 'active_key' there is no key 2"),
        (f"key 1 {KEY}\nkey 1 {KEY}\nactive_key 1", "k.conf:9:1: 'key' 1 is there already"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_without_the_key(block: str, problem: str) -> None:
    with pytest.raises(StackError) as caught:
        keepalived(f"auth_hmac {{\n{block}\n}}")
    said = [str(each) for each in caught.value.problems]
    assert problem in said
    assert KEY not in str(said) + str(caught.value.notes)


def test_yaml_says_where_a_key_is_wrong() -> None:
    with pytest.raises(StackError) as caught:
        stack(3, "{type: hmac, active: 2, keys: {1: short}}")
    (problem, *_) = caught.value.problems
    assert "there is no key 2" in str(problem)
    with pytest.raises(StackError) as caught:
        stack(3, "{type: hmac, active: 1, keys: {1: short}}")
    assert "key 1 has 5 bytes; possible: 32 to 64" in str(caught.value.problems[0])
    assert ":10:" in str(caught.value.problems[0])


def test_version_3_has_no_password() -> None:
    with pytest.raises(StackError) as caught:
        stack(3, "{type: ah, password: secret}")
    assert "VRRP version 3 has no authentication of type 'ah'" in str(caught.value.problems[0])
