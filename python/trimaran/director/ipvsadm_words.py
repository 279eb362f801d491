"""The words of ipvsadm's command line: commands, options, and which goes with which."""

from enum import Enum

from trimaran.director.ipvs import ServiceFlag


class Option(Enum):
    """By the names that ipvsadm has for them in its sentences, in the order of its checks."""

    NUMERIC = "numeric"
    CONNECTION = "connection"
    SERVICE = "service-address"
    SCHEDULER = "scheduler"
    PERSISTENT = "persistent"
    NETMASK = "netmask"
    SERVER = "real-server"
    FORWARD = "forwarding-method"
    WEIGHT = "weight"
    UPPER = "u-threshold"
    LOWER = "l-threshold"
    MCAST = "mcast-interface"
    TIMEOUT = "timeout"
    DAEMON = "daemon"
    STATS = "stats"
    RATE = "rate"
    THRESHOLDS = "thresholds"
    PERSISTENT_CONN = "persistent-conn"
    NOSORT = "nosort"
    SYNCID = "syncid"
    EXACT = "exact"
    OPS = "ops"
    ENGINE = "pe"
    FLAGS = "sched-flags"
    MCAST_GROUP = "mcast-group"
    MCAST_PORT = "mcast-port"
    MCAST_TTL = "mcast-ttl"
    MAXLEN = "sync-maxlen"
    TUN_INFO = "tun-info"
    TUN_TYPE = "tun-type"
    TUN_PORT = "tun-port"
    TUN_NOCSUM = "tun-nocsum"
    TUN_CSUM = "tun-csum"
    TUN_REMCSUM = "tun-remcsum"
    SORT = "sort"
    IPV6 = "ipv6"


COMMANDS = {
    "-A": "add-service",
    "-E": "edit-service",
    "-D": "delete-service",
    "-C": "flush",
    "-R": "restore",
    "-S": "save",
    "-a": "add-server",
    "-e": "edit-server",
    "-d": "delete-server",
    "-L": "list",
    "-l": "list",
    "-Z": "zero",
    "-h": "help",
    "-v": "version",
    "--set": "set",
    "--start-daemon": "start-daemon",
    "--stop-daemon": "stop-daemon",
}
OPTIONS = {
    "-t": Option.SERVICE,
    "-u": Option.SERVICE,
    "-f": Option.SERVICE,
    "--sctp-service": Option.SERVICE,
    "-6": Option.IPV6,
    "-s": Option.SCHEDULER,
    "-p": Option.PERSISTENT,
    "-M": Option.NETMASK,
    "-r": Option.SERVER,
    "-m": Option.FORWARD,
    "-i": Option.FORWARD,
    "-g": Option.FORWARD,
    "-w": Option.WEIGHT,
    "-x": Option.UPPER,
    "-y": Option.LOWER,
    "-n": Option.NUMERIC,
    "-c": Option.CONNECTION,
    "-X": Option.EXACT,
    "-o": Option.OPS,
    "-b": Option.FLAGS,
    **{
        f"--{option.value}": option
        for option in (
            Option.TIMEOUT, Option.DAEMON, Option.STATS, Option.RATE, Option.THRESHOLDS,
            Option.PERSISTENT_CONN, Option.NOSORT, Option.SORT, Option.TUN_INFO, Option.TUN_TYPE,
            Option.TUN_PORT, Option.TUN_NOCSUM, Option.TUN_CSUM, Option.TUN_REMCSUM,
            Option.ENGINE, Option.MCAST, Option.MCAST_GROUP, Option.MCAST_PORT,
            Option.MCAST_TTL, Option.SYNCID, Option.MAXLEN,
        )
    },
}  # fmt: skip
SHORT = {
    "add-service": "-A", "edit-service": "-E", "delete-service": "-D", "clear": "-C",
    "restore": "-R", "save": "-S", "add-server": "-a", "edit-server": "-e",
    "delete-server": "-d", "list": "-L", "zero": "-Z", "help": "-h", "version": "-v",
    "tcp-service": "-t", "udp-service": "-u", "fwmark-service": "-f", "ipv6": "-6",
    "scheduler": "-s", "persistent": "-p", "netmask": "-M", "real-server": "-r",
    "masquerading": "-m", "ipip": "-i", "gatewaying": "-g", "weight": "-w",
    "u-threshold": "-x", "l-threshold": "-y", "numeric": "-n", "connection": "-c",
    "exact": "-X", "ops": "-o", "sched-flags": "-b",
}  # fmt: skip
LONG = {
    **{f"--{name}": short for name, short in SHORT.items()},
    **{name: name for name in (*OPTIONS, *COMMANDS) if name.startswith("--")},
}
TAKES_VALUE = {
    "-t", "-u", "-f", "--sctp-service", "-s", "-p", "-M", "-r", "-w", "-x", "-y", "-b",
    "--tun-type", "--tun-port", "--pe", "--mcast-interface", "--mcast-group", "--mcast-port",
    "--mcast-ttl", "--syncid", "--sync-maxlen", "--start-daemon", "--stop-daemon",
}  # fmt: skip

_SERVICE = {
    Option.SERVICE: "+", Option.SCHEDULER: "*", Option.PERSISTENT: "*", Option.NETMASK: "*",
    Option.OPS: "*", Option.ENGINE: "*", Option.FLAGS: "*",
}  # fmt: skip
_SERVER = {
    Option.SERVICE: "+", Option.SERVER: "+", Option.FORWARD: "*", Option.WEIGHT: "*",
    Option.UPPER: "*", Option.LOWER: "*", Option.TUN_TYPE: "*", Option.TUN_PORT: "*",
    Option.TUN_NOCSUM: "*", Option.TUN_CSUM: "*", Option.TUN_REMCSUM: "*",
}  # fmt: skip
RULES: dict[str, dict[Option, str]] = {
    "add-service": _SERVICE,
    "edit-service": _SERVICE,
    "delete-service": {Option.SERVICE: "+"},
    "flush": {},
    "list": {
        Option.NUMERIC: "*", Option.CONNECTION: "1", Option.SERVICE: "1", Option.TIMEOUT: "1",
        Option.DAEMON: "1", Option.STATS: "*", Option.RATE: "*", Option.THRESHOLDS: "*",
        Option.PERSISTENT_CONN: "*", Option.NOSORT: "*", Option.EXACT: "*",
        Option.TUN_INFO: "*",
    },
    "add-server": _SERVER,
    "delete-server": {Option.SERVICE: "+", Option.SERVER: "+"},
    "edit-server": _SERVER,
    "set": {},
    "start-daemon": {
        Option.MCAST: "*", Option.SYNCID: "*", Option.MCAST_GROUP: "*",
        Option.MCAST_PORT: "*", Option.MCAST_TTL: "*", Option.MAXLEN: "*",
    },
    "stop-daemon": {Option.SYNCID: "*"},
    "restore": {},
    "save": {Option.NUMERIC: "*"},
    "zero": {Option.SERVICE: "*"},
    "help": {},
    "version": {},
}  # fmt: skip

SCHEDULER_FLAGS = {
    "sh-fallback": ("sh", ServiceFlag.SCHED_1),
    "sh-port": ("sh", ServiceFlag.SCHED_2),
    "mh-fallback": ("mh", ServiceFlag.SCHED_1),
    "mh-port": ("mh", ServiceFlag.SCHED_2),
    "flag-1": ("", ServiceFlag.SCHED_1),
    "flag-2": ("", ServiceFlag.SCHED_2),
    "flag-3": ("", ServiceFlag.SCHED_3),
}
