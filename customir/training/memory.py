"""The C library's heap: what torch frees is given back."""

import ctypes
import sys

# glibc's mallopt(3): blocks from so many bytes on are mapped, each on its own.
M_MMAP_THRESHOLD = -3
LEAST_BYTES = 1 << 19


def give_back_what_is_freed() -> None:
    """Let each large block be the system's again once it is freed, for the rest of this process.

    By itself glibc raises the threshold up to 32 MB. Tensors of ever other sizes, as attention over
    texts of unlike length makes them, then leave holes in one heap, and memory grows with a batch.
    On systems without glibc nothing is changed.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_THRESHOLD, LEAST_BYTES)
