"""Returns memory that torch has freed from the C library's heap to the system."""

import ctypes
import mmap
import sys
from pathlib import Path

SPARE_BYTES = 256 << 20
PAGES = Path("/proc/self/statm")


class Heap:
    """Watches the memory of this process and trims glibc's heap.

    Attention over texts of different lengths allocates tensors of many sizes. These fragment
    glibc's heap, and the resident memory grows with every batch. Returning every large block
    immediately (mallopt's M_MMAP_THRESHOLD) costs up to half of the time, since each page of a
    block that is allocated again has to be cleared. Therefore the heap is trimmed when the resident
    memory is `SPARE_BYTES` larger than after the last trim. Without glibc nothing is done.
    """

    def __init__(self) -> None:
        self._trim = None
        if sys.platform == "linux":
            self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._held = _resident() if self._trim else 0

    def trim(self) -> None:
        """Return freed memory to the system, if the resident memory has grown enough."""
        if self._trim and _resident() > self._held + SPARE_BYTES:
            self._trim(0)
            self._held = _resident()


def _resident() -> int:
    """Resident memory of this process, in bytes."""
    return int(PAGES.read_text().split()[1]) * mmap.PAGESIZE
