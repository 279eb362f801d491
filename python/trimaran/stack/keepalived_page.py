"""The docs page of keepalived's keywords, made from the table that the reader goes by."""

from trimaran.stack.directives import Directive
from trimaran.stack.keepalived_directives import KEEPALIVED

_MEANING = {
    "honoured": "works as in keepalived",
    "no effect": "is accepted and does nothing, because",
    "refused": "stops the reading, because",
}
_HEAD = """# keepalived.conf

Every keyword that the reader knows, by block, and what becomes of it. `trimaran check FILE` says
the same of your file, line by line. A word that is not here is told as unknown, with the nearest.

| | |
|---|---|
"""


def page() -> str:
    """Markdown."""
    lines = [_HEAD + "\n".join(f"| {status} | {words} … |" for status, words in _MEANING.items())]
    for context, directives in KEEPALIVED.items():
        lines.append(f"\n## {context}\n\n| keyword | | |\n|---|---|---|")
        lines += [_row(each) for each in sorted(directives.values(), key=_order)]
    return "\n".join(lines) + "\n"


def _order(directive: Directive) -> tuple[int, str]:
    return [*_MEANING].index(directive.status), directive.name


def _row(directive: Directive) -> str:
    note = directive.note.replace("|", "\\|")
    return f"| `{directive.name}` | {directive.status} | {note} |"
