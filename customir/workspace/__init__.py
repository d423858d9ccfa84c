"""One SQLite file per corpus, which every stage reads, writes and resumes from."""

from customir.workspace.database import StageState, Workspace
from customir.workspace.keys import content_key
from customir.workspace.units import Unit, complete

__all__ = ["StageState", "Unit", "Workspace", "complete", "content_key"]
