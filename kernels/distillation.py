"""Listwise distillation: the embedder learns a teacher's order of each query's candidates."""

import torch
from torch import Tensor


def listwise_kl(
    queries: Tensor,
    passages: Tensor,
    candidates: Tensor,
    scores: Tensor,
    temperature: float,
    teacher_temperature: float,
) -> Tensor:
    """KL divergence from the teacher's distribution over a query's list to the embedder's.

    ListNet's top-one probabilities (Cao et al. 2007, section 4), as a KL divergence:

        mean_i sum_j t_ij (log t_ij - log s_ij), t = softmax(scores / teacher_temperature),
        s = softmax(queries . candidates / temperature)

    Args:
        queries: float32, shape (queries, dimensions).
        passages: float32, shape (passages, dimensions).
        candidates: int64, shape (queries, width): positions in `passages`, filled up with -1.
        scores: float32, shape (queries, width): the teacher's, in any unit; unread beside a -1.

    Returns:
        A scalar: the mean over the queries with at least two candidates; 0 where there is none.
    """
    there = candidates >= 0
    listed = there.sum(1) > 1
    if not listed.any():
        return queries.sum() * 0.0
    queries, candidates, scores, there = (
        part[listed] for part in (queries, candidates, scores, there)
    )
    products = torch.einsum("qd,qwd->qw", queries, passages[candidates.clamp(min=0)])
    lowest = torch.finfo(products.dtype).min
    student = torch.log_softmax((products / temperature).masked_fill(~there, lowest), 1)
    teacher = torch.log_softmax((scores / teacher_temperature).masked_fill(~there, lowest), 1)
    terms = teacher.exp() * (teacher - student)
    return terms.masked_fill(~there, 0.0).sum(1).mean()
