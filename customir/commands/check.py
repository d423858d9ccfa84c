"""`customir check`: whether the adapted model is still better than the base for new mail."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from customir.corpus.ingest import ingest
from customir.errors import UserError
from customir.job import CHECK_NAME, Job
from customir.job.base_encoder import base_tokenizer_file
from customir.job.base_reading import LOOKED_AT, base_reading
from customir.job.llm import open_llm
from customir.pipeline import STAGE, is_done
from customir.stages.export import model_folder
from customir.workspace import Workspace, content_key
from customir.workspace.passages import Passage, read_passages
from customir.workspace.purge import add_purged, read_purged
from customir.workspace.queries import Query

if TYPE_CHECKING:
    from customir.evaluation.drift import Distance, Drift
    from customir.evaluation.metrics import Rankings
    from customir.evaluation.significance import Difference

QUERIES_PER_PASSAGE = 2
# Passages of each kind, old and new, whose embeddings are compared.
COMPARED_PASSAGES = 500


def check_drift(job: Job, sources: Sequence[Path], count: int) -> "Drift":
    """Compare base and adapted model on new documents in `sources`; DIR does not change.

    Args:
        count: How many new passages the LLM writes queries for.

    Raises:
        UserError: there is no adapted model yet, or a source cannot be read.
    """
    from customir.evaluation.drift import Drift, judge_drift
    from customir.evaluation.held_out import qrels_of, threads_of
    from customir.evaluation.systems import measure

    if not is_done(STAGE["export"], job):
        raise UserError(
            f"{job.folder}: nothing adapted yet. Run: customir adapt --out {job.folder}"
        )
    new = _read_new(job, sources)
    gain_then = _gain_when_adapted(job)
    if not new:
        holds, verdict = judge_drift(None, gain_then, 0, None)
        return Drift(0, 0, 0, None, None, None, None, gain_then, holds, verdict)
    queries = _write_queries(job, new, count)
    passages = [*job.passages, *new]
    runs, vectors = _rank(job, queries, passages)
    threads = threads_of(queries, new)
    base, adapted = measure(
        runs, qrels_of(queries, new), [query.key for query in queries],
        [passage.key for passage in passages], threads, job.settings.evaluation, job.settings.seed,
    )  # fmt: skip
    distance = _distance(job, passages, vectors)
    gain = adapted.differences.get("Recall@10")
    holds, verdict = judge_drift(gain, gain_then, len(set(threads)), distance)
    return Drift(
        len(new), len(queries), len(set(threads)), distance, base.metrics["Recall@10"],
        adapted.metrics["Recall@10"], gain, gain_then, holds, verdict,
    )  # fmt: skip


def _read_new(job: Job, sources: Sequence[Path]) -> list[Passage]:
    """The passages of `sources` that DIR does not have, read into a workspace of their own."""
    with Workspace(job.folder / CHECK_NAME) as workspace:
        with workspace.transaction():
            add_purged(workspace, read_purged(job.workspace))
        ingest(workspace, sources, job.settings.corpus, base_tokenizer_file(job), job.reporter)
        known = {passage.key for passage in job.passages}
        new = [passage for passage in read_passages(workspace) if passage.key not in known]
    base_reading(job, [passage.text for passage in new[:LOOKED_AT]])
    return new


def _gain_when_adapted(job: Job) -> "Difference | None":
    """The adapted model's gain on the test queries of its adaptation; None if the base ships."""
    from customir.evaluation.significance import Difference
    from customir.evaluation.systems import ADAPTED

    evaluated = job.summary("evaluate")
    row = next((row for row in evaluated["table"] if row["system"] == ADAPTED), None)
    return Difference(*row["Recall@10 difference"]) if row and evaluated["weight"] else None


def _write_queries(job: Job, passages: Sequence[Passage], count: int) -> list[Query]:
    """The LLM's queries for some of the passages that pass the text filters."""
    from customir.queries.generate import generate_queries
    from customir.queries.rejected import rejected_by_text
    from customir.queries.sampling import sample_passages

    settings = job.settings.queries.model_copy(update={"queries_per_passage": QUERIES_PER_PASSAGE})
    sampled = sample_passages(passages, count, job.settings.seed)
    with open_llm(job) as (engine, model_key):
        written = generate_queries(
            job.workspace, "check", engine, model_key, sampled, settings,
            job.settings.seed, job.reporter,
        )  # fmt: skip
    return [
        Query(query.key, query.request.passage.key, query.request.style, query.text, None, "test")
        for query, reason in zip(written, rejected_by_text(written), strict=True)
        if reason is None
    ]  # fmt: skip


def _rank(
    job: Job, queries: Sequence[Query], passages: Sequence[Passage]
) -> "tuple[dict[str, Rankings], np.ndarray]":
    """Base's and adapted model's rankings, and the passages' vectors by the adapted model."""
    from customir.embeddings import load_encoder, stored_embeddings
    from customir.evaluation.systems import ADAPTED, BASE, rank_by_vectors
    from customir.runtime.embedder import passage_model

    embed = stored_embeddings(job.workspace, "check", job.reporter)
    contents, texts = [passage.content for passage in passages], [query.text for query in queries]
    runs: dict[str, Rankings] = {}
    vectors = np.empty(0)
    for name, folder in ((BASE, job.embedder), (ADAPTED, model_folder(job))):
        encoder = load_encoder(folder, job.settings)
        for_passages = load_encoder(passage_model(folder), job.settings)
        vectors = embed(for_passages, contents, "passage", f"embedding passages, {name}")
        asked = embed(encoder, texts, "query", f"embedding queries, {name}")
        runs[name] = rank_by_vectors(asked, vectors)
    return runs, vectors


def _distance(job: Job, passages: Sequence[Passage], vectors: np.ndarray) -> "Distance":
    """The energy distance between some old and some new passages, which come last."""
    from customir.evaluation.drift import energy_distance

    first_new = len(job.passages)
    old_rows, new_rows = (
        sorted(rows, key=lambda row: content_key("drift", passages[row].key))[:COMPARED_PASSAGES]
        for rows in (range(first_new), range(first_new, len(passages)))
    )
    return energy_distance(
        vectors[old_rows], vectors[new_rows],
        [passages[row].thread for row in old_rows], [passages[row].thread for row in new_rows],
        job.settings.seed,
    )  # fmt: skip
