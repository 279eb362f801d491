"""What is asked of a real IPVS and of ours alike: services, and connections in their order. It is
imported in the test machine, so it imports nothing."""

VIP = "10.0.0.100"
MANY = [(f"10.1.{n * 7 % 251}.{n * 13 % 251}", 2000 + n * 97) for n in range(60)]
IN_TURN = [("10.1.0.1", 3000 + n) for n in range(40)]

# name: (scheduler, flags, weights in the order of adding, connections). Weight 0 is set afterwards.
CASES = {
    "rr": ("rr", "", (1, 5, 1, 0, 2), IN_TURN),
    "fo": ("fo", "", (1, 7, 7, 3), IN_TURN[:5]),
    "ovf": ("ovf", "", (3, 5, 20), IN_TURN),
    "lc": ("lc", "", (1, 5, 1), IN_TURN),
    "wlc": ("wlc", "", (1, 3, 2, 0), IN_TURN),
    "sed": ("sed", "", (1, 3, 2, 7), IN_TURN),
    "nq": ("nq", "", (1, 3, 2, 7), IN_TURN),
    "wrr": ("wrr", "", (3, 2, 1), IN_TURN),
    "wrr-gcd": ("wrr", "", (4, 6, 2, 0), IN_TURN),
    "dh": ("dh", "", (1, 1, 1), IN_TURN[:2]),
    "sh": ("sh", "", (1, 2, 3), MANY),
    "sh-drained": ("sh", "", (1, 0, 3, 1), MANY),
    "sh-port": ("sh", "sh-port", (1, 200, 100), MANY),
    "sh-fallback": ("sh", "sh-fallback,sh-port", (1, 0, 3, 0), MANY),
    "mh": ("mh", "", (1, 2, 3), MANY),
    "mh-drained": ("mh", "", (1, 0, 3, 1), MANY),
    "mh-port": ("mh", "mh-port", (1, 1, 1, 1, 1), MANY),
    "mh-heavy": ("mh", "mh-port", (65535, 300, 7, 1), MANY),
    "mh-fallback": ("mh", "mh-fallback,mh-port", (1, 0, 3, 0), MANY),
}


def address(index: int) -> str:
    """Of the real server that was added as the `index`th, from 1."""
    return f"10.0.0.{10 + index}"


def port(name: str) -> int:
    """Of a case: its own, for connections outlive their service."""
    return 80 + list(CASES).index(name)
