"""Gradient caching: the whole batch's gradient in the memory of one micro-batch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, distributed


def backward(
    embed: Callable[[Sequence[int]], Tensor],
    passes: Sequence[Sequence[int]],
    loss_of: Callable[[Tensor], Tensor],
    seed: int,
    kept: int = 1,
) -> float:
    """Add the gradient of a loss over many texts to the parameters that want one.

    Gao et al. 2021 (arXiv 2101.06983), section 3: represent all texts without a graph, take the
    loss's gradient at the representations, then represent each micro-batch again, with a graph,
    and push its part of that gradient through. All columns (queries, positives, negatives) are one
    stream of texts here, cut into micro-batches.

    Under torchrun the micro-batches are dealt out among the processes; every one computes the loss
    over all representations, and `sum_gradients` adds up what each pushed through.

    Args:
        embed: From the numbers of some texts to representations, float32 (texts, dimensions).
        passes: Micro-batches, each the numbers of its texts; 0 up to the last one, each once.
        loss_of: From the representations of all texts, by their number, to a scalar.
        seed: Decides the dropout masks; a micro-batch has the same ones in both of its forwards.
        kept: The last so many micro-batches (of this process) are represented once: their graphs
            are kept. A batch of no more is what it would be without gradient caching.

    Returns:
        The loss.
    """
    rank, processes = place_among_processes()
    mine = range(rank, len(passes), processes)
    again, once = mine[: max(0, len(mine) - kept)], mine[max(0, len(mine) - kept) :]

    def represent(number: int) -> Tensor:
        with _seeded(seed + number):
            return embed(passes[number])

    with torch.no_grad():
        found = {number: represent(number) for number in again}
    graphs = {number: represent(number) for number in once}
    found |= {number: part.detach() for number, part in graphs.items()}
    representations = _gathered(found, passes)
    loss = loss_of(representations)
    loss.backward()
    gradient = representations.grad
    assert gradient is not None
    for number in once:
        graphs.pop(number).backward(gradient[passes[number]])
    for number in again:
        represent(number).backward(gradient[passes[number]])
    return loss.item()


def place_among_processes() -> tuple[int, int]:
    """This process's rank and how many there are: (0, 1) outside torchrun."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def sum_gradients(weights: Iterable[Tensor]) -> None:
    """Add up each weight's gradient over the processes; nothing to do for one."""
    if place_among_processes()[1] > 1:
        for weight in weights:
            if weight.grad is None:  # this process had no micro-batch
                weight.grad = torch.zeros_like(weight)
            distributed.all_reduce(weight.grad)


def _gathered(found: Mapping[int, Tensor], passes: Sequence[Sequence[int]]) -> Tensor:
    """Everybody's representations in the texts' order, as a leaf that wants a gradient."""
    size = torch.tensor([part.shape[1] for part in found.values()][:1] or [0])
    count = sum(map(len, passes))
    processes = place_among_processes()[1]
    if processes > 1:
        distributed.all_reduce(size, distributed.ReduceOp.MAX)
    like = next(iter(found.values()), torch.empty(0))
    gathered = torch.zeros(count, int(size), dtype=torch.float32, device=like.device)
    for number, part in found.items():
        gathered[passes[number]] = part
    if processes > 1:
        distributed.all_reduce(gathered)  # each row is one process's and zero elsewhere
    return gathered.requires_grad_()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Random numbers that depend on `seed` alone; the caller's own go on as if nothing was."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
