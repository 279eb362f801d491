"""What of an nginx.conf (and of `-g`) concerns the process and not what it serves."""

from dataclasses import dataclass, replace
from posixpath import dirname, join

from trimaran.stack.blocks import NGINX, Statement, parse
from trimaran.stack.files import Files
from trimaran.stack.nginx_include import include
from trimaran.stack.nginx_values import time
from trimaran.stack.source import Source


@dataclass(frozen=True)
class Main:
    """Paths as they are written; `error_logs` are (path, least level);
    `shutdown_timeout` in seconds, None is without limit."""

    pid: str = "logs/nginx.pid"
    error_logs: tuple[tuple[str, str], ...] = (("logs/error.log", "error"),)
    default_logs: bool = True
    daemon: bool = True
    user: str = "nobody"
    shutdown_timeout: float | None = None


def read_main(text: str, file: str, files: Files, main: Main) -> Main:
    """`main`, with what a text says about the process. Raises StackError."""
    statements, _, _ = include(parse(Source.of(text, file), NGINX), dirname(file), files)
    for statement in statements:
        main = _with(main, statement)
    return main


def _with(main: Main, statement: Statement) -> Main:
    if not statement.arguments:
        return main
    value = statement.arguments[0]
    match statement.name:
        case "pid":
            return replace(main, pid=value)
        case "error_log":
            level = statement.arguments[1] if statement.arguments[1:] else "error"
            before = () if main.default_logs else main.error_logs
            return replace(main, error_logs=(*before, (value, level)), default_logs=False)
        case "daemon":
            return replace(main, daemon=value != "off")
        case "user":
            return replace(main, user=value)
        case "worker_shutdown_timeout":
            return replace(main, shutdown_timeout=time(value))
    return main


def below(prefix: str, path: str) -> str:
    """A path of the file, which is relative to the prefix."""
    return join(prefix, path)
