"""One SQLite file per corpus, which every stage reads, writes and resumes from."""

from customir.workspace.database import DATABASE_NAME, StageState, Workspace, workspace_lock
from customir.workspace.keys import content_key
from customir.workspace.units import Unit, complete

__all__ = [
    "DATABASE_NAME",
    "StageState",
    "Unit",
    "Workspace",
    "complete",
    "content_key",
    "workspace_lock",
]
