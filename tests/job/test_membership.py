"""The membership test on a real corpus and model: a model that learned nothing gives nothing away."""

from pathlib import Path

from mail import write_mailbox

from customir.corpus.ingest import ingest
from customir.embeddings import stored_embeddings
from customir.evaluation.held_out import HeldOutData
from customir.evaluation.membership import MINIMUM_PAIRS
from customir.job import Job
from customir.job.membership import membership_of
from customir.progress import Silent
from customir.settings import CorpusSettings, Settings
from customir.workspace import Workspace
from customir.workspace.queries import Query, SelfSupervisedQuery, write_queries


def test_a_model_that_is_the_base_gains_nothing(tmp_path: Path, minilm: Path) -> None:
    mail = write_mailbox(tmp_path / "mail.mbox")
    with Workspace(tmp_path / "out") as workspace:
        ingest(workspace, [mail], CorpusSettings(), minilm / "tokenizer.json", Silent())
        job = Job(workspace, Settings(embedder=str(minilm), device="cpu"), Silent())
        styles = ("subject", "reply", "need")
        queries = [
            Query(f"q{row:02}", passage.key, styles[row % 3], passage.title, None, "train")
            for row, passage in enumerate(job.passages[:36])
        ]
        write_queries(workspace, queries)
        test = [
            Query(f"t{row}", passage.key, "need", passage.title, None, "test")
            for row, passage in enumerate(job.passages[36:48])
        ]
        pairs = [
            SelfSupervisedQuery(f"p{row}", "subject", p.title, row, p.text, "test")
            for row, p in enumerate(job.passages)
            if 48 <= row < 60
        ]
        found = membership_of(
            job,
            HeldOutData(job.passages, test, pairs),
            minilm,
            stored_embeddings(workspace, "evaluate", Silent()),
        )
    assert found
    # Replies are left out, because no held-out pair is one.
    assert (found.trained, found.held_out) == (24, 24)
    assert found.trained >= MINIMUM_PAIRS
    assert (found.auc, found.low, found.high) == (0.5, 0.5, 0.5)
    assert 0 < found.base_auc < 1
