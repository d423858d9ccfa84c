"""Gradient caching: the whole batch's gradient in the memory of one micro-batch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from customir.encoder import cut_by_tokens


@dataclass(frozen=True)
class Pass:
    """What a batch cost: its loss, and the tokens of one forward with and without padding."""

    loss: float
    tokens: int
    padded_tokens: int


def backward(
    embed: Callable[[Sequence[int]], Tensor],
    lengths: Sequence[int],
    loss_of: Callable[[Tensor], Tensor],
    tokens_per_pass: int,
    seed: int,
) -> Pass:
    """Add the gradient of a loss over many texts to the parameters that want one.

    Gao et al. 2021 (arXiv 2101.06983), section 3: represent all texts without a graph, take the
    loss's gradient at the representations, then represent each micro-batch again, with a graph,
    and push its part of that gradient through. All columns (queries, positives, negatives) are one
    stream of texts here, cut by length. The last micro-batch keeps the graph of its first forward,
    so a batch that fits into one micro-batch is represented once.

    Under torchrun the micro-batches are dealt out among the processes; every one computes the loss
    over all representations, and `sum_gradients` adds up what each pushed through.

    Args:
        embed: From positions in `lengths` to representations, float32 (texts, dimensions).
        lengths: Tokens of each text.
        loss_of: From the representations of all texts, in their order, to a scalar.
        tokens_per_pass: Most tokens in a micro-batch, padding counted: what bounds the memory.
        seed: Decides the dropout masks; a micro-batch has the same ones in both of its forwards.
    """
    passes = cut_by_tokens(lengths, tokens_per_pass)
    rank, processes = place_among_processes()
    mine = range(rank, len(passes), processes)

    def represent(number: int) -> Tensor:
        with _seeded(seed + number):
            return embed(passes[number])

    with torch.no_grad():
        found = {number: represent(number) for number in mine[:-1]}
    last = represent(mine[-1]) if mine else None
    if last is not None:
        found[mine[-1]] = last.detach()
    representations = _gathered(found, passes)
    loss = loss_of(representations)
    loss.backward()
    gradient = representations.grad
    assert gradient is not None
    if last is not None:
        last.backward(gradient[passes[mine[-1]]])
        del last
    for number in mine[:-1]:
        represent(number).backward(gradient[passes[number]])
    return Pass(
        loss=loss.item(),
        tokens=sum(lengths),
        padded_tokens=sum(lengths[members[0]] * len(members) for members in passes),
    )


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
