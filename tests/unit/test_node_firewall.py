"""What the firewall would drop: from the words of a user to the answer, through real listings.

The nft listings are what `nft -j list ruleset` prints in a namespace of the test's own."""

import json
import os
import subprocess
from ipaddress import IPv4Address
from textwrap import dedent

import pytest

from trimaran.node.firewall import TCP, VRRP, Packet, dropped_by, from_iptables, from_nft

ADVERT = Packet("ens33", IPv4Address("224.0.0.18"), VRRP)
HTTP = Packet("ens33", IPv4Address("192.168.31.97"), TCP, 80)


def nft(ruleset: str, packet: Packet) -> str | None:
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    listing = subprocess.run(
        ["unshare", "--net", "sh", "-c", "nft -f - && nft -j list ruleset"],
        input=dedent(ruleset),
        text=True,
        capture_output=True,
        check=True,
    ).stdout
    return dropped_by(from_nft(json.loads(listing)), packet)


def table(rules: str, policy: str = "drop", more: str = "") -> str:
    return (
        "table inet filter {\n"
        f"{more}\n"
        f"chain input {{ type filter hook input priority 0; policy {policy};\n{rules}\n}}\n}}\n"
    )


USUAL = "ct state established,related accept\nct state invalid drop\niifname lo accept\n"
INPUT = "chain input of table inet filter"


@pytest.mark.parametrize(
    ("rules", "advert", "http"),
    [
        ("", INPUT, INPUT),
        (USUAL, INPUT, INPUT),
        (USUAL + "tcp dport 22 accept", INPUT, INPUT),
        (USUAL + "tcp dport { 22, 80 } accept", INPUT, None),
        (USUAL + "tcp dport 1-1023 accept", INPUT, None),
        (USUAL + "ip protocol 112 accept", None, INPUT),
        (USUAL + "meta l4proto vrrp accept", None, INPUT),
        (USUAL + "ip daddr 224.0.0.0/4 accept", None, INPUT),
        (USUAL + 'iifname "ens*" accept', None, None),
        (USUAL + "iifname eth7 accept", INPUT, INPUT),
        (USUAL + "ip saddr 192.168.31.0/24 accept", None, None),  # cannot be told: no alarm
        (USUAL + "tcp dport 80 ct state new accept", INPUT, None),
        ("ct state vmap { established : accept, new : drop }", INPUT, INPUT),
        ("counter\nip protocol != 6 accept", None, INPUT),
    ],
)
def test_a_chain_that_drops_by_default(rules: str, advert: str | None, http: str | None) -> None:
    assert nft(table(rules), ADVERT) == advert
    assert nft(table(rules), HTTP) == http


@pytest.mark.parametrize(
    ("rules", "dropped"),
    [
        ("", None),
        ("tcp dport 80 drop", INPUT),
        ("tcp dport 80 reject with tcp reset", INPUT),
        ("udp dport 80 drop", None),
        ("ip saddr 203.0.113.9 tcp dport 80 drop", None),
        ("tcp dport 80 accept\ntcp dport 80 drop", None),
        ("tcp dport 80 jump web", INPUT),
        ("tcp dport 81 jump web", None),
        ("goto passes", None),
        ("jump passes\ndrop", INPUT),
    ],
)
def test_a_chain_that_accepts_by_default(rules: str, dropped: str | None) -> None:
    more = "chain web { drop\n}\nchain passes { tcp dport 22 drop\nreturn\n}"
    assert nft(table(rules, "accept", more), HTTP) == dropped


def test_forwarding_chains_and_ipv6_are_not_asked() -> None:
    rules = (
        "table ip6 filter {\nchain input { type filter hook input priority 0; policy drop;\n}\n}\n"
        "table ip filter {\nchain f { type filter hook forward priority 0; policy drop;\n}\n}\n"
    )
    assert nft(rules, HTTP) is None


@pytest.mark.parametrize(
    ("rules", "advert", "http"),
    [
        (":INPUT ACCEPT [0:0]", None, None),
        (":INPUT DROP [0:0]", "INPUT", "INPUT"),
        (":INPUT DROP [0:0]\n-A INPUT -p vrrp -j ACCEPT", None, "INPUT"),
        (":INPUT DROP [0:0]\n-A INPUT -p 112 -j ACCEPT", None, "INPUT"),
        (
            ":INPUT DROP [0:0]\n"
            "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
            "-A INPUT -i lo -j ACCEPT\n"
            "-A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT",
            "INPUT",
            None,
        ),
        (":INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 80 -j DROP", None, "INPUT"),
        (":INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 79:81 -j REJECT", None, "INPUT"),
        (":INPUT ACCEPT [0:0]\n-A INPUT ! -i ens33 -j DROP", None, None),
        (":INPUT ACCEPT [0:0]\n-A INPUT -j LOG\n-A INPUT -j DROP", "INPUT", "INPUT"),
        (
            ":INPUT ACCEPT [0:0]\n:WEB - [0:0]\n"
            "-A INPUT -p tcp -j WEB\n-A WEB -p tcp -m tcp --dport 80 -j DROP",
            None,
            "INPUT",
        ),
    ],
)
def test_the_old_tables(rules: str, advert: str | None, http: str | None) -> None:
    chains = from_iptables(f"*nat\n:INPUT DROP [0:0]\nCOMMIT\n*filter\n{rules}\nCOMMIT\n")
    for packet, chain in ((ADVERT, advert), (HTTP, http)):
        assert dropped_by(chains, packet) == (chain and f"chain {chain} of iptables")


def test_nonsense_is_no_alarm() -> None:
    assert dropped_by(from_nft({}), HTTP) is None
    assert dropped_by(from_nft({"nftables": [{"rule": {}}, {"chain": {}}, 7]}), HTTP) is None
    assert dropped_by(from_iptables("garbage\n*filter\n-A nothing -j DROP\n"), HTTP) is None
