"""A run as the report sees it: the summary of each stage and the counts of training queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from customir.settings import Settings
from customir.workspace import Workspace
from customir.workspace.documents import SkippedRow, read_skipped
from customir.workspace.queries import count_queries

StageSummary = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """The workspace's data about a run. The summary of a stage that has not finished is empty.

    Attributes:
        training_queries: The number of training queries, by style.
        seconds: The time of each stage's work, in the order of the stages.
        skipped: The rows that were read but not kept.
    """

    folder: Path
    settings: Settings
    ingest: StageSummary
    generate: StageSummary
    mine: StageSummary
    train: StageSummary
    evaluate: StageSummary
    export: StageSummary
    index: StageSummary
    training_queries: Mapping[str, int]
    seconds: Sequence[tuple[str, float]]
    skipped: Sequence[SkippedRow]

    def without_texts(self) -> "Run":
        """The run without text of the corpus, names of documents and paths, to be given away."""
        evaluated, generated = dict(self.evaluate), dict(self.generate)
        if moved := evaluated.get("movement"):
            evaluated["movement"] = {**moved, "won": [], "lost": [], "unmoved": []}
        if generated:
            generated |= {"samples": [], "map": None, "senders": []}
        return replace(
            self,
            settings=self.settings.model_copy(update={"sources": ()}),
            evaluate=evaluated,
            generate=generated,
            skipped=(),
        )


def read_run(workspace: Workspace, settings: Settings) -> Run:
    """Read the data that the report needs."""

    def summary(stage: str) -> StageSummary:
        state = workspace.stage(stage)
        return state.detail if state and state.finished else {}

    return Run(
        folder=workspace.folder,
        settings=settings,
        ingest=summary("ingest"),
        generate=summary("generate"),
        mine=summary("mine"),
        train=summary("train"),
        evaluate=summary("evaluate"),
        export=summary("export"),
        index=summary("index"),
        training_queries=count_queries(workspace, "train"),
        seconds=workspace.stage_seconds(),
        skipped=read_skipped(workspace),
    )
