"""Virtual services over both IP versions: which addresses are served, and what of the rest."""

from ipaddress import ip_address

import pytest

from trimaran.stack.errors import StackError
from trimaran.stack.resolve import listen_addresses, real_address_of
from trimaran.stack.yaml import read_stack

TEXT = """
nodes:
  d: {address: 10.0.0.9, address6: "fd00::9"}
  a: {address: 10.0.0.2, address6: "fd00::2"}
  b: {address: 10.0.0.3, address6: "fd00::3"}
  four: {address: 10.0.0.4}
virtual_routers:
  front: {router_id: 1, addresses: [10.0.0.1], members: {d: 100}}
  front6: {router_id: 1, addresses: ["fe80::1", "fd00::1"], members: {d: 100}}
virtual_services:
  web: {listen: "LISTEN", real_servers: {REALS}, check: null}
"""


def served(listen: str, reals: str) -> tuple[set[str], list[str]]:
    """The addresses that are served, and the warnings about the rest."""
    stack, notes = read_stack(TEXT.replace("LISTEN", listen).replace("REALS", reals), "s.yaml")
    service = stack.virtual_services["web"]
    addresses = [address for address, _port in listen_addresses(stack, service)]
    for address in addresses:
        for word in service.real_servers:
            assert real_address_of(stack, word, address.version)[0].version == address.version
    return {str(address) for address in addresses}, [str(n) for n in notes if "served" in n.message]


@pytest.mark.parametrize(
    ("listen", "reals", "addresses"),
    [
        ("front:80", "a: {}, four: {}", {"10.0.0.1"}),
        ("front6:80", "a: {}, b: {}", {"fd00::1"}),
        ("front6:80", "a: {}, '[fd00::7]': {}", {"fd00::1"}),
        ("10.0.0.9:80", "a: {}", {"10.0.0.9"}),
        ("[fd00::9]:80", "a: {}", {"fd00::9"}),
    ],
)
def test_the_addresses_of_a_service(listen: str, reals: str, addresses: set[str]) -> None:
    assert served(listen, reals) == (addresses, [])


@pytest.mark.parametrize(
    ("reals", "addresses"), [("a: {}, b: {}", 2), ("four: {}, a: {}", 1), ("10.0.0.7: {}", 1)]
)
def test_a_router_of_both_versions_serves_those_that_every_real_server_has(
    reals: str, addresses: int
) -> None:
    both = TEXT.replace(
        "addresses: [10.0.0.1]", 'addresses: [10.0.0.1], unadvertised: ["fd00::77"]'
    )
    text = both.replace("LISTEN", "front:80").replace("REALS", reals)
    stack, notes = read_stack(text, "s.yaml")
    found = [address for address, _ in listen_addresses(stack, stack.virtual_services["web"])]
    assert found == [ip_address("10.0.0.1"), ip_address("fd00::77")][:addresses]
    said = [note for note in notes if "IPv6 addresses of 'front' are not served" in note.message]
    assert len(said) == 2 - addresses


def test_real_servers_without_a_version_in_common_are_refused_where_they_stand() -> None:
    text = TEXT.replace("LISTEN", "front6:80").replace("REALS", "four: {}")
    with pytest.raises(StackError, match=r"s.yaml:.*node 'four' has no address6"):
        read_stack(text, "s.yaml")
