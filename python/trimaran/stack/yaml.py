"""stack.yaml: text in, `Stack` out; every problem at its file:line:column.

The text becomes YAML nodes (PyYAML keeps their marks), the nodes plain data with a map of places,
the data a model; then the references inside it are checked. Scalars are read as YAML 1.2 reads
them: no octal, no sexagesimal 1:30, no dates; and what the model wants as text stays as written,
so that `password: 0111` is those four characters.
"""

from posixpath import dirname, join
from typing import Any

from pydantic import SecretStr, ValidationError

from trimaran.stack.authentication import Authentication, with_keys
from trimaran.stack.errors import Problem, StackError, in_order
from trimaran.stack.files import Files, NoFiles
from trimaran.stack.finding import Finding, Path
from trimaran.stack.model import FlowSync, Proxy, Stack
from trimaran.stack.nearest import suggestion
from trimaran.stack.nginx import read_nginx
from trimaran.stack.references import SHORTEST_KEY, find
from trimaran.stack.report import Note
from trimaran.stack.resolve import commands
from trimaran.stack.yaml_errors import allowed, problems_of
from trimaran.stack.yaml_tree import Tree, read_tree


def read_stack(text: str, file: str, files: Files | None = None) -> tuple[Stack, list[Note]]:
    """The stack that `text` describes, and warnings. Paths in it are taken from the directory of
    `file`; secret files and nginx.conf files come through `files`. Raises StackError with every
    problem found."""
    return _Reader(text, file, files or NoFiles()).read()


