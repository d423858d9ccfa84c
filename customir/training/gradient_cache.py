"""Gradient caching: the whole batch's gradient in the memory of one micro-batch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

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

    Args:
        embed: From positions in `lengths` to representations, float32 (texts, dimensions).
        lengths: Tokens of each text.
        loss_of: From the representations of all texts, in their order, to a scalar.
        tokens_per_pass: Most tokens in a micro-batch, padding counted: what bounds the memory.
        seed: Decides the dropout masks; a micro-batch has the same ones in both of its forwards.
    """
    passes = cut_by_tokens(lengths, tokens_per_pass)
    places = torch.tensor([index for members in passes for index in members])

    def represent(number: int) -> Tensor:
        with _seeded(seed + number):
            return embed(passes[number])

    with torch.no_grad():
        parts = [represent(number) for number in range(len(passes) - 1)]
    last = represent(len(passes) - 1)
    found = torch.cat([*parts, last.detach()])
    representations = torch.empty_like(found)
    representations[places] = found
    representations.requires_grad_()
    loss = loss_of(representations)
    loss.backward()
    gradient = representations.grad
    assert gradient is not None
    last.backward(gradient[passes[-1]])
    del last
    for number, members in enumerate(passes[:-1]):
        represent(number).backward(gradient[members])
    return Pass(
        loss=loss.item(),
        tokens=sum(lengths),
        padded_tokens=sum(lengths[members[0]] * len(members) for members in passes),
    )


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Random numbers that depend on `seed` alone; the caller's own go on as if nothing was."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
