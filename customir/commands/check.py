"""`customir check`: does what was adapted still hold for new mail?"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from customir.corpus.ingest import ingest
from customir.errors import UserError
from customir.job import CHECK_NAME, Job
from customir.job.base_encoder import base_tokenizer_file
from customir.job.llm import open_llm
from customir.pipeline import STAGE, is_done
from customir.stages.export import model_folder
from customir.workspace import Workspace, content_key
from customir.workspace.passages import read_passages
from customir.workspace.queries import Query

if TYPE_CHECKING:
    from customir.evaluation.drift import Drift

# Of a check: queries for each new passage, and passages of each kind whose embeddings are compared.
CHECK_QUERIES, CHECK_COMPARED = 2, 500


def check_drift(job: Job, sources: Sequence[Path], count: int) -> "Drift":
    """Whether DIR/model still holds for what is new in `sources`. What is adapted to stays as it is.

    Args:
        count: New passages to write queries for.

    Raises:
        UserError: nothing was adapted yet, or a source can't be read.
    """
    from customir.embeddings import embed, load_encoder
    from customir.evaluation.drift import Drift, energy_distance, judge_drift
    from customir.evaluation.held_out import qrels_of, threads_of
    from customir.evaluation.significance import Difference
    from customir.evaluation.systems import ADAPTED, BASE, measure, rank_by_vectors
    from customir.queries.generate import generate_queries
    from customir.queries.rejected import rejected_by_text
    from customir.queries.sampling import sample_passages
    from customir.runtime.embedder import passage_model

    settings = job.settings
    if not is_done(STAGE["export"], job):
        raise UserError(
            f"{job.folder}: nothing adapted yet. Run: customir adapt --out {job.folder}"
        )
    model = model_folder(job)
    with Workspace(job.folder / CHECK_NAME) as arrived:
        ingest(arrived, sources, settings.corpus, base_tokenizer_file(job), job.reporter)
        known = {passage.key for passage in job.passages}
        new = [passage for passage in read_passages(arrived) if passage.key not in known]
    evaluated = job.summary("evaluate")
    then = next((row for row in evaluated["table"] if row["system"] == ADAPTED), None)
    gain_then = Difference(*then["Recall@10 difference"]) if then and evaluated["weight"] else None
    if not new:
        holds, verdict = judge_drift(None, gain_then, 0, None)
        return Drift(0, 0, 0, None, None, None, None, gain_then, holds, verdict)

    sampled = sample_passages(new, count, settings.seed)
    query_settings = settings.queries.model_copy(update={"queries_per_passage": CHECK_QUERIES})
    with open_llm(job) as (engine, model_key):
        written = generate_queries(
            job.workspace, "check", engine, model_key, sampled, {}, query_settings,
            settings.seed, job.reporter,
        )  # fmt: skip
    queries = [
        Query(query.key, query.request.passage.key, query.request.style.name, query.text, None, "test")
        for query, reason in zip(written, rejected_by_text(written), strict=True)
        if reason is None
    ]  # fmt: skip
    passages = [*job.passages, *new]
    runs, vectors = {}, np.empty(0)
    for name, folder in ((BASE, job.embedder), (ADAPTED, model)):
        encoder, for_passages = (
            load_encoder(each, settings) for each in (folder, passage_model(folder))
        )
        vectors = embed(
            job.workspace, "check", for_passages, [passage.content for passage in passages], "passage",
            job.reporter, f"embedding passages, {name}",
        )  # fmt: skip
        asked = embed(
            job.workspace, "check", encoder, [query.text for query in queries], "query",
            job.reporter, f"embedding queries, {name}",
        )  # fmt: skip
        runs[name] = rank_by_vectors(asked, vectors)
    threads = threads_of(queries, new)
    base, adapted = measure(
        runs, qrels_of(queries, new), [query.key for query in queries],
        [passage.key for passage in passages], threads, settings.evaluation, settings.seed,
    )  # fmt: skip
    old_rows, new_rows = (
        sorted(rows, key=lambda row: content_key("drift", passages[row].key))[:CHECK_COMPARED]
        for rows in (range(len(job.passages)), range(len(job.passages), len(passages)))
    )
    distance = energy_distance(
        vectors[old_rows], vectors[new_rows],
        [passages[row].thread for row in old_rows], [passages[row].thread for row in new_rows],
        settings.seed,
    )  # fmt: skip
    gain = adapted.differences.get("Recall@10")
    holds, verdict = judge_drift(gain, gain_then, len(set(threads)), distance)
    return Drift(
        len(new), len(queries), len(set(threads)), distance, base.metrics["Recall@10"],
        adapted.metrics["Recall@10"], gain, gain_then, holds, verdict,
    )  # fmt: skip
