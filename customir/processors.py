"""How many processors this process may use."""

import os


def usable_processors() -> int:
    """Those that the process is not kept from by its affinity; all, where there is none (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
