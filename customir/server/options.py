"""How a folder is served."""

from dataclasses import dataclass, field
from pathlib import Path

from customir.server.auth import Access
from customir.server.limits import Limits

BACKLOG = 256  # connections that the kernel keeps until they are accepted


@dataclass(frozen=True)
class Options:
    """How DIR is served.

    Attributes:
        folder: DIR.
        access: Who may use the server.
        root: The path below which a proxy publishes the server, without a slash at its end.
        certificate: PEM files of the TLS certificate (with its chain) and of its key; None: no TLS.
        audit: The file of the audit log; None: there is none.
        threads: Threads of the model in each process; None: one per usable core.
        logged: Write a line for each request.
    """

    folder: Path
    access: Access
    limits: Limits = field(default_factory=Limits)
    root: str = ""
    certificate: tuple[Path, Path] | None = None
    audit: Path | None = None
    threads: int | None = None
    logged: bool = True
