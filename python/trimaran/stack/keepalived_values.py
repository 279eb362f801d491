"""Values of keepalived's options, and what of them is supported. What is not is a RefusedError."""

import re

from trimaran.stack.blocks import Statement
from trimaran.stack.directives import refuse
from trimaran.stack.values import choice, seconds

LONGEST_S = 86400.0


def address_options(entry: Statement, interface: str) -> list[str]:
    """The options of one virtual address that have no effect. Raises RefusedError."""
    idle: list[str] = []
    words = iter(entry.arguments)
    for name in words:
        if name in ("dev", "brd", "broadcast", "scope", "label", "preferred_lft", "peer"):
            value = next(words, "")
            if name == "dev" and value != interface:
                refuse(
                    f"dev {value}: an address is carried by the instance's interface {interface}"
                )
            if name == "peer":
                refuse("peer addresses are not supported yet")
            if name != "dev":
                idle.append(f"{name} {value}")
        elif name in ("no_track", "track", "home", "-nodad", "mngtmpaddr", "noprefixroute",
                      "autojoin"):  # fmt: skip
            idle.append(name)
        else:
            refuse(f"unknown option '{name}' of an address")
    return idle


def interface_name(text: str) -> str:
    if not re.fullmatch(r"[^\s/:]{1,15}", text):
        refuse(f"'{text}' is no name of an interface")
    return text


def spoken_version(text: str) -> int:
    if text != "2":
        refuse(f"{text} is not supported yet", "only VRRP version 2 is spoken today")
    return 2


def multicast_group(text: str) -> str:
    if text != "224.0.0.18":
        refuse(f"{text} is not supported yet", "adverts go to 224.0.0.18")
    return text


def three_adverts(text: str) -> int:
    if text != "3":
        refuse(f"{text} is not supported yet", "RFC 9568's 3 adverts")
    return 3


def initial_state(text: str) -> str:
    return choice({"master": "master", "backup": "backup"})(text)


def auth_type(text: str) -> str:
    return choice({"pass": "pass"}, "AH is not spoken; write `auth_type PASS`")(text)


def advert_interval(text: str) -> float:
    value = seconds(1, 255)(text)
    if value != int(value):
        refuse(f"{text}: VRRP version 2 has whole seconds")
    return value
