"""What ipvsadm 1.31 prints, byte for byte, from the state of a director: trailing blanks, widths
that long addresses overflow, and its order.

Addresses and ports are always numbers (as with -n): names would be asked of a resolver.
"""

from collections.abc import Iterable, Sequence
from enum import Enum
from ipaddress import IPv4Address

from trimaran.director.ipvs import (
    SCTP,
    TCP,
    UDP,
    Address,
    Checksum,
    Connection,
    Counters,
    Daemon,
    DestinationRow,
    Info,
    Mark,
    Method,
    Service,
    ServiceFlag,
    ServiceRow,
    State,
    SyncState,
    Timeouts,
    TunnelKind,
)
from trimaran.director.ipvsadm_order import sorted_destinations, sorted_services

PROTOCOLS = {TCP: "TCP", UDP: "UDP", SCTP: "SCTP"}
SWITCHES = {TCP: "-t", UDP: "-u", SCTP: "--sctp-service"}
METHODS = {
    Method.MASQ: "Masq",
    Method.LOCAL: "Local",
    Method.TUNNEL: "Tunnel",
    Method.ROUTE: "Route",
    Method.BYPASS: "Bypass",
}
METHOD_SWITCHES = {Method.MASQ: "-m", Method.TUNNEL: "-i"}  # the others are -g
TUNNELS = {TunnelKind.IPIP: "ipip", TunnelKind.GUE: "gue", TunnelKind.GRE: "gre"}
CHECKSUMS = {Checksum.NONE: "-c", Checksum.WHOLE: "+c", Checksum.REMOTE: "r+c"}
CHECKSUM_SWITCHES = {
    Checksum.NONE: "--tun-nocsum",
    Checksum.WHOLE: "--tun-csum",
    Checksum.REMOTE: "--tun-remcsum",
}
SCHEDULER_FLAGS = (ServiceFlag.SCHED_1, ServiceFlag.SCHED_2, ServiceFlag.SCHED_3)
FLAG_NAMES = {"sh": ("sh-fallback", "sh-port"), "mh": ("mh-fallback", "mh-port")}
TUNNEL_TITLE = (
    "Prot LocalAddress:Port Scheduler Flags\n"
    "  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn\n"
)
TITLE = (
    "Prot LocalAddress:Port Scheduler Flags\n"
    "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
)


class View(Enum):
    """What a listing tells."""

    PLAIN = "plain"
    STATISTICS = "stats"
    RATES = "rate"
    THRESHOLDS = "thresholds"
    PERSISTENT = "persistent-conn"
    TUNNELS = "tun-info"
    RULES = "save"


COLUMNS = {
    View.STATISTICS: (" %8s %8s %8s %8s %8s", "Conns InPkts OutPkts InBytes OutBytes"),
    View.RATES: (" %8s %8s %8s %8s %8s", "CPS InPPS OutPPS InBPS OutBPS"),
    View.THRESHOLDS: (" %-10s %-10s %-10s %-10s", "Uthreshold Lthreshold ActiveConn InActConn"),
    View.PERSISTENT: (" %-9s %-11s %-10s %-10s", "Weight PersistConn ActiveConn InActConn"),
}


def table(state: State, view: View, *, exact: bool = False, in_order: bool = True) -> str:
    """All services. `exact`: no number is shortened; `in_order`: sorted."""
    rows = sorted_services(state.services) if in_order else list(state.services)
    head = "" if view is View.RULES else _version(state.info)
    text = (_entry(row, view, exact, in_order) for row in rows)
    return head + _title(view) + "".join(text)


def one_service(row: ServiceRow, view: View, *, exact: bool = False, in_order: bool = True) -> str:
    """One service and its destinations."""
    return _title(view) + _entry(row, view, exact, in_order)


def timeouts(given: Timeouts) -> str:
    """Of connections."""
    return f"Timeout (tcp tcpfin udp): {given.tcp_s} {given.tcp_fin_s} {given.udp_s}\n"


