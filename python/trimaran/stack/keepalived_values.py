"""Values of keepalived's options, and what of them is supported. What is not is a RefusedError."""

import re
from collections.abc import Callable

from trimaran.stack.blocks import Statement
from trimaran.stack.directives import refuse
from trimaran.stack.values import choice, integer, seconds

LONGEST_S = 86400.0


def address_options(entry: Statement) -> tuple[str | None, list[str]]:
    """The interface that one virtual address names, and its options that have no effect. Raises
    RefusedError."""
    idle: list[str] = []
    device = None
    words = iter(entry.arguments)
    for name in words:
        if name == "dev":
            device = interface_name(next(words, ""))
        elif name == "peer":
            refuse("peer addresses are not possible: an address with a lifetime has none")
        elif name in ("brd", "broadcast", "scope", "label", "preferred_lft", "track_group"):
            idle.append(f"{name} {next(words, '')}")
        elif name in ("no_track", "track", "home", "-nodad", "mngtmpaddr", "noprefixroute",
                      "autojoin", "use_vmac"):  # fmt: skip
            idle.append(name)
        else:
            refuse(f"unknown option '{name}' of an address")
    return device, idle


def interface_name(text: str) -> str:
    if not re.fullmatch(r"[^\s/:]{1,15}", text):
        refuse(f"'{text}' is no name of an interface")
    return text


def spoken_version(text: str) -> int:
    return integer(2, 3)(text)


def multicast_group(text: str) -> str:
    if text not in ("224.0.0.18", "ff02::12"):
        refuse(f"{text} is not supported yet", "adverts go to 224.0.0.18 and ff02::12")
    return text


def boolean(text: str) -> bool:
    words = {"on": "on", "true": "on", "yes": "on", "off": "", "false": "", "no": ""}
    return bool(choice(words)(text))


def track_options(entry: Statement) -> tuple[int | None, bool]:
    """Weight (None: not given) and reverse. Raises RefusedError."""
    weight, reverse = None, False
    words = iter(entry.arguments)
    for name in words:
        if name == "weight":
            text = next(words, "")
            reverse = reverse or text == "reverse"
            weight = weight if text == "reverse" else integer(-253, 253)(text)
        elif name in ("reverse", "noreverse"):
            reverse = name == "reverse"
        else:
            refuse(f"takes `weight` and `reverse`, not '{name}'")
    return weight, reverse


def initial_state(text: str) -> str:
    return choice({"master": "master", "backup": "backup"})(text)


def advert_interval(version: int) -> Callable[[str], float]:
    """Seconds: whole ones in version 2, hundredths in version 3."""

    def convert(text: str) -> float:
        value = seconds(1, 255)(text) if version == 2 else seconds(0.01, 40.95)(text)
        if version == 2 and value != int(value):
            refuse(f"{text}: VRRP version 2 has whole seconds", "write `version 3`")
        return value if version == 2 else round(value * 100) / 100

    return convert
