"""Gradient caching: the whole batch's gradient in the memory of one micro-batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain

import torch
from torch import Tensor, distributed

from customir.kernels.activation_cache import ActivationCache, recording, replaying
from customir.training.distributed import rank_and_world_size


def backward(
    embed: Callable[[Sequence[int]], Tensor],
    passes: Sequence[Sequence[int]],
    loss_of: Callable[[Tensor], Tensor],
    seed: int,
    device: torch.device,
    kept: int = 1,
    kept_in_part: int = 0,
) -> float:
    """Add the gradient of a loss over many texts to the parameters that want one.

    Gao et al. 2021 (arXiv 2101.06983), section 3: represent all texts without a graph, take the
    loss's gradient at the representations, then represent each micro-batch again, with a graph,
    and push its part of that gradient through. All columns (queries, positives, negatives) are one
    stream of texts here, cut into micro-batches.

    Under torchrun the micro-batches are dealt out among the processes; every one computes the loss
    over all representations, and `all_reduce_gradients` adds up what each pushed through.

    Args:
        embed: From the numbers of some texts to representations, float32 (texts, dimensions).
        passes: Micro-batches, each the numbers of its texts; 0 up to the last one, each once.
        loss_of: From the representations of all texts, by their number, to a scalar.
        seed: Decides the dropout masks; a micro-batch has the same ones in both of its forwards.
        device: Where representations are.
        kept: The last so many micro-batches (of this process) are represented once: their graphs
            are kept. A batch of no more is what it would be without gradient caching.
        kept_in_part: Of so many micro-batches before these, some results are kept
            (kernels/activation_cache.py), so that the second forward has less to do.

    Returns:
        The loss.
    """
    rank, processes = rank_and_world_size()
    mine = range(rank, len(passes), processes)
    again, once = mine[: max(0, len(mine) - kept)], mine[max(0, len(mine) - kept) :]
    results = {number: ActivationCache() for number in again[max(0, len(again) - kept_in_part) :]}

    def represent(
        number: int, use: Callable[[ActivationCache], AbstractContextManager[None]] = recording
    ) -> Tensor:
        in_part = use(results[number]) if number in results else nullcontext()
        with _seeded(seed + number), in_part:
            return embed(passes[number])

    with torch.no_grad():
        found = {number: represent(number) for number in again}
    graphs = {number: represent(number) for number in once}
    found |= {number: part.detach() for number, part in graphs.items()}
    # On the device once: a list as an index is copied there at every use.
    order = torch.tensor(list(chain.from_iterable(passes))).to(device)
    representations = _gathered(found, passes, order, device)
    loss = loss_of(representations)
    loss.backward()
    gradient = representations.grad
    assert gradient is not None
    parts = gradient[order].split([len(members) for members in passes])
    for number in once:
        graphs.pop(number).backward(parts[number])
    for number in again:
        represent(number, replaying).backward(parts[number])
    return loss.item()


def _gathered(
    found: Mapping[int, Tensor],
    passes: Sequence[Sequence[int]],
    order: Tensor,
    device: torch.device,
) -> Tensor:
    """Everybody's representations by the texts' number, as a leaf that wants a gradient."""
    width = next((part.shape[1] for part in found.values()), 0)
    processes = rank_and_world_size()[1]
    if processes > 1:
        widest = torch.tensor(width, device=device)
        distributed.all_reduce(widest, distributed.ReduceOp.MAX)
        width = int(widest)
    gathered = torch.zeros(len(order), width, dtype=torch.float32, device=device)
    places = order.split([len(members) for members in passes])
    for number, part in found.items():
        gathered[places[number]] = part
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
