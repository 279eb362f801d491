"""ipvsadm's arguments -> what is asked for; its mistakes and their sentences are ipvsadm 1.31's.

The first argument is the command; every option has a rule for each command (RULES): '+' it must
be there, '1' one of these at most, '*' it may be there; elsewhere it is illegal. Options are
checked in the order of Option.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_address

from trimaran.director.ipvs import (
    SCTP,
    TCP,
    UDP,
    Address,
    Checksum,
    Daemon,
    Destination,
    Listen,
    Mark,
    Method,
    Service,
    ServiceFlag,
    SyncState,
    Timeouts,
    Tunnel,
    TunnelKind,
)
from trimaran.director.ipvsadm_words import (
    COMMANDS,
    LONG,
    OPTIONS,
    RULES,
    SCHEDULER_FLAGS,
    TAKES_VALUE,
    Option,
)

DEFAULT_SCHEDULER = "wlc"
DEFAULT_PERSISTENCE_S = 360
LONGEST_TIMEOUT_S = 86400 * 31
INT_MAX = 2**31 - 1
TRY_HELP = "Try `ipvsadm -h' or 'ipvsadm --help' for more information."
TUNNELS = {"ipip": TunnelKind.IPIP, "gue": TunnelKind.GUE, "gre": TunnelKind.GRE}
CHECKSUMS = {
    Option.TUN_NOCSUM: Checksum.NONE,
    Option.TUN_CSUM: Checksum.WHOLE,
    Option.TUN_REMCSUM: Checksum.REMOTE,
}


class UsageError(ValueError):
    """What ipvsadm says of it, and its exit status."""

    def __init__(self, sentence: str, status: int = 2) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Call:
    """`command` is the word of COMMANDS (add-service, list, ...); `options` what was given."""

    command: str
    options: frozenset[Option] = frozenset()
    service: Service | None = None
    destination: Destination | None = None
    timeouts: Timeouts | None = None
    daemon: Daemon | None = None


@dataclass
class _Given:
    """What was read so far, in the order in which it came."""

    options: dict[Option, str] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)
    protocol: int = TCP
    address: Address | None = None
    port: int = 0
    mark: int = 0
    version: int = 4
    netmask: int | None = None
    real: tuple[Address, int] | None = None
    method: Method = Method.ROUTE
    numbers: dict[Option, int] = field(default_factory=dict)


def parse(arguments: Sequence[str]) -> Call:
    """Raises UsageError."""
    words = _words(arguments)
    try:
        name, value = next(words, ("", ""))
    except UsageError:
        raise UsageError(TRY_HELP, 255) from None
    command = COMMANDS.get(name)
    if command is None:
        raise UsageError(TRY_HELP, 255)
    given = _Given()
    state = _sync_state(command, value)
    for word, argument in words:
        if not word:
            given.rest.append(argument)
            continue
        option = OPTIONS.get(word)
        if option is None:
            raise UsageError(f"invalid option `{word}'")
        _take(given, option, word, argument)
    timeouts = _timeouts(given) if command == "set" else None
    if given.rest:
        raise UsageError(f"unexpected argument {given.rest[0]}")
    _check_rules(command, given)
    return _call(command, given, state, timeouts)


def _words(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(option, its value) by popt's rules; ('', word) for what is no option."""
    left = list(arguments)
    while left:
        word = left.pop(0)
        if not word.startswith("-") or word == "-":
            yield "", word
        elif word.startswith("--"):
            long, equals, value = word.partition("=")
            short = LONG.get(long)
            if short is None:
                raise UsageError(f"{word}: unknown option", 255)
            yield short, value if equals else _value(short, word, left)
        else:
            for at, letter in enumerate(word[1:], 1):
                short = f"-{letter}"
                if short not in OPTIONS and short not in COMMANDS:
                    raise UsageError(f"-{letter}: unknown option", 255)
                if short in TAKES_VALUE and word[at + 1 :]:
                    yield short, word[at + 1 :].removeprefix("=")
                    break
                yield short, _value(short, short, left)


def _value(short: str, word: str, left: list[str]) -> str:
    if short not in TAKES_VALUE:
        return ""
    if short == "-p":  # its value may be left out
        return left.pop(0) if left and not left[0].startswith("-") else ""
    if not left:
        raise UsageError(f"{word}: missing argument", 255)
    return left.pop(0)


def _sync_state(command: str, value: str) -> SyncState | None:
    if command not in ("start-daemon", "stop-daemon"):
        return None
    if value not in ("master", "backup"):
        what = "start-daemon parameter" if command == "start-daemon" else "start_daemon"
        raise UsageError(f"illegal {what} specified")
    return SyncState.MASTER if value == "master" else SyncState.BACKUP


