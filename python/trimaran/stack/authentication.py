"""How the members of a virtual router prove themselves to each other."""

import re
from posixpath import join
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from trimaran.stack.checks import Model
from trimaran.stack.files import Files
from trimaran.stack.units import Secret

SHORTEST_KEY, LONGEST_KEY = 32, 64  # bytes


class Authentication(Model):
    """`pass`: VRRPv2's eight characters, in clear on the wire (RFC 2338 §5.3.6). `ah`: they are
    the key of HMAC-MD5 instead, and replays are noticed. `hmac`: keepalived's auth_hmac (2.4.2 and
    later), for both versions: a key is 'hex:…', 'file:PATH' or its own characters; `active` is the
    number of the one that we sign with; `replay` by `time` needs clocks that agree within `window`
    seconds (None: three intervals, at least 5)."""

    type: Literal["pass", "ah", "hmac"]
    password: Secret | None = None
    password_file: str | None = None
    keys: dict[Annotated[int, Field(ge=1, le=255)], Secret] = Field(default={})
    active: Annotated[int, Field(ge=1, le=255)] | None = None
    replay: Literal["time", "monotonic"] = "time"
    window: Annotated[int, Field(ge=1, le=300)] | None = None
    mode: Literal["enforce", "permissive", "receive-only"] = "enforce"


def key_bytes(text: str) -> bytes:
    """A key that is no file. Raises ValueError that does not repeat it."""
    digits = text.removeprefix("hex:")
    if digits is not text:
        if not re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", digits):
            raise ValueError("is no row of pairs of hexadecimal digits after 'hex:'")
        key = bytes.fromhex(digits)
    else:
        key = text.encode(errors="surrogateescape")
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise ValueError(f"has {len(key)} bytes; possible: {SHORTEST_KEY} to {LONGEST_KEY}")
    return key


def with_keys(
    wanted: Authentication, files: Files, directory: str
) -> tuple[Authentication, dict[int, str]]:
    """The same with its files read, and what is wrong with which key."""
    keys, wrong = {}, {}
    for number, secret in wanted.keys.items():
        text = secret.get_secret_value()
        try:
            if text.startswith("file:"):
                text = files.read_secret(join(directory, text.removeprefix("file:"))).strip()
            keys[number] = SecretStr(f"hex:{key_bytes(text).hex()}")
        except UnicodeDecodeError:
            wrong[number] = "is no text"
        except OSError as error:
            wrong[number] = f"cannot be read: {error.strerror}"
        except ValueError as error:
            wrong[number] = str(error)
    return wanted.model_copy(update={"keys": keys}), wrong
