"""A DIR that release 0.2.0 wrote is used as it is: settings, workspace and index are migrated.

tests/data/dir-0.2.0.tar.xz was written by that release from the first six threads of tests/mail.py,
with a stand-in of eight dimensions for the embedder, so that the file is small.
"""

import tarfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from mail import write_mailbox

from customir.commands.privacy import Content, list_contents
from customir.corpus.ingest import ingest
from customir.errors import UserError
from customir.progress import Silent
from customir.runtime import generations
from customir.runtime.index import IndexedPassage, build_successor, connect, holds
from customir.settings import CorpusSettings, Settings, read_settings
from customir.stages.index import passages_to_index
from customir.workspace import Workspace
from customir.workspace.queries import read_negatives, read_queries

ARCHIVE = Path(__file__).parent / "data" / "dir-0.2.0.tar.xz"


class StandIn:
    """The embedder of that index; what it is asked to embed is recorded."""

    fingerprint, dimensions = "stand-in", 8

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str], *_: object) -> np.ndarray:
        self.asked += texts
        return np.full((len(texts), self.dimensions), 8**-0.5, np.float32)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "out"


def test_settings_that_were_removed_and_never_changed_are_left_out(out: Path) -> None:
    assert read_settings(out, {}) == Settings(sources=("mail.mbox",))
    path = out / "customir.toml"
    path.write_text(path.read_text().replace("personas = false", "personas = true"))
    with pytest.raises(UserError, match=r"queries\.personas: was removed"):
        read_settings(out, {})


def test_the_workspace_keeps_what_was_computed(out: Path) -> None:
    with Workspace(out) as workspace:
        assert set(workspace.results(["k1", "k2"])) == {"k1", "k2"}
        assert [query.text for query in read_queries(workspace)] == ["who repairs it"]
        assert [(n.score, n.verdict) for n in read_negatives(workspace)] == [(1.5, "negative")]
        ingested = workspace.stage("ingest")
        assert ingested
        assert ingested.fingerprint == "", "the sources are read again for new columns"


def test_an_index_of_an_older_format_is_not_what_is_wanted(out: Path) -> None:
    """Even if it holds the same passages: it cannot be searched before it is migrated."""
    with closing(connect(generations.current(out) / "index.db", older=True)) as database:
        rows = database.execute("SELECT * FROM passage_1").fetchall()
    passages = [IndexedPassage(*row[1:]) for row in rows]
    assert len(passages) == 18
    assert not holds(out, passages, StandIn())  # type: ignore[arg-type]


def test_the_index_keeps_its_vectors(
    out: Path, minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = generations.current(out) / "index.db"
    with pytest.raises(UserError, match=r"format 5; .* vectors are kept: customir index --out"):
        connect(before)
    monkeypatch.chdir(tmp_path)
    mail = write_mailbox(Path("mail.mbox"), threads=7)  # one thread more than then
    with Workspace(out) as workspace:
        ingest(workspace, [mail], CorpusSettings(), minilm / "tokenizer.json", Silent())
        passages = passages_to_index(workspace)
    embedder = StandIn()
    generation = generations.begin(out)
    summary = build_successor(out, generation, passages, embedder, Silent())  # type: ignore[arg-type]
    assert (summary.added, summary.total) == (3, 21)
    assert not summary.rebuilt
    assert len(embedder.asked) == 3, "only what is new was embedded"
    with closing(connect(generations.current(out) / "index.db")) as database:
        rows = database.execute("SELECT key, language, recipients FROM passage_1").fetchall()
        assert {key for key, _, _ in rows} == {passage.key for passage in passages}
        assert all(language == "en" for _, language, _ in rows)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert before.exists(), "one can go back"
    assert Content.UNKNOWN not in {entry.content for entry in list_contents(out) if entry.table}
