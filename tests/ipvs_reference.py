"""IPVS's schedulers told plainly, as its source has them: what ours and a real kernel's are held
against. A destination list has the newest first, as `ip_vs_add_dest` leaves it."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from math import gcd

MASK32, MASK64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
MH_SLOTS, SH_BITS = 4093, 8
SH_SLOTS = 1 << SH_BITS


@dataclass
class Dest:
    """A destination and its counters."""

    name: int
    weight: int = 1
    active: int = 0
    inactive: int = 0
    address: str = "0.0.0.0"
    port: int = 80
    overloaded: bool = False
    last_weight: int = -1
    upper: int = 0
    lower: int = 0

    def __post_init__(self) -> None:
        if self.last_weight < 0:
            self.last_weight = self.weight

    @property
    def available(self) -> bool:
        """May have a new connection."""
        return self.weight > 0 and not self.overloaded

    @property
    def overhead(self) -> int:
        """An active one weighs as much as 256 inactive ones."""
        return (self.active << 8) + self.inactive


def lc(dests: list[Dest]) -> Dest | None:
    return min((d for d in dests if d.available), key=lambda d: d.overhead, default=None)


def wlc(dests: list[Dest]) -> Dest | None:
    return _least(dests, lambda d: d.overhead)


def sed(dests: list[Dest]) -> Dest | None:
    return _least(dests, lambda d: d.active + 1)


def nq(dests: list[Dest]) -> Dest | None:
    idle = next((d for d in dests if d.available and d.active == 0), None)
    return idle or sed(dests)


def fo(dests: list[Dest]) -> Dest | None:
    return max((d for d in dests if d.available), key=lambda d: d.weight, default=None)


def ovf(dests: list[Dest]) -> Dest | None:
    return fo([d for d in dests if d.active <= d.weight])


def _least(dests: list[Dest], load: Callable[[Dest], int]) -> Dest | None:
    best: Dest | None = None
    for dest in dests:
        if not dest.available:
            continue
        if best is None or load(best) * dest.weight > load(dest) * best.weight:
            best = dest
    return best


def fold(address: str) -> int:
    """An address as one 32-bit word."""
    packed = ip_address(address).packed
    word = 0
    for at in range(0, len(packed), 4):
        word ^= int.from_bytes(packed[at : at + 4])
    return word


def sh_hash(address: str, port: int, offset: int = 0) -> int:
    """hash_32 multiplies by the golden ratio and takes the highest bits."""
    golden = (port + fold(address)) * 0x61C88647 & MASK32
    return (offset + (golden >> 32 - SH_BITS)) % SH_SLOTS


def dh_hash(address: str) -> int:
    return (fold(address) * 0x61C88647 & MASK32) >> 32 - SH_BITS


def siphash13(word: int, key: int) -> int:
    """hsiphash() of four bytes on a 64-bit kernel."""
    v0, v1 = 0x736F6D6570736575 ^ key, 0x646F72616E646F6D ^ key
    v2, v3 = 0x6C7967656E657261 ^ key, 0x7465646279746573 ^ key

    def rotl(value: int, bits: int) -> int:
        return (value << bits | value >> 64 - bits) & MASK64

    def sipround(v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
        v0 = (v0 + v1) & MASK64
        v1 = rotl(v1, 13) ^ v0
        v0 = rotl(v0, 32)
        v2 = (v2 + v3) & MASK64
        v3 = rotl(v3, 16) ^ v2
        v0 = (v0 + v3) & MASK64
        v3 = rotl(v3, 21) ^ v0
        v2 = (v2 + v1) & MASK64
        v1 = rotl(v1, 17) ^ v2
        v2 = rotl(v2, 32)
        return v0, v1, v2, v3

    block = 4 << 56 | word
    v0, v1, v2, v3 = sipround(v0, v1, v2, v3 ^ block)
    v0, v2 = v0 ^ block, v2 ^ 0xFF
    for _ in range(3):
        v0, v1, v2, v3 = sipround(v0, v1, v2, v3)
    return (v0 ^ v1 ^ v2 ^ v3) & MASK32


def mh_hash(address: str, port: int, key: int, offset: int = 0) -> int:
    return siphash13((offset + port + fold(address)) & MASK32, key)


KEY1, KEY2 = 2654435761, 2654446892


def sh_table(dests: list[Dest]) -> list[Dest]:
    """Round the list, each for as many slots as its weight (0 counts as 1)."""
    table: list[Dest] = []
    while dests and len(table) < SH_SLOTS:
        for dest in dests:
            table += [dest] * max(dest.weight, 1)
    return table[:SH_SLOTS]


def mh_table(dests: list[Dest]) -> list[Dest]:
    weights = [d.last_weight for d in dests]
    step = gcd(*weights) if weights else 0
    if not step:
        return []
    shift = max((max(weights) // step).bit_length() - 6, 0)
    turns = [(w // step >> shift) or int(w != 0) for w in weights]
    place = [mh_hash(d.address, d.port, KEY1) % MH_SLOTS for d in dests]
    skip = [mh_hash(d.address, d.port, KEY2) % (MH_SLOTS - 1) + 1 for d in dests]
    table: dict[int, Dest] = {}
    while True:
        for i, dest in enumerate(dests):
            for _ in range(turns[i]):
                while place[i] in table:
                    place[i] = (place[i] + skip[i]) % MH_SLOTS
                table[place[i]] = dest
                if len(table) == MH_SLOTS:
                    return [table[slot] for slot in range(MH_SLOTS)]


def sh(dests: list[Dest], client: str, port: int = 0, fallback: bool = False) -> Dest | None:
    """`port` 0 without sh-port."""
    table = sh_table(dests)
    if not table:
        return None
    first = sh_hash(client, port)
    offsets = [(first + n) % SH_SLOTS for n in range(SH_SLOTS)] if fallback else []
    return _settled([table[first], *(table[sh_hash(client, port, n)] for n in offsets)])


def dh(dests: list[Dest], vip: str) -> Dest | None:
    """Equal shares; a weight of 0 refuses."""
    if not dests:
        return None
    return _settled([dests[dh_hash(vip) % SH_SLOTS % len(dests)]])


def mh(dests: list[Dest], client: str, port: int = 0, fallback: bool = False) -> Dest | None:
    """`port` 0 without mh-port."""
    table = mh_table(dests)
    if not table:
        return None
    first = mh_hash(client, port, KEY1) % MH_SLOTS
    found = _settled([table[first]])
    for n in range(MH_SLOTS) if fallback and found is None else ():
        slot = mh_hash(client, port, KEY1, (first + n) % MH_SLOTS) % MH_SLOTS
        if table[slot].available:
            return table[slot]
    return found


def _settled(candidates: list[Dest]) -> Dest | None:
    return next((dest for dest in candidates if dest.available), None)