def _take(given: _Given, option: Option, word: str, value: str) -> None:
    """One option, and its value's mistakes."""
    if option is Option.SORT:
        return
    if option is Option.IPV6:
        if not given.mark:
            raise UsageError("-6 used before -f\n")
        given.version, given.netmask = 6, None
        return
    if option in given.options:
        raise UsageError(f"multiple '{option.value}' options specified")
    given.options[option] = value
    match option:
        case Option.SERVICE if word == "-f":
            given.mark = _mark(value)
        case Option.SERVICE:
            given.protocol = {"-t": TCP, "-u": UDP}.get(word, SCTP)
            place = _place(value)
            if place is None:
                raise UsageError("illegal virtual server address[:port] specified")
            given.address, port = place
            given.port, given.version = port or 0, given.address.version
        case Option.SERVER:
            place = _place(value)
            if place is None:
                raise UsageError("illegal real server address[:port] specified")
            given.real = (place[0], given.port if place[1] is None else place[1])
        case Option.PERSISTENT:
            given.numbers[option] = _timeout(value, 1) if value else DEFAULT_PERSISTENCE_S
        case Option.NETMASK:
            given.netmask = _netmask(value, given.version)
        case Option.FORWARD:
            given.method = {"-m": Method.MASQ, "-i": Method.TUNNEL}.get(word, Method.ROUTE)
        case Option.WEIGHT:
            given.numbers[option] = _number(value, 0, INT_MAX, "illegal weight specified")
        case Option.UPPER | Option.LOWER:
            letter = "u" if option is Option.UPPER else "l"
            sentence = f"illegal {letter}_threshold specified"
            given.numbers[option] = _number(value, 0, INT_MAX, sentence)
        case Option.SYNCID:
            given.numbers[option] = _number(value, 0, 255, "illegal syncid specified")
        case Option.MCAST_PORT:
            given.numbers[option] = _number(value, 1, 65535, "illegal mcast-port specified")
        case Option.MCAST_TTL:
            given.numbers[option] = _number(value, 1, 255, "illegal mcast-ttl specified")
        case Option.MAXLEN:
            given.numbers[option] = _number(value, 1, 65535, "illegal sync-maxlen specified")
        case Option.TUN_PORT:
            given.numbers[option] = _number(value, 1, 65535, "illegal tunnel port specified")
        case Option.TUN_TYPE if value not in TUNNELS:
            raise UsageError("illegal tunnel type specified")


# --- values


def _number(word: str, least: int, most: int, sentence: str) -> int:
    sign = word[:1] in "+-" and bool(word)
    digits = word[1:] if sign else word
    if not (digits.isascii() and digits.isdigit()) or not least <= int(word) <= most:
        raise UsageError(sentence)
    return int(word)


def _timeout(word: str, least: int) -> int:
    return _number(word, least, LONGEST_TIMEOUT_S, f"invalid timeout value `{word}' specified")


def _mark(word: str) -> int:
    return _number(word, 1, 2**32 - 1, f"invalid fwmark value `{word}' specified")


def _netmask(word: str, version: int) -> int | None:
    if version == 6:
        prefix = int(word) if word.isascii() and word.isdigit() else 0
        if not 1 <= prefix <= 128:
            raise UsageError("illegal ipv6 netmask specified")
        return None if prefix == 128 else prefix
    try:
        mask = int(IPv4Address(word))
    except ValueError:
        raise UsageError("illegal virtual server persistent mask specified") from None
    return None if mask == 0xFFFFFFFF else mask


def _place(word: str) -> tuple[Address, int | None] | None:
    """Address and port of 10.0.0.1, 10.0.0.1:80 or [fd00::1]:80; names are not looked up."""
    host, colon, port = word.rpartition(":")
    if word.startswith("["):
        if not host.endswith("]"):
            return None
        host = host[1:-1]
    elif not colon or ":" in host:
        host, port = word, ""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if word.startswith("[") != (address.version == 6) and colon and port:
        return None
    if not port:
        return address, None
    digits = port.isascii() and port.isdigit() and int(port) <= 65535
    return (address, int(port)) if digits else None


def _timeouts(given: _Given) -> Timeouts:
    if len(given.rest) < 3:
        raise UsageError("--set option requires 3 timeout values")
    values = [_timeout(word, 0) for word in given.rest[:3]]
    del given.rest[:3]
    return Timeouts(*values)


# --- rules


def _check_rules(command: str, given: _Given) -> None:
    rules, exclusive = RULES[command], ""
    for option in Option:
        rule = rules.get(option, "")
        if option not in given.options:
            if rule == "+":
                raise UsageError(
                    f"You need to supply the '{option.value}' option for the '{command}' command"
                )
        elif not rule:
            raise UsageError(f"Illegal '{option.value}' option with the '{command}' command")
        elif rule == "1":
            if exclusive:
                raise UsageError(
                    f"The option '{option.value}' conflicts with the '{exclusive}' option"
                    f" in the '{command}' command"
                )
            exclusive = option.value


