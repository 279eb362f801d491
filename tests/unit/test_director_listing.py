"""The listing, against what ipvsadm 1.31 printed on a real IPVS (trailing blanks included)."""

from typing import Any

import pytest

from trimaran.director.listing import listing

EMPTY = (
    "IP Virtual Server version 1.2.1 (size=4096)\n"
    "Prot LocalAddress:Port Scheduler Flags\n"
    "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
)
TWO_REAL_SERVERS = EMPTY + (
    "TCP  10.0.0.100:80 rr\n"
    "  -> 10.0.0.11:80                 Route   1      0          3         \n"
    "  -> 10.0.0.12:80                 Route   1      0          3         \n"
)
ONE_DRAINED = EMPTY + (
    "TCP  10.0.0.100:80 rr\n"
    "  -> 10.0.0.11:80                 Route   0      0          6         \n"
)


def real(address: str, weight: int, inactive: int, listed: bool = True) -> dict[str, Any]:
    return {
        "address": address, "port": 80, "forward": "Route", "weight": weight,
        "active": 0, "inactive": inactive, "listed": listed,
    }  # fmt: skip


def status(*reals: dict[str, Any], address: str = "10.0.0.100", port: int = 80) -> dict[str, Any]:
    service = {
        "protocol": "tcp", "address": address, "port": port, "scheduler": "rr",
        "scheduler_flags": (), "one_packet": False, "persistence_s": 0, "granularity": 0,
        "real_servers": list(reals),
    }  # fmt: skip
    return {"services": [service]}


def test_empty() -> None:
    assert listing({"services": []}) == EMPTY


def test_sorted_by_address_whatever_the_order() -> None:
    rows = status(real("10.0.0.12", 1, 3), real("10.0.0.11", 1, 3))
    assert listing(rows) == TWO_REAL_SERVERS


def test_one_that_is_out_of_the_table_is_not_listed() -> None:
    rows = status(real("10.0.0.11", 0, 6), real("10.0.0.12", 1, 0, listed=False))
    assert listing(rows) == ONE_DRAINED


def test_services_are_sorted_by_number_not_by_text() -> None:
    places = [("10.0.0.100", 80), ("10.0.0.20", 443), ("10.0.0.20", 80)]
    services = [status(address=a, port=p)["services"][0] for a, p in places]
    lines = listing({"services": services}).splitlines()[3:]
    assert lines == ["TCP  10.0.0.20:80 rr", "TCP  10.0.0.20:443 rr", "TCP  10.0.0.100:80 rr"]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"scheduler": "mh", "scheduler_flags": ("mh-fallback", "mh-port"), "persistence_s": 600,
          "granularity": 24}, "mh (mh-fallback,mh-port) persistent 600 mask 255.255.255.0"),
        ({"scheduler": "sh", "persistence_s": 360, "granularity": 32}, "sh persistent 360"),
        ({"scheduler": "rr", "one_packet": True}, "rr ops"),
    ],
)  # fmt: skip
def test_what_goes_with_the_scheduler_is_listed(how: dict[str, object], expected: str) -> None:
    """As ipvsadm 1.31 was seen to print it."""
    (row,) = status(address="10.0.0.2", port=443)["services"]
    row |= how
    assert f"TCP  10.0.0.2:443 {expected}\n" in listing({"services": [row]})
