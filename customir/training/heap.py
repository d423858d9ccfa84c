"""The C library's heap: memory that torch has freed is returned to the system."""

import ctypes
import mmap
import sys
from pathlib import Path

SPARE_BYTES = 256 << 20
PAGES = Path("/proc/self/statm")


class Heap:
    """Watches the memory of this process.

    Tensors of ever other sizes, as attention over texts of unlike length makes them, leave holes in
    glibc's heap, and what is held grows with a batch. Giving back every large block at once
    (mallopt's M_MMAP_THRESHOLD) costs up to half of the time, since each page of a block that is
    taken again has to be cleared. So what is free is given back when this process holds
    `SPARE_BYTES` more than it did after the last time. Without glibc nothing is done.
    """

    def __init__(self) -> None:
        self._trim = None
        if sys.platform == "linux":
            self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._held = _resident() if self._trim else 0

    def trim(self) -> None:
        """Return freed memory to the system, if it may have become much."""
        if self._trim and _resident() > self._held + SPARE_BYTES:
            self._trim(0)
            self._held = _resident()


def _resident() -> int:
    """Bytes of memory that this process has."""
    return int(PAGES.read_text().split()[1]) * mmap.PAGESIZE
