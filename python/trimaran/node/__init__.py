"""One machine's daemon: supervisor, role processes, control API, events."""