def daemons(running: Sequence[Daemon]) -> str:
    """The synchronisation daemons, the master first."""
    return "".join(
        f"{'master' if daemon.state is SyncState.MASTER else 'backup'} sync daemon "
        f"(mcast={daemon.interface}, syncid={daemon.sync_id}, maxlen={daemon.maximum_length}, "
        f"group={daemon.group}, port={daemon.port}, ttl={daemon.ttl})\n"
        for daemon in sorted(running, key=lambda each: each.state)
    )


def connections(rows: Iterable[Connection], *, engines: bool = False) -> str:
    """The flows. `engines`: with what their persistence engines have to say."""
    form = "{:<11} {:<18} {:<18} "
    head = "pro expire " + form.format("state", "source", "virtual")
    if engines:
        head += f"{'destination':<18} {'pe name':<16} pe_data"
    else:
        head += "destination"
    lines = ["IPVS connection entries", head]
    for row in rows:
        expires = f"{row.expires_s // 60:02d}:{row.expires_s % 60:02d}"
        protocol = PROTOCOLS.get(row.protocol, "IP")
        start = f"{protocol:<3} {expires:<6} " + form.format(
            row.state, end(*row.client), end(*row.virtual)
        )
        destination = end(*row.destination)
        if engines and row.engine:
            destination = f"{destination:<16} {row.engine:<18} {row.engine_data}"
        lines.append(start + destination)
    return "".join(f"{line}\n" for line in lines)


def end(address: Address, port: int) -> str:
    """address:port, IPv6 in brackets."""
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"


def name(service: Service) -> str:
    """A service's, in listings."""
    if isinstance(service.key, Mark):
        return f"FWM  {service.key.mark}" + " IPv6" * (service.key.version == 6)
    place = end(service.key.address, service.key.port)
    return f"{PROTOCOLS[service.key.protocol]:<4} {place}"


# --- titles and entries


def _version(info: Info) -> str:
    major, minor, patch = (info.version >> shift & 0xFF for shift in (16, 8, 0))
    return f"IP Virtual Server version {major}.{minor}.{patch} (size={info.table_size})\n"


def _title(view: View) -> str:
    if view is View.RULES:
        return ""
    if view is View.TUNNELS:
        return TUNNEL_TITLE
    if view not in COLUMNS:
        return TITLE
    form, names = COLUMNS[view]
    columns = form % tuple(names.split())
    return f"{'Prot LocalAddress:Port':<33}{columns}\n  -> RemoteAddress:Port\n"


def _entry(row: ServiceRow, view: View, exact: bool, in_order: bool) -> str:
    rows = sorted_destinations(row.destinations) if in_order else row.destinations
    if view is View.RULES:
        place = _rule_name(row.service)
        lines = [f"-A {place} -s {row.service.scheduler}{_rule_options(row.service)}"]
        lines += [f"-a {place} {_rule(each)}" for each in rows]
    else:
        lines = [_service_line(row, view, exact)]
        lines += [_destination_line(each, view, exact) for each in rows]
    return "".join(f"{line}\n" for line in lines)


def _service_line(row: ServiceRow, view: View, exact: bool) -> str:
    if view in (View.STATISTICS, View.RATES):
        return f"{name(row.service):<33}" + "".join(_numbers(row.counters, view, exact))
    return f"{name(row.service)} {row.service.scheduler}{_options(row.service)}"


def _destination_line(row: DestinationRow, view: View, exact: bool) -> str:
    there, load = row.destination, row.load
    start = f"  -> {end(there.address, there.port):<28}"
    if view in (View.STATISTICS, View.RATES):
        numbers = _numbers(row.counters, view, exact)
        if view is View.RATES:  # of a destination, these are never shortened
            numbers[:3] = _numbers(row.counters, view, True)[:3]
        return start + "".join(numbers)
    values: tuple[int | str, ...]
    if view is View.THRESHOLDS:
        values = (there.upper, there.lower, load.active, load.inactive)
        return start + COLUMNS[view][0] % values
    if view is View.PERSISTENT:
        values = (there.weight, load.persistent, load.active, load.inactive)
        return start + COLUMNS[view][0] % values
    middle = f"{_tunnel(row):<13} " if view is View.TUNNELS else ""
    counts = f"{load.active:<10} {load.inactive:<10}"
    return f"{start} {METHODS[there.method]:<7} {middle}{there.weight:<6} {counts}"


