"""How many descriptors this process may have open."""

import resource


def raise_limit() -> int:
    """Raise the soft limit to the hard one, which is what comes back."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