class _Reader:
    def __init__(self, text: str, file: str, files: Files) -> None:
        self.file = file
        self.files = files
        self.tree: Tree = read_tree(text, file)
        self.problems: list[Problem] = list(self.tree.problems)
        self.notes: list[Note] = []
        self._refuse_inner_keys()

    def _refuse_inner_keys(self) -> None:
        """`Proxy.http` is for the reader to set, not for the user to write."""
        proxies = self.tree.data.get("proxies")
        for name, proxy in proxies.items() if isinstance(proxies, dict) else ():
            path = ("proxies", name, "http")
            if isinstance(proxy, dict) and proxy.pop("http", None) is not None:
                message = f"unknown key 'http' in proxies.{name}"
                help_ = suggestion("http", allowed(path))
                self.problems.append(Problem(self.tree.place(path, key=True), message, help_))

    def read(self) -> tuple[Stack, list[Note]]:
        stack, pruned = self._validate()
        if stack is not None:
            for finding in find(stack, pruned):
                self._take(finding)
            stack = self._load_files(stack)
            self._look_at_programs(stack)
        if self.problems or stack is None:
            raise StackError(in_order(self.problems), self.notes)
        return stack, self.notes

    def _validate(self) -> tuple[Stack | None, set[Path]]:
        """The model; where parts of the data are wrong, the model without these parts (so that the
        rest is checked as well) and their paths."""
        data = self.tree.data
        pruned: set[Path] = set()
        reported = False
        for _attempt in range(4):  # as text, then without what is wrong; the rest is cascades
            try:
                return Stack.model_validate(data), pruned
            except ValidationError as error:
                details = error.errors(include_url=False)
            written = [detail for detail in details if self._as_written(data, detail)]
            if written:
                continue
            if not reported:
                self.problems += problems_of(details, self.tree)
                reported = True
            for detail in details:
                pruned.add(_prune(data, detail))
        return None, pruned

    def _as_written(self, data: Any, detail: Any) -> bool:
        """Where text is wanted and a number was read: put what was written in its place."""
        path = tuple(detail["loc"])
        if detail["type"] != "string_type" or path not in self.tree.written:
            return False
        parent = data
        for key in path[:-1]:
            parent = parent[key]
        if parent[path[-1]] == self.tree.written[path]:
            return False
        parent[path[-1]] = self.tree.written[path]
        return True

    def _take(self, finding: Finding) -> None:
        place = self.tree.place(finding.path, key=finding.at_key)
        if finding.fatal:
            self.problems.append(Problem(place, finding.message, finding.help))
        else:
            message = f"{finding.message} ({finding.help})" if finding.help else finding.message
            self.notes.append(Note(place, str(finding.path[-1]), "warning", message))

    def _load_files(self, stack: Stack) -> Stack:
        """The stack with its other files read, and paths joined to the directory of the file."""
        routers = {
            name: router.model_copy(
                update={"authentication": self._with_secrets(name, router.authentication)}
            )
            for name, router in stack.virtual_routers.items()
        }
        proxies = {name: self._with_http(name, proxy) for name, proxy in stack.proxies.items()}
        sites = {
            name: site.model_copy(update={"root": self._path(site.root)})
            for name, site in stack.sites.items()
        }
        return stack.model_copy(
            update={
                "virtual_routers": routers,
                "flow_sync": self._with_key(stack.flow_sync),
                "proxies": proxies,
                "sites": sites,
            }
        )

    def _look_at_programs(self, stack: Stack) -> None:
        for path, command in commands(stack):
            refusal = self.files.refusal(command)
            if refusal is None:
                continue
            place = self.tree.place(path)
            if refusal.fatal:
                self.problems.append(Problem(place, refusal.message, refusal.help))
            else:
                self.notes.append(Note(place, str(path[-1]), "warning", refusal.message))

    def _path(self, path: str) -> str:
        return join(dirname(self.file), path)

    def _with_secrets(
        self, name: str, authentication: Authentication | None
    ) -> Authentication | None:
        if authentication is None or authentication.type != "hmac":
            return authentication and self._with_password(name, authentication)
        read, wrong = with_keys(authentication, self.files, dirname(self.file))
        for number, why in wrong.items():
            place = self.tree.place(("virtual_routers", name, "authentication", "keys", number))
            self.problems.append(Problem(place, f"key {number} {why}"))
        return read

    def _with_password(self, name: str, authentication: Authentication) -> Authentication:
        if authentication.password_file is None:
            return authentication
        where = ("virtual_routers", name, "authentication", "password_file")
        try:
            secret = self.files.read_secret(self._path(authentication.password_file))
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(Problem(self.tree.place(where), _cannot_read(error)))
            return authentication
        password = secret.rstrip("\r\n")
        if not password:
            message = f"'{authentication.password_file}' is empty: it must hold the password"
            self.problems.append(Problem(self.tree.place(where), message))
        elif len(password.encode()) > 8:
            message = (
                "longer than 8 bytes: only the first 8 are used, as VRRPv2 has no room for more"
            )
            self.notes.append(Note(self.tree.place(where), "password_file", "warning", message))
        return authentication.model_copy(update={"password": SecretStr(password)})

    def _with_key(self, sync: FlowSync | None) -> FlowSync | None:
        if sync is None or sync.key_file is None:
            return sync
        place = self.tree.place(("flow_sync", "key_file"))
        try:
            key = self.files.read_secret(self._path(sync.key_file)).strip()
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(Problem(place, _cannot_read(error)))
            return sync
        if len(key.encode()) < SHORTEST_KEY:
            message = f"the key in '{sync.key_file}' is shorter than {SHORTEST_KEY} bytes"
            self.problems.append(Problem(place, message, "make one with: openssl rand -hex 32"))
        return sync.model_copy(update={"key": SecretStr(key)})

    def _with_http(self, name: str, proxy: Proxy) -> Proxy:
        if proxy.nginx is None or proxy.listen is not None or proxy.upstream is not None:
            return proxy
        path = self._path(proxy.nginx)
        try:
            http, notes = read_nginx(self.files.read(path), path, self.files)
        except OSError as error:
            place = self.tree.place(("proxies", name, "nginx"))
            self.problems.append(Problem(place, _cannot_read(error)))
            return proxy
        except StackError as error:
            self.problems += error.problems
            self.notes += error.notes
            return proxy
        self.notes += notes
        return proxy.model_copy(update={"nginx": path, "http": http})


def _prune(data: Any, detail: Any) -> Path:
    """Take what is wrong out of the data: an unknown key alone, else the whole named entry."""
    path: Path = tuple(detail["loc"])
    path = path if detail["type"] == "extra_forbidden" else path[:2]
    parent = data
    for key in path[:-1]:
        if not isinstance(parent, dict) or key not in parent:
            return path
        parent = parent[key]
    if isinstance(parent, dict) and path:
        parent.pop(path[-1], None)
    return path


def _cannot_read(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"cannot read '{error.filename}': {error.strerror}"
    return f"cannot read it: {error}"
