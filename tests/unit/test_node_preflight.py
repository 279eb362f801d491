"""What is in the way of a role: decided from facts, no machine needed."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface

from trimaran.director.settings import DirectorSettings
from trimaran.node.firewall import from_iptables
from trimaran.node.preflight import Facts, Finding, judge
from trimaran.node.settings import NodePlan, RealServerRoleSettings
from trimaran.proxy.settings import ProxySettings
from trimaran.system.errors import CannotRunError
from trimaran.system.facts import CAP_NET_ADMIN, CAP_NET_RAW, ebpf_refusal
from trimaran.system.netlink import Holding
from trimaran.vrrp.settings import RouterSettings, VrrpSettings

VIP = IPv4Address("192.168.31.145")
PLAN = NodePlan(
    "node1",
    {
        "director": DirectorSettings("node1", "ens33", "/sys/fs/bpf/x", ()),
        "real_server": RealServerRoleSettings("node1", (VIP,), "/run/x"),
        "proxy": ProxySettings("node1", "proxy", "edge", {}, (("0.0.0.0", 80),)),
        "vrrp": VrrpSettings(
            "node1", (RouterSettings("front", 51, "ens33", 100, (IPv4Interface(VIP),)),)
        ),
    },
)
WELL = Facts(frozenset({CAP_NET_ADMIN, CAP_NET_RAW}), None, {}, {}, {})


def found(seen: Facts) -> dict[str, Finding]:
    return {finding.role: finding for finding in judge(PLAN, seen)}


def test_a_machine_that_lacks_nothing() -> None:
    assert found(WELL) == {}


def test_without_the_right_every_role_that_changes_the_network_is_refused() -> None:
    refused = found(replace(WELL, capabilities=frozenset()))
    assert set(refused) == {"director", "real_server", "vrrp"}
    assert all(finding.refuses and finding.mend == "run as root" for finding in refused.values())


def test_vrrp_needs_raw_sockets_too() -> None:
    assert set(found(replace(WELL, capabilities=frozenset({CAP_NET_ADMIN})))) == {"vrrp"}


def test_without_ebpf_the_director_is_refused_in_the_kernels_words() -> None:
    finding = found(replace(WELL, ebpf_refusal="Function not implemented"))["director"]
    assert finding.refuses
    assert "Function not implemented" in finding.message
    assert "CONFIG_BPF_SYSCALL" in finding.mend


def test_the_kernels_ipvs_needs_ipvs_and_no_ebpf() -> None:
    settings = DirectorSettings("node1", "ens33", "", (), hook="ipvs")
    plan = NodePlan("node1", {"director": settings})
    without = replace(WELL, ebpf_refusal="Function not implemented")
    assert judge(plan, without) == []
    (finding,) = judge(plan, replace(without, has_ipvs=False))
    assert finding.refuses and "has no IPVS" in finding.message
    assert finding.mend.startswith("load it (modprobe ip_vs")


def test_a_port_that_cannot_be_had_refuses_the_proxy() -> None:
    taken = CannotRunError("port 80 of 0.0.0.0 is taken by nginx (pid 12)", "stop it")
    finding = found(replace(WELL, ports={("0.0.0.0", 80): taken}))["proxy"]
    assert finding == Finding("proxy", taken.sentence, "stop it", refuses=True)


def test_an_address_on_a_lan_interface_of_a_real_server_is_a_warning() -> None:
    holdings = (
        Holding("lo", IPv4Interface(f"{VIP}/32"), permanent=True),
        Holding("ens33", IPv4Interface(f"{VIP}/24"), permanent=True),
    )
    (finding,) = judge(PLAN, replace(WELL, holders={VIP: holdings}))
    assert (finding.role, finding.refuses) == ("real_server", False)
    assert finding.mend.endswith("ip address delete 192.168.31.145/24 dev ens33")


def test_a_firewall_in_the_way_names_chain_and_remedy() -> None:
    closed = from_iptables("*filter\n:INPUT DROP [0:0]\n")
    warned = found(replace(WELL, chains=closed))
    assert set(warned) == {"proxy", "vrrp"}
    assert "drops adverts on ens33 (chain INPUT of iptables)" in warned["vrrp"].message
    assert warned["vrrp"].mend == "accept protocol vrrp in it"
    assert warned["proxy"].mend == "accept TCP port 80 in it"
    assert not any(finding.refuses for finding in warned.values())


def test_refusals_come_first() -> None:
    seen = replace(WELL, ebpf_refusal="no", chains=from_iptables("*filter\n:INPUT DROP [0:0]\n"))
    assert [finding.refuses for finding in judge(PLAN, seen)] == [True, False, False]


def test_the_kernel_is_asked_for_ebpf() -> None:
    assert ebpf_refusal() in (None, "Operation not permitted")
