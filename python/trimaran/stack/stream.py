"""The stream part of the model: connections passed on without a look inside."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from trimaran.stack.units import Seconds


class StreamModel(BaseModel):
    """Frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StreamListen(StreamModel):
    """A listening address; '0.0.0.0' is every address."""

    address: str = "0.0.0.0"
    port: Annotated[int, Field(ge=1, le=65535)]


class StreamPass(StreamModel):
    """Pass on to `upstream`: a name in `Http.upstreams` ('stream/…'), or a text with $variables.
    `next`: another peer follows one that cannot be connected to; 0 tries or time is no limit."""

    kind: Literal["pass"] = "pass"
    upstream: str
    connect_timeout: Seconds = 60.0
    timeout: Seconds = 600.0
    next: bool = True
    tries: int = 0
    next_timeout: Seconds = 0.0
    half_close: bool = False
    buffer: int = 16 << 10
    upload_rate: str | None = None
    download_rate: str | None = None


class StreamReturn(StreamModel):
    """Say `text` and close."""

    kind: Literal["return"] = "return"
    text: str


class StreamLimit(StreamModel):
    """limit_conn."""

    zone: str
    count: int
    dry_run: bool = False
    status: int = 503
    level: str = "error"


class StreamLog(StreamModel):
    """One access log."""

    path: str
    format: str
    escape: Literal["default", "json", "none"] = "default"
    condition: str | None = None
    held: bool = False


class StreamServer(StreamModel):
    """One server of a `stream` block. `access` is (allowed, network), the first counts; `sets` are
    (variable, value)."""

    listen: Annotated[tuple[StreamListen, ...], Field(min_length=1)]
    action: Annotated[StreamPass | StreamReturn, Field(discriminator="kind")]
    access: tuple[tuple[bool, str], ...] = ()
    counts: tuple[StreamLimit, ...] = ()
    sets: tuple[tuple[str, str], ...] = ()
    logs: tuple[StreamLog, ...] = ()
