"""The distillation loss against its definition, a query at a time."""

import pytest
import torch
from customir.kernels.distillation import listwise_kl


def test_equals_the_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    queries = torch.randn(4, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    passages = torch.randn(6, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    scores = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    lists = [[0, 1, 2], [3, 4], [5], [2, 0, 5]]
    candidates = torch.tensor([row + [-1] * (3 - len(row)) for row in lists])
    terms = []
    for number, row in enumerate(lists):
        if len(row) > 1:
            teacher = torch.softmax(scores[number, : len(row)] / 0.7, 0)
            student = torch.softmax(passages[row] @ queries[number] / 0.3, 0)
            terms.append((teacher * (teacher / student).log()).sum())
    wanted = torch.stack(terms).mean()
    found = listwise_kl(queries, passages, candidates, scores, 0.3, 0.7)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-12)
    for ours, exact in zip(
        torch.autograd.grad(found, (queries, passages)),
        torch.autograd.grad(wanted, (queries, passages)),
        strict=True,
    ):
        torch.testing.assert_close(ours, exact)


def test_no_lists_cost_nothing() -> None:
    queries = torch.randn(2, 8, requires_grad=True)
    loss = listwise_kl(queries, queries, torch.tensor([[0], [1]]), torch.zeros(2, 1), 1.0, 1.0)
    loss.backward()
    assert loss.item() == 0
    assert queries.grad.abs().max() == 0