def _tunnel(row: DestinationRow) -> str:
    tunnel = row.destination.tunnel
    if row.destination.method is not Method.TUNNEL:
        return "n/a"
    parts = [TUNNELS[tunnel.kind]]
    if tunnel.kind is TunnelKind.GUE:
        parts.append(str(tunnel.port))
    if tunnel.kind is not TunnelKind.IPIP:
        parts.append(CHECKSUMS[tunnel.checksum])
    return ":".join(parts)


def _options(service: Service) -> str:
    words = ""
    names = _flag_names(service)
    if names:
        words += f" ({','.join(names)})"
    if service.flags & ServiceFlag.PERSISTENT:
        words += f" persistent {service.timeout_s}"
        words += f" mask {_mask(service)}" if service.netmask is not None else ""
        words += f" pe {service.engine}" if service.engine else ""
    return words + " ops" * bool(service.flags & ServiceFlag.ONE_PACKET)


def _numbers(counters: Counters, view: View, exact: bool) -> list[str]:
    values = (
        counters.connections,
        counters.in_packets,
        counters.out_packets,
        counters.in_bytes,
        counters.out_bytes,
    )
    if view is View.RATES:
        values = (
            counters.connections_s,
            counters.in_packets_s,
            counters.out_packets_s,
            counters.in_bytes_s,
            counters.out_bytes_s,
        )
    return [_large(value, exact) for value in values]


def _large(value: int, exact: bool) -> str:
    """Nine columns; what is longer has a unit, or, exact, a blank before it."""
    if exact:
        return f" {value:>8}"
    for bound, divisor, unit in (
        (10**8, 1, ""),
        (10**9, 10**3, "K"),
        (10**11, 10**6, "M"),
        (10**14, 10**9, "G"),
    ):
        if value < bound:
            return f"{value // divisor}{unit}".rjust(9)
    return f"{value // 10**12}T".rjust(9)


# --- rules, as -S saves and -R restores them; thresholds are not among them


def _rule_name(service: Service) -> str:
    if isinstance(service.key, Mark):
        return f"-f {service.key.mark}" + " -6" * (service.key.version == 6)
    return f"{SWITCHES[service.key.protocol]} {end(service.key.address, service.key.port)}"


def _rule_options(service: Service) -> str:
    words = ""
    if service.flags & ServiceFlag.PERSISTENT:
        words += f" -p {service.timeout_s}"
        words += f" -M {_mask(service)}" if service.netmask is not None else ""
        words += f" --pe {service.engine}" if service.engine else ""
    words += " -o" * bool(service.flags & ServiceFlag.ONE_PACKET)
    names = _flag_names(service)
    return words + (f" -b {','.join(names)}" if names else "")


def _rule(row: DestinationRow) -> str:
    there, tunnel = row.destination, row.destination.tunnel
    place = end(there.address, there.port)
    words = f"-r {place} {METHOD_SWITCHES.get(there.method, '-g')} -w {there.weight}"
    if there.method is not Method.TUNNEL:
        return words
    words += f" --tun-type {TUNNELS[tunnel.kind]}"
    words += f" --tun-port {tunnel.port}" if tunnel.kind is TunnelKind.GUE else ""
    if tunnel.kind is not TunnelKind.IPIP:
        words += f" {CHECKSUM_SWITCHES[tunnel.checksum]}"
    return words


def _flag_names(service: Service) -> list[str]:
    names = FLAG_NAMES.get(service.scheduler, ("flag-1", "flag-2", "flag-3"))
    pairs = zip(SCHEDULER_FLAGS, names, strict=False)  # sh and mh have no third one
    return [name for flag, name in pairs if service.flags & flag]


def _mask(service: Service) -> str:
    assert service.netmask is not None
    if service.key.version == 4:
        return str(IPv4Address(service.netmask))
    return str(service.netmask)
