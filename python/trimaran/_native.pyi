"""The native module: the L4 data plane driver and the L7 engine."""

from collections.abc import Sequence
from os import PathLike
from typing import Any, final

__all__ = ["Datapath", "Engine", "check_snapshot"]

@final
class Datapath:
    """The director's eBPF maps and the program of one hook ("tc" or "xdp"), loaded and verified.

    Maps are pinned in `pin_directory` (on bpffs) and adopted from there when they have this
    build's layout and `max_flows`; with None they end with the object. Addresses are text,
    protocols numbers, a hop is (destination MAC, source MAC, interface index, MTU). OSError: the
    kernel refused, and says what; ValueError: past a limit of the maps. Calls may come from any
    thread, one at a time is served.
    """

    def __new__(
        cls,
        pin_directory: str | PathLike[str] | None = None,
        *,
        max_flows: int,
        max_flows6: int = 1,
        max_clients: int = 1024,
        hook: str = "tc",
    ) -> Datapath: ...
    @property
    def adopted(self) -> bool:
        """The maps were found pinned, with their flows."""
    def program(self, hook: str) -> tuple[int, int]:
        """The descriptor (the object's own: do not close it) and kernel-wide id of that hook's
        program, over the same maps."""
    def set_station(self, mac: bytes) -> None:
        """The MAC that frames for this machine have; XDP heeds no other."""
    @staticmethod
    def program_of(program_id: int) -> tuple[str, int] | None:
        """The name of any loaded program and a descriptor of it, the caller's to close; None: there
        is no such program."""
    def unpin(self) -> None:
        """Remove the pins; idempotent."""
    def services(self) -> list[tuple[str, int, int, int, int, int, int, int]]:
        """(address, port, protocol, index, flags, scheduler, granularity, persistence_s); port 0 is
        every other port, protocol 0 marks the address itself."""
    def set_service(
        self,
        address: str,
        port: int,
        protocol: int,
        index: int,
        flags: int = 0,
        scheduler: int = 0,
        granularity: int = 0,
        persistence_s: int = 0,
    ) -> None:
        """Serve this address and port with the table of that index. Flags and schedulers are
        bpf/layout.h's; `granularity`: how many bits of its address make a client that persists."""
    def remove_service(self, address: str, port: int, protocol: int) -> None:
        """Serve it no longer; idempotent."""
    def table(self, service: int) -> list[int]:
        """The real servers' indices in turn; [] where no table was set."""
    def set_table(self, service: int, slots: Sequence[int]) -> None:
        """Swap a service's table at once; on return no packet is still using the old one."""
    def set_tables(
        self,
        tables: Sequence[tuple[int, Sequence[int], Sequence[tuple[int, int, int]]]],
        maglev: Sequence[tuple[int, Sequence[tuple[int, str, int, int]]]] = ...,
    ) -> None:
        """The same of many: (service, reals, levels of an interleaved cycle: (end, weight, count)),
        and of mh, filled here: (service, [(real, address, port, turns)])."""
    def load(self, real: int) -> tuple[int, int, bool]:
        """(active, inactive, overloaded) of a real server, as the program sees it now."""
    def reals(
        self,
    ) -> list[
        tuple[
            int,
            str,
            int,
            int,
            bool,
            bool,
            tuple[bytes, bytes, int, int] | None,
            str,
            tuple[str, int, bool, str] | None,
            int,
            int,
            int,
        ]
    ]:
        """(index, address, port, service, listed, local, hop, forward, tunnel, weight, upper
        and lower threshold) of those in use."""
    def set_real(
        self,
        index: int,
        address: str,
        port: int,
        service: int,
        listed: bool,
        hop: tuple[bytes, bytes, int, int] | None,
        local: bool = False,
        forward: str = "dr",
        tunnel: tuple[str, int, bool, str] | None = None,
        weight: int = 1,
        upper: int = 0,
        lower: int = 0,
    ) -> None:
        """Write a real server. `listed`: its flows are forwarded; `hop` None: MAC not known;
        `local`: it is this machine, and its flows go up; `forward`: dr, nat, or tunnel with
        `tunnel`: (ipip, gue or gre, GUE's port, with checksum, source address), the hop's MTU being
        that inside it. ValueError: no such method."""
    def set_origins(self, rows: list[tuple[int, str, int, str, int, int]]) -> None:
        """The real servers of NAT services, and in whose name they answer, all of them: (real,
        address, port, VIP, VIP's port, protocol). ValueError: too many services share one."""
    def remove_real(self, index: int) -> None:
        """Free an index that no table and no flow names any more, and zero its counters."""
    def counters(self, index: int) -> tuple[int, int, int]:
        """(packets, bytes of IP, connections) of a real server."""
    def reasons(self) -> list[tuple[str, int]]:
        """How often each reason (drops, and what was unusual) was met."""
    def sweep(self, age_s: int = 0) -> tuple[list[tuple[int, int, int]], int, int]:
        """End the flows that were silent too long, and count the rest: ([(real, active,
        inactive)], live, ended). `age_s` looks from so many seconds in the future."""
    def connections(
        self, most: int
    ) -> list[tuple[int, tuple[str, int], tuple[str, int], int, str, int]]:
        """The flows, `most` at most: (protocol, client, service, real, state, seconds until it
        expires)."""
    def start_sync(
        self,
        secret: bytes,
        address: str,
        port: int,
        peers: Sequence[str],
        interval_s: float,
    ) -> None:
        """Exchange flows with the peers from now on, by UDP from address:port in the caller's
        network namespace. At most once."""
    def stop_sync(self) -> None:
        """Tell what is still untold, and end it; idempotent."""
    def sync_status(self) -> dict[str, Any] | None:
        """{"peers": [{"up", "caught_up", "told", "heard", "missed", "resent"}, …in the order of
        start_sync], "learned", "unknown", "full", "refused", "error"}; None: it does not run."""
    def explain(
        self,
        frame: bytes,
        source: str,
        source_port: int,
        address: str,
        port: int,
        protocol: int,
    ) -> dict[str, Any]:
        """What the program would do with a frame of this conversation; nothing that lives is
        changed, for its flows, turns and counters are a copy's. {"verdict", "packet": after it,
        "flow": its (real, state, flags, seconds since its last packet) or None, "real": whom it
        would be pinned to or None, "reasons": those met}. ValueError: the maps are not pinned."""
    def test_run(
        self, frame: bytes, repeat: int = 1, context: bytes | None = None
    ) -> tuple[int, bytes, int]:
        """Run the first program on a frame: (verdict, packet after it, mean ns of one run).
        `context` is what the program is given beside it (struct __sk_buff or xdp_md)."""

