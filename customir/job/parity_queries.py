"""Queries and passages on which exported files are compared."""

from typing import TYPE_CHECKING

import numpy as np

from customir.job import Job
from customir.workspace.queries import read_queries

if TYPE_CHECKING:
    from customir.exporters.similarity import HeldOut

# Four files embed them, in fp32 at 30 to 60 passages a second on two cores.
PARITY_PASSAGES, PARITY_QUERIES = 500, 1000


def parity_queries_of(job: Job) -> "HeldOut":
    """The dev and test queries, with their answers among a part of the corpus.

    Its passages are the answers and, up to `PARITY_PASSAGES`, others in the order of their keys,
    which are hashes.
    """
    from customir.evaluation.held_out import qrels_of, subset_with_answers
    from customir.evaluation.metrics import by_query
    from customir.exporters.similarity import HeldOut

    queries = read_queries(job.workspace, splits=("dev", "test"))[:PARITY_QUERIES]
    qrels = qrels_of(queries, job.passages)
    passages = subset_with_answers(job.passages, qrels, PARITY_PASSAGES)

    def metrics(rows: np.ndarray) -> dict[str, float]:
        asked, keys = [query.key for query in queries], [passage.key for passage in passages]
        values = by_query(qrels, asked, keys, rows)
        return {name: float(np.mean(each)) for name, each in values.items()}

    return HeldOut(
        [passage.content for passage in passages], [query.text for query in queries], metrics
    )
