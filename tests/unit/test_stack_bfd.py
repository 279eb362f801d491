"""BFD sessions, from keepalived.conf and stack.yaml to what the vrrp process is told."""

import pytest
from stack_files import MemoryFiles

from trimaran.node.plain import from_plain, to_plain
from trimaran.node.plan_vrrp import vrrp_settings
from trimaran.stack.errors import StackError
from trimaran.stack.load import load, load_classic
from trimaran.vrrp.bfd import BfdSettings
from trimaran.vrrp.settings import Track, VrrpSettings

KEEPALIVED = """
bfd_instance uplink {
  neighbor_ip 10.0.0.254
  source_ip 10.0.0.2
  min_rx 50
  min_tx 20
  idle_tx 2000
  multiplier 3
  passive
  hoplimit 64
  max_hops 2
  weight -30
}
bfd_instance plain {
  neighbor_ip fe80::1
}
vrrp_instance front {
  interface ens33
  virtual_router_id 51
  priority 100
  virtual_ipaddress {
    10.0.0.1
  }
  track_bfd {
    uplink
    plain
  }
}
"""
STACK = """
nodes:
  node2: {address: 10.0.0.2, interface: ens33}
virtual_routers:
  front:
    router_id: 51
    addresses: [10.0.0.1]
    members: {node2: 100}
    track: {watches: {uplink: {}}}
watches:
  uplink:
    bfd: {neighbour: 10.0.0.254, min_rx: 50ms}
"""


def test_keepaliveds_words() -> None:
    files = MemoryFiles({"k.conf": KEEPALIVED})
    stack = load_classic(files, "node2", keepalived="k.conf", nginx=None, lvsrs=None).stack
    settings = vrrp_settings(stack, "node2")
    assert settings.routers[0].tracks == (Track("watch", "uplink", -30), Track("watch", "plain"))
    assert [(each.name, each.kind, each.bfd) for each in settings.watches] == [
        (
            "uplink", "bfd",
            BfdSettings("10.0.0.254", "10.0.0.2", 50_000, 20_000, 2_000_000, 3, True, 64, 2),
        ),
        ("plain", "bfd", BfdSettings("fe80::1")),
    ]  # fmt: skip
    assert from_plain(VrrpSettings, to_plain(settings)) == settings


def test_the_stack_file() -> None:
    stack = load(["s.yaml"], MemoryFiles({"s.yaml": STACK})).stack
    watch = vrrp_settings(stack, "node2").watches[0]
    assert watch.bfd == BfdSettings("10.0.0.254", min_rx_us=50_000)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("  other:\n    bfd: {neighbour: 10.0.0.254}\n", "'uplink' has a session with 10.0.0.254"),
        ("  other:\n    bfd: {neighbour: 10.0.0.9, source: fe80::1}\n", "of another family"),
        ("  other:\n    file: /x\n    bfd: {neighbour: 10.0.0.9}\n", "exactly one of"),
    ],
)
def test_what_cannot_be(more: str, said: str) -> None:
    with pytest.raises(StackError, match=said):
        load(["s.yaml"], MemoryFiles({"s.yaml": STACK + more}))