@final
class Engine:
    """The L7 engine, serving from construction on. `snapshot` is JSON from proxy.snapshot;
    `listeners` are (address, port, descriptor) of listening sockets, which stay the caller's.
    Raises ValueError for a snapshot that cannot be served, and says why."""

    def __new__(
        cls, snapshot: str, listeners: list[tuple[str, int, int]], workers: int
    ) -> Engine: ...
    def swap(
        self, snapshot: str, listeners: list[tuple[str, int, int | None]] | None = None
    ) -> None:
        """Serve by another snapshot from the next request on; no connection is closed. `listeners`,
        where given, are all that there shall be: None stands for the socket of that address that is
        served already. ValueError as above, everything staying as it was."""
    def check(self, snapshot: str) -> None:
        """Raises ValueError if `swap` would."""
    def stop(self, graceful_timeout_s: float) -> None:
        """Stop accepting, finish what runs, end. What is left after the timeout is cut off."""
    def set_peer(self, upstream: str, peer: str, state: str) -> None:
        """What a peer's probes found: 'up', 'down' or 'drain'. ValueError: there is no such peer,
        or no such state."""
    def status(self) -> str:
        """JSON in the shape of docs/decisions/0002."""
    def events(self) -> list[str]:
        """Peers that went down or came up since the last call, a JSON object each."""
    def event_fd(self) -> int:
        """Readable while there are events."""

def check_snapshot(snapshot: str) -> None:
    """Raises ValueError if an Engine would refuse it. Opens the files that it names."""
