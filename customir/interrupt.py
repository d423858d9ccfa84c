"""Makes sure that no Ctrl-C is lost.

Python raises KeyboardInterrupt wherever the program happens to be, and some code swallows it:
callbacks from C, and imports that take any exception for a missing module. Therefore each Ctrl-C is
also noted, and raised again when long work reports its progress (customir/progress.py).
"""

import signal
from types import FrameType

_noted = False


def note_interrupts() -> None:
    """Note each Ctrl-C from now on. Call it in the main thread.

    If Ctrl-C is ignored, as for a background process of a script, it stays ignored.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _note)


def raise_noted() -> None:
    """Raise a KeyboardInterrupt if one was swallowed."""
    if _noted:
        raise KeyboardInterrupt


def _note(_number: int, _frame: FrameType | None) -> None:
    global _noted
    _noted = True
    raise KeyboardInterrupt
