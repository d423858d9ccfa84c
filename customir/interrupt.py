"""Ctrl-C that is not lost.

Python raises KeyboardInterrupt wherever the program happens to be, and some places swallow it: a
callback from C, an import that takes whatever is raised for a module that is not there. So it is
noted as well, and raised again where long work says how far it is (customir/progress.py).
"""

import signal
from types import FrameType

_noted = False


def note_interrupts() -> None:
    """From now on, note each Ctrl-C. In the main thread.

    Where it is ignored, as under a shell's `&` in a script, it stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _note)


def raise_noted() -> None:
    """Raise the KeyboardInterrupt that somebody swallowed, if there was one."""
    if _noted:
        raise KeyboardInterrupt


def _note(_number: int, _frame: FrameType | None) -> None:
    global _noted
    _noted = True
    raise KeyboardInterrupt
