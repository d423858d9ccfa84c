"""What a stage works with."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from customir import models
from customir.encoder.truncated import truncated_folder
from customir.processors import usable_processors
from customir.progress import Reporter
from customir.settings import Settings
from customir.workspace import Workspace
from customir.workspace.documents import read_dates
from customir.workspace.passages import Passage, read_passages

StageSummary = dict[str, Any]
CHECK_NAME = "check"  # below DIR: the workspace of `customir check`


@dataclass(frozen=True)
class Job:
    """What a stage works with."""

    workspace: Workspace
    settings: Settings
    reporter: Reporter

    @property
    def folder(self) -> Path:
        return self.workspace.folder

    @cached_property
    def embedder(self) -> Path:
        """The folder of the base; with `truncate_dim`, a folder in DIR with links to its files."""
        base = models.locate(self.settings.embedder, "embedder")
        if self.settings.truncate_dim is None:
            return base
        return truncated_folder(base, self.settings.truncate_dim, self.folder / "base" / base.name)

    @cached_property
    def llm(self) -> Path:
        return models.locate(self.settings.llm, "llm")

    @cached_property
    def passages(self) -> list[Passage]:
        return read_passages(self.workspace)

    @cached_property
    def dates(self) -> dict[str, str | None]:
        """Of each document, ISO 8601 in UTC."""
        return read_dates(self.workspace)

    @property
    def threads(self) -> int:
        return self.settings.threads or usable_processors()

    def summary(self, stage: str) -> StageSummary:
        """The summary that a finished stage has stored for the report."""
        state = self.workspace.stage(stage)
        assert state is not None, f"stage {stage} is checked to be done before it is read"
        return state.detail
