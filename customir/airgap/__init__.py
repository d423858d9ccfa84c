"""The air gap: after `block_network`, this process and its children reach no network.

On Linux the kernel refuses (`seccomp.py`), native code and child processes included. On every
system a Python audit hook (`hook.py`) refuses as well, with a message that names the address and
the library. `broker.py` makes the connections to LLM servers that the user named. docs/explanation/network.md says
what is covered and how to check it.
"""

import os
from collections.abc import Collection

from customir.airgap import broker, hook, seccomp
from customir.airgap.broker import open_connection
from customir.airgap.hook import AirGapError

__all__ = ["AirGapError", "block_network", "open_connection", "refuse_in_python"]

# Libraries that look for newer files unless told not to.
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
}


def block_network(allowed: Collection[tuple[str, int]] = ()) -> str | None:
    """Refuse network access from now to the end of this process, in its children as well.

    Sockets that exist already stay usable, so a server creates its listening socket first. Call it
    before the first import of a library of the model hub, which reads its settings when imported.
    Called again, the earlier block holds and what it allowed is no longer reachable.

    Args:
        allowed: Host (a name or an address) and TCP port of servers that `open_connection` can
            still reach, through a process of their own.

    Returns:
        None if the kernel blocks the network; otherwise the reason why only Python does.
    """
    broker.stop()
    if allowed:
        broker.start(allowed)
    refuse_in_python()
    try:
        seccomp.install()
    except OSError as error:
        return str(error)
    return None


def refuse_in_python() -> None:
    """Block the network in Python code only, and in this process only."""
    os.environ.update(OFFLINE)
    hook.install()
