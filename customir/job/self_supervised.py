"""The corpus's self-supervised pairs: for training, and of held-out threads for evaluation."""

from typing import TYPE_CHECKING

from customir.job import Job
from customir.queries.splits import split_passages
from customir.workspace.documents import read_documents
from customir.workspace.queries import SelfSupervisedQuery

if TYPE_CHECKING:
    from customir.queries.self_supervised import Pairs


def pairs_of(job: Job) -> "Pairs":
    """All self-supervised pairs by kind."""
    from customir.queries.boilerplate import automatic
    from customir.queries.self_supervised import self_supervised_pairs

    by_people = [passage for passage in job.passages if not automatic(passage)]
    documents = read_documents(job.workspace)
    return self_supervised_pairs(documents, by_people, job.settings.queries.replies_per_thread)


def held_out_pairs_of(job: Job) -> list[SelfSupervisedQuery]:
    """The held-out pairs for choosing the interpolation weight, and those for the gate."""
    from customir.evaluation.gate import MINIMUM_THREADS
    from customir.queries.self_supervised import held_out_pairs

    splits = split_passages(
        job.passages, job.settings.evaluation.held_out_fraction, job.settings.seed
    )
    return held_out_pairs(pairs_of(job), job.passages, splits, MINIMUM_THREADS)
