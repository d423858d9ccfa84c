"""What this machine has for this process: processors and memory."""

import os
from pathlib import Path

MEMORY_FILE = Path("/proc/meminfo")


def usable_processors() -> int:
    """The number of processors in the process's affinity, or of all where there is no affinity (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def free_memory() -> int | None:
    """Bytes that are available without swapping; None if the system does not say."""
    try:
        lines = MEMORY_FILE.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return None
