"""The corpus with the queries of its held-out threads."""

from typing import TYPE_CHECKING

from customir.job import Job
from customir.job.self_supervised import held_out_pairs_of
from customir.workspace.queries import read_queries

if TYPE_CHECKING:
    from customir.evaluation.held_out import HeldOutData


def held_out_data_of(job: Job) -> "HeldOutData":
    """All passages, and the dev and test queries of the LLM and of people."""
    from customir.evaluation.held_out import HeldOutData

    queries = read_queries(job.workspace, splits=("dev", "test"))
    return HeldOutData(job.passages, queries, held_out_pairs_of(job))
