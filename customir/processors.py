"""How many processors this process may use."""

import os


def usable_processors() -> int:
    """The number of processors in the process's affinity, or of all where there is no affinity (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