def _call(command: str, given: _Given, state: SyncState | None, timeouts: Timeouts | None) -> Call:
    options = frozenset(given.options)
    service = _service(command, given)
    destination = _destination(command, given)
    if command == "list":
        _check_list(options)
    daemon = _daemon(given, state) if state is not None else None
    return Call(command, options, service, destination, timeouts, daemon)


def _service(command: str, given: _Given) -> Service | None:
    if Option.SERVICE not in given.options:
        return None
    key: Mark | Listen
    if given.mark:
        key = Mark(given.mark, given.version)
    else:
        assert given.address is not None
        key = Listen(given.protocol, given.address, given.port)
    service = Service(key, given.options.get(Option.SCHEDULER, ""))
    if command not in ("add-service", "edit-service"):
        return service
    flags = ServiceFlag(0)
    if Option.PERSISTENT in given.options:
        flags |= ServiceFlag.PERSISTENT
    elif isinstance(key, Listen) and not key.port:
        raise UsageError("Zero port specified for non-persistent service")
    if Option.OPS in given.options:
        if isinstance(key, Listen) and key.protocol != UDP:
            raise UsageError("One-Packet Scheduling is only for UDP virtual services")
        flags |= ServiceFlag.ONE_PACKET
    scheduler = service.scheduler or DEFAULT_SCHEDULER
    return replace(
        service,
        scheduler=scheduler,
        flags=flags | _scheduler_flags(scheduler, given.options.get(Option.FLAGS, "")),
        timeout_s=given.numbers.get(Option.PERSISTENT, 0),
        netmask=given.netmask,
        engine=given.options.get(Option.ENGINE, ""),
    )


def _scheduler_flags(scheduler: str, words: str) -> ServiceFlag:
    flags = ServiceFlag(0)
    for word in words.split(",") if words else ():
        known = SCHEDULER_FLAGS.get(word)
        if known is None:
            raise UsageError(f"invalid scheduler flag `{word}'")
        owner, flag = known
        if owner not in ("", scheduler):
            raise UsageError(f"incompatible scheduler flag `{word}'")
        flags |= flag
    return flags


def _destination(command: str, given: _Given) -> Destination | None:
    if given.real is None:
        return None
    address, port = given.real
    if not given.mark and given.method is not Method.MASQ and command != "delete-server":
        port = given.port  # what is not rewritten cannot have another port
    return Destination(
        address,
        port,
        given.method,
        given.numbers.get(Option.WEIGHT, 1),
        given.numbers.get(Option.UPPER, 0),
        given.numbers.get(Option.LOWER, 0),
        _tunnel(given),
    )


def _tunnel(given: _Given) -> Tunnel:
    tunnelled = [option for option in given.options if option.value.startswith("tun-")]
    if tunnelled and given.method is not Method.TUNNEL and Option.TUN_INFO not in tunnelled:
        raise UsageError("Tunnel options conflict with forward method")
    name = given.options.get(Option.TUN_TYPE, "ipip")
    checksums = [option for option in CHECKSUMS if option in given.options]
    if name == "ipip":
        wrong = [option for option in (Option.TUN_PORT, *CHECKSUMS) if option in given.options]
        if wrong:
            raise UsageError(f"Illegal '{wrong[0].value}' option with the 'ipip' tunnel type")
    if name == "gue" and Option.TUN_PORT not in given.options:
        raise UsageError("You need to supply the 'tun-port' option for the 'gue' tunnel type")
    if len(checksums) > 1:
        one, other = checksums[1].value, checksums[0].value
        raise UsageError(
            f"The option '{one}' conflicts with the '{other}' option in the '{name}' tunnel type"
        )
    checksum = CHECKSUMS[checksums[0]] if checksums else Checksum.NONE
    return Tunnel(TUNNELS[name], given.numbers.get(Option.TUN_PORT, 0), checksum)


def _check_list(options: frozenset[Option]) -> None:
    alone = {Option.TIMEOUT, Option.DAEMON}
    numbers = {Option.STATS, Option.RATE, Option.THRESHOLDS}
    if (options & (alone | {Option.CONNECTION}) and options & numbers) or (
        options & alone and Option.PERSISTENT_CONN in options
    ):
        raise UsageError("options conflicts in the list command")


def _daemon(given: _Given, state: SyncState) -> Daemon:
    group = given.options.get(Option.MCAST_GROUP)
    return Daemon(
        state,
        given.options.get(Option.MCAST, "eth0"),
        given.numbers.get(Option.SYNCID, 0),
        given.numbers.get(Option.MAXLEN, 0),
        ip_address(group) if group else None,
        given.numbers.get(Option.MCAST_PORT, 0),
        given.numbers.get(Option.MCAST_TTL, 0),
    )
