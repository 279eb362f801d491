"""What the program made of a packet, in words. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from trimaran.director.packet import Question
from trimaran.director.reasons import EXPLAINED, NOTICES

Verdict = Literal["forwarded", "dropped", "answered", "local"]
STATES = ("NONE", "ESTABLISHED", "SYN_RECV", "FIN_WAIT", "TIME_WAIT", "CLOSE", "UDP")
ADOPTED, SYNCED, WAITING = 1, 2, 4  # bpf/layout.h, flow_flags
ETHERNET_BYTES = 14


@dataclass(frozen=True)
class KnownFlow:
    """The packet's flow as it is in the table: `real` is an index."""

    real: int
    state: int
    flags: int
    age_s: int


@dataclass(frozen=True)
class Outcome:
    """What a run of the program said: `real` is the index of whom the flow is pinned to after it,
    `packet` the frame as it left, `reasons` are those met."""

    verdict: Verdict
    packet: bytes
    flow: KnownFlow | None
    real: int | None
    reasons: tuple[str, ...]


Row = dict[str, Any]  # of `status`: a service's, a real server's (docs/decisions/0002)
Line = tuple[str, str]  # what it is about, and what is so


def words(
    question: Question,
    outcome: Outcome,
    service: Row | None,
    real: Row | None,
    interface: str,
    hook: str,
) -> list[Line]:
    """The story of the packet. `service` is what serves its address and port, `real` who gets it
    (or would, were it not dropped)."""
    lines = [("packet", _headline(question, outcome, real))]
    if service is None:
        lines.append(("service", "none here has this address and port"))
    else:
        lines.append(("service", _service(service)))
        lines.append(("choice", _choice(outcome, service)))
    if real is not None:
        lines.append(("real server", _real(real)))
        if len(real["checks"]) > 1:
            lines += [("check", _check(check)) for check in real["checks"]]
    elif service is not None:
        lines += [("not chosen", _real(each)) for each in service["real_servers"]]
    lines += _way(outcome, interface, real)
    lines += [("because", f"{name}: {EXPLAINED[name]}") for name in outcome.reasons]
    lines.append(("asked", f"the {hook} program, over the live tables; nothing was changed"))
    return lines


def _headline(question: Question, outcome: Outcome, real: Row | None) -> str:
    kind = question.kind.upper() if question.protocol == "tcp" else "datagram"
    what = _end(question.source, question.source_port)
    what += f" → {_end(question.address, question.port)} ({question.protocol.upper()} {kind})"
    match outcome.verdict:
        case "forwarded":
            return f"{what} is forwarded to {real['name'] if real else 'a real server'}"
        case "dropped":
            drops = [name for name in outcome.reasons if name not in NOTICES]
            return f"{what} is dropped: {', '.join(drops) or 'for no counted reason'}"
        case "answered":
            return f"{what} is dropped, and its sender told why by ICMP"
        case "local":
            if real is not None:
                return f"{what} goes up to this machine, which is {real['name']} itself"
            return f"{what} is not the director's: it goes up to this machine's own stack"


def _service(service: Row) -> str:
    place = _end(service["address"], service["port"] or "every other port")
    return f"{service['name']}, {place}/{service['protocol']}, scheduler {service['scheduler']}"


def _choice(outcome: Outcome, service: Row) -> str:
    flow = outcome.flow
    if flow is not None:
        state = STATES[flow.state] if flow.state < len(STATES) else str(flow.state)
        silent = f"its last packet came {flow.age_s} s ago"
        notes = [
            word
            for bit, word in ((ADOPTED, "its start was not seen here"),
                              (SYNCED, "another director told of it"),
                              (WAITING, "another director may yet tell of it"))
            if flow.flags & bit
        ]  # fmt: skip
        moved = outcome.real not in (None, flow.real)
        said = f"pinned already: the flow is {state}, {silent}"
        said += "".join(f"; {note}" for note in notes)
        return said + "; it has ended or lost its real server, and starts afresh" * moved
    if "no_real_server" in outcome.reasons:
        return f"{service['scheduler']} has nobody to choose"
    if "adopted" in outcome.reasons or "table_full" in outcome.reasons:
        return "by the hash that every director shares: no flow of it is known"
    if outcome.real is None:
        return "no flow of it is known, and none begins"
    return f"chosen now: the turn of {service['scheduler']}; a real one would pin its flow so"


def _real(real: Row) -> str:
    place = _end(real["address"], real["port"])
    well = "well" if real["well"] else "not well"
    listed = "" if real["listed"] else ", out of the table"
    mode = "" if real["mode"] == "enabled" else f", {real['mode']} ({real['changed']['cause']})"
    last = real["last_check"]
    probed = ", no check yet" if last is None else f", last check {_last(last)}"
    return f"{real['name']} ({place}), weight {real['weight']}, {well}{listed}{mode}{probed}"


def _check(check: Row) -> str:
    if check["ago_s"] is None:
        return f"{check['name']}: not yet"
    return f"{check['name']}: {'up' if check['up'] else 'down'}; {_last(check)}"


def _last(check: Row) -> str:
    outcome = "good" if check["ok"] else f"failed ({check['error']})"
    return f"{outcome} {check['ago_s']:.1f} s ago, took {check['latency_ms']:.1f} ms"


def _way(outcome: Outcome, interface: str, real: Row | None) -> Iterator[Line]:
    if outcome.verdict != "forwarded":
        return
    packet = outcome.packet
    how = "through a tunnel" if real and real["forward"] == "Tunnel" else "direct routing"
    macs = f"to MAC {_mac(packet[:6])} from MAC {_mac(packet[6:12])}"
    yield "way", f"{how} by {interface}, {macs}"


def _mac(data: bytes) -> str:
    return data.hex(":")


def _end(address: object, port: object) -> str:
    return f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"


def service_of(question: Question, services: Iterable[Row]) -> Row | None:
    """The row of what serves its address and port; one for every port where there is no other."""
    there = [
        row
        for row in services
        if row["address"] == str(question.address) and row["protocol"] == question.protocol
    ]
    for port in (question.port, 0):
        for row in there:
            if row["port"] == port:
                return row
    return None
