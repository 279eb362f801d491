"""Files of any kind to one stack: stack.yaml, or the classic files of one node together."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trimaran.stack.errors import Place, Problem, StackError
from trimaran.stack.files import Files
from trimaran.stack.keepalived import read_keepalived
from trimaran.stack.lvsrs import is_lvsrs, read_lvsrs
from trimaran.stack.model import Node, Proxy, Stack
from trimaran.stack.nginx import read_nginx
from trimaran.stack.report import Note
from trimaran.stack.yaml import read_stack

Kind = Literal["stack", "keepalived", "nginx", "lvsrs"]

_KEEPALIVED = re.compile(
    r"^\s*(global_defs|vrrp_instance|vrrp_sync_group|vrrp_script|virtual_server|static_ipaddress)\b",
    re.MULTILINE,
)
_NGINX = re.compile(
    r"^\s*(http|events|server|upstream)\b[^;\n]*\{|^\s*worker_processes\s", re.MULTILINE
)
_STACK = re.compile(r"^(nodes|virtual_routers|virtual_services|proxies|sites)\s*:", re.MULTILINE)


@dataclass(frozen=True)
class Loaded:
    """A stack and what its readers had to say."""

    stack: Stack
    notes: list[Note]


def kind_of(path: str, text: str) -> Kind:
    """What a file is, by its name and its content. Raises StackError."""
    if path.endswith((".yaml", ".yml")) or _STACK.search(text):
        return "stack"
    if _KEEPALIVED.search(text):
        return "keepalived"
    if _NGINX.search(text):
        return "nginx"
    if is_lvsrs(text):
        return "lvsrs"
    message = "neither a stack file, nor keepalived.conf, nginx.conf or a real-server script"
    raise StackError([Problem(Place(path), message)])


def load(paths: Sequence[str], files: Files, node: str | None = None) -> Loaded:
    """One stack.yaml, or the classic files of one node (which `node` names). Raises StackError,
    and OSError where one of `paths` cannot be read."""
    texts = {path: files.read(path) for path in paths}
    kinds: dict[Kind, str] = {}
    for path, text in texts.items():
        kind = kind_of(path, text)
        if kind in kinds:
            message = f"a second {kind} file, beside {kinds[kind]}"
            raise StackError([Problem(Place(path), message, "one of a kind makes one node")])
        kinds[kind] = path
    if "stack" not in kinds:
        return load_classic(
            files,
            node,
            keepalived=kinds.get("keepalived"),
            nginx=kinds.get("nginx"),
            lvsrs=kinds.get("lvsrs"),
        )
    if len(kinds) > 1:
        message = "a stack file stands alone: it describes every node"
        raise StackError([Problem(Place(kinds["stack"]), message)])
    path = kinds["stack"]
    return Loaded(*read_stack(texts[path], path, files))


def load_classic(
    files: Files,
    node: str | None = None,
    *,
    keepalived: str | None = None,
    nginx: str | None = None,
    lvsrs: str | None = None,
) -> Loaded:
    """The stack of one node that runs these classic files (paths). It is named `node`, or by
    keepalived's router_id, or 'node'. Raises StackError with the problems of all, and OSError."""
    problems: list[Problem] = []
    notes: list[Note] = []
    stack = Stack(nodes={node or "node": Node()})
    if keepalived is not None:
        try:
            stack, found = read_keepalived(files.read(keepalived), keepalived, files, node)
            notes += found
        except StackError as error:
            problems, notes = problems + error.problems, notes + error.notes
    name = next(iter(stack.nodes))
    if nginx is not None:
        try:
            http, found = read_nginx(files.read(nginx), nginx, files)
            notes += found
            proxy = Proxy(nodes=(name,), nginx=nginx, http=http)
            stack = stack.model_copy(update={"proxies": {"nginx": proxy}})
        except StackError as error:
            problems, notes = problems + error.problems, notes + error.notes
    if lvsrs is not None:
        try:
            addresses, found = read_lvsrs(files.read(lvsrs), lvsrs)
            notes += found
            stack = stack.model_copy(update={"real_server_addresses": {name: addresses}})
        except StackError as error:
            problems, notes = problems + error.problems, notes + error.notes
    if problems:
        raise StackError(problems, notes)
    return Loaded(stack, notes)
