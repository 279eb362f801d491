"""`trimaran-nginx`: the engine behind nginx's own command line, for whoever calls an nginx binary.

trimaran-nginx -p PREFIX -c FILE -e ERROR_LOG -g DIRECTIVES [-t | -T | -s SIGNAL | -v | -V]
"""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from trimaran.node.nginx_process import VERSION
from trimaran.stack.errors import StackError
from trimaran.system.errors import CannotRunError

DEFAULT_PREFIX, DEFAULT_FILE = "/etc/nginx/", "nginx.conf"
SIGNALS = {
    "stop": signal.SIGTERM,
    "quit": signal.SIGQUIT,
    "reopen": signal.SIGUSR1,
    "reload": signal.SIGHUP,
}
# In nginx's words, what is not there. A module leaves this list when it does all that it claims.
WITHOUT = [
    "http_ssi_module",
    "http_userid_module",
    "http_charset_module",
    "http_fastcgi_module",
    "http_uwsgi_module",
    "http_scgi_module",
    "http_grpc_module",
    "http_memcached_module",
    "http_empty_gif_module",
    "http_browser_module",
    "http_referer_module",
    "http_gzip_module",
    "http_autoindex_module",
    "http_tunnel_module",
    "http-cache",
    "stream_pass_module",
    "stream_upstream_least_time_module",
    "mail_pop3_module",
    "mail_imap_module",
    "mail_smtp_module",
]
WITH = [
    "http_auth_request_module",
    "http_realip_module",
    "http_stub_status_module",
    "stream",
]
USAGE = __doc__.splitlines()[2].strip()


@dataclass
class Arguments:
    """The command line; paths as they were given."""

    prefix: str = DEFAULT_PREFIX
    file: str = DEFAULT_FILE
    error_log: str = ""
    directives: str = ""
    signal: str = ""
    test: bool = False
    dump: bool = False
    quiet: bool = False
    show: str = ""


class UsageError(Exception):
    """An argument that nginx does not know either."""


_TAKES = {"p": "prefix", "c": "file", "e": "error_log", "g": "directives", "s": "signal"}


def arguments(words: list[str]) -> Arguments:
    """The words as nginx reads them: `-pPREFIX` and `-p PREFIX`, letters may be joined. Raises
    UsageError."""
    given = Arguments()
    rest = iter(words)
    for word in rest:
        if not word.startswith("-") or word == "-":
            raise UsageError(f'invalid option: "{word}"')
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            if letter in _TAKES:
                value = letters or next(rest, "")
                if not value:
                    raise UsageError(f'option "-{letter}" requires a parameter')
                setattr(given, _TAKES[letter], value)
                letters = ""
            elif letter in "tT":
                given.test, given.dump = True, given.dump or letter == "T"
            elif letter == "q":
                given.quiet = True
            elif letter in "vV?h":
                given.show = letter
            else:
                raise UsageError(f'invalid option: "{letter}"')
    if given.signal and given.signal not in SIGNALS:
        raise UsageError(f'invalid option: "-s {given.signal}"')
    return given


def version(letter: str) -> str:
    """What -v and -V print."""
    lines = [f"nginx version: nginx/{VERSION} (trimaran)"]
    if letter == "V":
        words = [f"--with-{word}" for word in WITH] + [f"--without-{word}" for word in WITHOUT]
        lines.append("configure arguments: " + " ".join(words))
    return "\n".join(lines)


def main() -> int:
    """The exit code: 0, or 1 for whatever is wrong, as nginx has it."""
    try:
        given = arguments(sys.argv[1:])
    except UsageError as error:
        print(f"nginx: {error}\nUsage: {USAGE}", file=sys.stderr)
        return 1
    if given.show:
        print(version(given.show) if given.show in "vV" else f"Usage: {USAGE}", file=sys.stderr)
        return 0
    try:
        return _act(given)
    except (StackError, OSError, ValueError, CannotRunError) as error:
        for line in str(error).splitlines():
            print(f"nginx: [emerg] {line}", file=sys.stderr)
        if given.test:
            file = Path(given.prefix) / given.file
            print(f"nginx: configuration file {file} test failed", file=sys.stderr)
        return 1


def _act(given: Arguments) -> int:
    from trimaran.node.nginx_process import Configuration, NginxProcess

    configuration = Configuration(
        os.path.join(os.path.abspath(given.prefix), ""),  # noqa: PTH100, PTH118 -- ends in '/'
        given.file,
        given.directives,
        given.error_log,
    )
    if given.signal:
        pid = int(configuration.pid_file().read_text())
        os.kill(pid, SIGNALS[given.signal])
        return 0
    if given.test:
        configuration.check()
        if not given.quiet:
            print(f"nginx: the configuration file {configuration.file} syntax is ok\n"
                  f"nginx: configuration file {configuration.file} test is successful",
                  file=sys.stderr)  # fmt: skip
        for path, text in configuration.files.texts.items() if given.dump else ():
            print(f"# configuration file {path}:\n{text}")
        return 0
    return NginxProcess(configuration).run()


if __name__ == "__main__":
    sys.exit(main())
