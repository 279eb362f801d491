"""keepalived's `authentication` and `auth_hmac` blocks of an instance."""

from posixpath import dirname
from typing import Any

from pydantic import SecretStr

from trimaran.stack.authentication import (
    Authentication,
    with_keys,
)
from trimaran.stack.blocks import Statement
from trimaran.stack.directives import refuse
from trimaran.stack.files import Files
from trimaran.stack.keepalived_directives import AUTHENTICATION, HMAC
from trimaran.stack.keepalived_options import OptionReader, Options
from trimaran.stack.values import choice, integer

_MODES = {each: each for each in ("enforce", "permissive", "receive-only")}


class AuthenticationReader(OptionReader):
    """Reads both; `files` hold keys."""

    files: Files

    def _authenticates(self, options: Options, ipv6: bool) -> Authentication | None:
        if "auth_hmac" not in options:
            return self._password(options, ipv6)
        if "authentication" in options:
            message = "cannot be combined with auth_hmac, which counts alone"
            self.walk.explain(options["authentication"], message)
        return self._hmac(options["auth_hmac"])

    def _password(self, options: Options, ipv6: bool) -> Authentication | None:
        statement = options.get("authentication")
        if statement is None:
            return None
        inner = self._options(statement.block or (), AUTHENTICATION)
        kind = self._value(inner, "auth_type", choice({"pass": "pass", "ah": "ah"}), "pass")
        if not self._required(inner, "auth_type", statement):
            return None
        if kind == "ah" and ipv6:
            self.walk.refuse(inner["auth_type"], "is not possible with IPv6", "use auth_hmac")
        if not self._required(inner, "auth_pass", statement):
            return None
        password = inner["auth_pass"].arguments[0]
        if not password:
            self.walk.refuse(inner["auth_pass"], "is empty")
        if len(password.encode(errors="surrogateescape")) > 8:
            message = (
                "longer than 8 bytes: only the first 8 are used, as VRRPv2 has no room for more"
            )
            self.walk.warn(inner["auth_pass"].place, "auth_pass", message)
        return Authentication(type=kind, password=SecretStr(password))

    def _hmac(self, statement: Statement) -> Authentication | None:
        inner = self._options(statement.block or (), HMAC)
        keys = [each for each in statement.block or () if each.name == "key"]
        if not self._required(inner, "key", statement):
            return None
        found: dict[int, Any] = {}
        for each in keys:
            if len(each.arguments) != 2:
                continue  # said by the walk
            number = self._value({"key": each}, "key", _number, 1)
            if number in found:
                self.walk.refuse(each, f"{number} is there already")
            found[number] = SecretStr(each.arguments[1])
        active = self._value(inner, "active_key", integer(1, 255), 1)
        if not self._required(inner, "active_key", statement):
            return None
        if active not in found:
            self.walk.refuse(inner["active_key"], f"there is no key {active}")
        read = self._build(
            Authentication,
            statement,
            type="hmac",
            keys=found,
            active=active,
            replay=self._value(
                inner, "anti_replay", choice({"time": "time", "monotonic": "monotonic"}), "time"
            ),
            window=self._value(inner, "time_window", integer(1, 300), None),
            mode=self._value(inner, "mode", choice(_MODES), "enforce"),
        )
        if read is None:
            return None
        read, wrong = with_keys(read, self.files, dirname(statement.place.file))
        for each in keys:
            number = self._value({"key": each}, "key", _number, 0)
            if number in wrong:
                self.walk.refuse(each, f"{number} {wrong[number]}")
        return read


def _number(text: str) -> int:
    """Does not repeat what may be a key in a wrong place."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= 255):
        refuse("takes a number from 1 to 255, and then the key")
    return int(text)
