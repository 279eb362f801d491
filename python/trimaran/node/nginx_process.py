"""One process that serves an nginx.conf the way an nginx binary does: pid file, error log, signals.

HUP reads the file again (a bad one changes nothing), USR1 opens the logs anew, QUIT ends when all
is answered, TERM and INT at once. The process that was started is the one in the pid file.
"""

import os
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

from trimaran.node.nginx_log import ErrorLog
from trimaran.proxy.snapshot import snapshot
from trimaran.stack.errors import StackError
from trimaran.stack.http import Http
from trimaran.stack.nginx import read_nginx
from trimaran.stack.nginx_main import Main, below, read_main
from trimaran.system.engine import Engine, EngineError
from trimaran.system.errors import CannotRunError
from trimaran.system.files import DiskFiles
from trimaran.system.sockets import listen_tcp

VERSION = "1.31.4"  # of the nginx whose behaviour is aimed at
ANY = ("0.0.0.0", "::")
BIND_TRIES, BIND_PAUSE_S = 5, 0.5  # as nginx: whoever is just leaving gets a moment
FOR_EVER_S = 30 * 86400.0
_ORDERS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT, signal.SIGTERM, signal.SIGINT)
Address = tuple[str, int]


class RememberedFiles(DiskFiles):
    """Files of the disk, and the texts of those that were read, for -T."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def read(self, path: str) -> str:
        self.texts[path] = super().read(path)
        return self.texts[path]


class Configuration:
    """Where an nginx.conf is and what comes with it on the command line. `prefix` ends in '/'."""

    def __init__(self, prefix: str, file: str, directives: str, error_log: str) -> None:
        self.prefix = prefix
        self.file = below(prefix, file)
        self._directives = directives
        self._error_log = error_log
        self.files = RememberedFiles()

    def main(self) -> Main:
        """What it says of the process. Raises StackError, OSError."""
        given = self._error_log
        main = Main(error_logs=((given, "error"),)) if given else Main()
        main = read_main(self.files.read(self.file), self.file, self.files, main)
        return read_main(self._directives, "-g", self.files, main)

    def http(self) -> Http:
        """What it serves. Raises StackError, OSError."""
        text = self.files.read(self.file)
        http = read_nginx(text, self.file, self.files, self.prefix, ipv6=True)[0]
        posed = {
            "product": ("nginx", f"nginx/{VERSION}"),
            "shutdown_timeout": self.main().shutdown_timeout,
        }
        return http.model_copy(update=posed)

    def check(self) -> None:
        """Raises StackError, OSError or ValueError when it cannot be served."""
        from trimaran._native import check_snapshot

        self.main()
        check_snapshot(snapshot(self.http()))

    def pid_file(self) -> Path:
        """Where the process writes its number."""
        return Path(below(self.prefix, self.main().pid))


class NginxProcess:
    """Engine, listening sockets, and what signals ask of them."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._main = configuration.main()
        self._log = ErrorLog(configuration.prefix, self._main.error_logs)
        self._listeners: dict[Address, socket.socket] = {}

    def run(self) -> int:
        """Serve until told to stop; the exit code."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _ORDERS)
        try:
            http = self._configuration.http()
            self._listeners = self._bound(_addresses(http))
            if self._main.daemon and os.fork():
                os._exit(0)
            engine = Engine(snapshot(http), list(self._listeners.values()), http.workers)
        except (StackError, EngineError, CannotRunError, OSError, ValueError) as error:
            self._log.write("emerg", str(error))
            raise
        pid_file = Path(below(self._configuration.prefix, self._main.pid))
        pid_file.write_text(f"{os.getpid()}\n")
        self._log.write("notice", "serving")
        try:
            while self._obey(engine, signal.sigwait(_ORDERS)):
                pass
        finally:
            with suppress(OSError):
                pid_file.unlink()
        return 0

    def _obey(self, engine: Engine, order: int) -> bool:
        """Whether to go on."""
        self._log.write("notice", f"signal {order} ({signal.Signals(order).name}) received")
        if order == signal.SIGHUP:
            self._reload(engine)
            return True
        if order == signal.SIGUSR1:
            self._log.reopen()
            engine.swap(snapshot(self._configuration.http()))
            return True
        for listener in self._listeners.values():
            listener.close()
        patience = 0.0
        if order == signal.SIGQUIT:
            timeout = self._main.shutdown_timeout
            patience = FOR_EVER_S if timeout is None else timeout
        engine.stop(patience)
        self._log.write("notice", "exit")
        return False

    def _reload(self, engine: Engine) -> None:
        try:
            main, http = self._configuration.main(), self._configuration.http()
            listeners = self._bound(_addresses(http))
            engine.swap(snapshot(http), list(listeners.values()))
        except (StackError, EngineError, CannotRunError, OSError, ValueError) as error:
            self._log.write("emerg", str(error))
            return
        for address in self._listeners.keys() - listeners.keys():
            self._listeners[address].close()
        self._main, self._listeners = main, listeners

    def _bound(self, addresses: list[Address]) -> dict[Address, socket.socket]:
        """A socket for every address: those that are open already, and new ones."""
        return {each: self._listeners.get(each) or self._listen(each) for each in addresses}

    @staticmethod
    def _listen(address: Address) -> socket.socket:
        for _ in range(BIND_TRIES - 1):
            with suppress(CannotRunError):
                return listen_tcp(*address)
            time.sleep(BIND_PAUSE_S)
        return listen_tcp(*address)


def _addresses(http: Http) -> list[Address]:
    """Every address once; one that '0.0.0.0' of its port covers is not bound besides."""
    every = dict.fromkeys((at.address, at.port) for each in http.servers for at in each.listen)
    every |= dict.fromkeys((at.address, at.port) for each in http.stream for at in each.listen)
    whole = {(":" in address, port) for address, port in every if address in ANY}
    return [each for each in every if each[0] in ANY or (":" in each[0], each[1]) not in whole]
