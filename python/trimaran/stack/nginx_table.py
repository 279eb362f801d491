"""The page on nginx's directives: every name, where it may stand, and what becomes of it."""

from trimaran.stack.nginx_directives import NGINX
from trimaran.stack.nginx_facts import CONTEXTS, FACTS
from trimaran.stack.report import Status

HEAD = """\
# nginx's directives

What becomes of every directive of nginx 1.31 in a file that Trimaran reads. This page is made from
the table that `trimaran check` uses (`tools/nginx-directives` writes it anew).

- **honoured**: obeyed, arguments and inheritance as in nginx.
- **no effect**: accepted; it tunes what the engine does otherwise, and changes no answer.
- **refused**: the file is not taken, and the message names the line.

"""
_ORDER: tuple[Status, ...] = ("honoured", "no effect", "refused")


def page() -> str:
    """The page in Markdown."""
    lines = ["| directive | arguments | default | honoured | no effect | refused |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    totals = dict.fromkeys(_ORDER, 0)
    for fact in sorted(FACTS.values(), key=lambda each: each.name):
        places = {status: _places(fact.name, status) for status in _ORDER}
        best: Status = next((status for status in _ORDER if places[status]), "refused")
        totals[best] += 1
        cells = [f"`{fact.name}`", fact.arguments + (" {…}" if fact.block else ""),
                 f"`{fact.default}`" if fact.default else "",
                 *(", ".join(places[status]) for status in _ORDER)]  # fmt: skip
        lines.append("| " + " | ".join(cells).replace("  ", " ") + " |")
    counts = ", ".join(f"{totals[status]} {status}" for status in _ORDER)
    summary = f"{len(FACTS)} names: {counts} (by the best that becomes of them anywhere).\n\n"
    return HEAD + summary + "\n".join(lines) + "\n"


def _places(name: str, status: Status) -> list[str]:
    contexts = dict.fromkeys(CONTEXTS.values())
    return [
        context
        for context in contexts
        if name in NGINX[context] and NGINX[context][name].status == status
    ]
