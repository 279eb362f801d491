"""Regular expressions of HTTP checks: keepalived's are PCRE2's, these are the `regex` module's,
which has nearly all of that language and can be stopped by the clock."""

import regex

# Each option of keepalived's that changes what matches, as an inline flag of `regex`.
FLAGS = {"caseless": "i", "dotall": "s", "multiline": "m", "extended": "x", "utf": "", "ucp": ""}
# These change how PCRE2 gets there, or limit what only PCRE2 has; what matches stays the same.
WITHOUT_EFFECT = {
    "auto_callout", "no_auto_capture", "no_auto_possess", "no_dotstar_anchor", "dupnames",
    "no_start_optimize", "never_ucp", "never_utf", "never_backslash_c", "alt_verbnames",
    "use_offset_limit",
}  # fmt: skip


def compile_pattern(pattern: str, options: tuple[str, ...]) -> "regex.Pattern[bytes]":
    """The pattern for bytes. Raises ValueError that says what is wrong with it."""
    flags = ""
    for option in options:
        if option in FLAGS:
            flags += FLAGS[option]
        elif option not in WITHOUT_EFFECT:
            allowed = ", ".join(sorted({*FLAGS, *WITHOUT_EFFECT}))
            raise ValueError(f"the option '{option}' is not known; allowed: {allowed}")
    prefix = f"(?{''.join(sorted(set(flags)))})" if flags else ""
    try:
        return regex.compile((prefix + pattern).encode())
    except (regex.error, OverflowError, RecursionError) as error:
        place = getattr(error, "pos", None)
        where = "" if place is None else f" at character {max(0, place - len(prefix)) + 1}"
        reason = getattr(error, "msg", None) or str(error)
        raise ValueError(f"'{pattern}' is no regular expression: {reason}{where}") from None
