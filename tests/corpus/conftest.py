"""An ingest that reads sources into a fresh workspace."""

from collections.abc import Callable
from pathlib import Path

import pytest

from customir.corpus.ingest import IngestSummary, ingest
from customir.progress import Silent
from customir.settings import CorpusSettings
from customir.workspace import Workspace

Ingest = Callable[..., IngestSummary]


@pytest.fixture
def read_in(tmp_path: Path, minilm: Path) -> Ingest:
    """Ingests sources into the workspace `tmp_path / "out"` (or `out`)."""

    def run(
        *sources: Path, out: str = "out", settings: CorpusSettings | None = None
    ) -> IngestSummary:
        with Workspace(tmp_path / out) as workspace:
            return ingest(
                workspace,
                sources,
                settings or CorpusSettings(),
                minilm / "tokenizer.json",
                Silent(),
            )

    return run


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., list[tuple[object, ...]]]:
    """Asks the workspace `tmp_path / "out"` (or `out`)."""

    def ask(query: str, out: str = "out") -> list[tuple[object, ...]]:
        with Workspace(tmp_path / out, write=False) as workspace:
            return workspace.database.execute(query).fetchall()

    return ask
