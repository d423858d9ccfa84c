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
    micro_batches: Sequence[Sequence[int]],
    loss_of: Callable[[Tensor], Tensor],
    seed: int,
    device: torch.device,
    num_graphs: int = 1,
    num_recorded: int = 0,
) -> float:
    """Add the gradient of a loss over many texts to the trainable parameters.

    Gao et al. 2021 (arXiv 2101.06983), section 3: encode all texts without a graph, compute the
    loss's gradient with respect to their vectors, then encode each micro-batch again with a graph,
    and backpropagate its part of that gradient. Here, queries, positives and negatives are one
    stream of texts that is split into micro-batches.

    Under torchrun the micro-batches are distributed among the processes. Every process computes the
    loss over all vectors, and `all_reduce_gradients` sums what each has backpropagated.

    Args:
        embed: Maps the numbers of some texts to their vectors, float32 (texts, dimensions).
        micro_batches: The numbers of each micro-batch's texts. Together they contain every number
            from 0 to the last exactly once.
        loss_of: Maps the vectors of all texts, ordered by number, to a scalar.
        seed: Seed of the dropout masks, which are the same in both forward passes of a micro-batch.
        device: The device of the vectors.
        num_graphs: This many of this process's micro-batches, the last ones, are encoded once and
            keep their graphs. If there are no others, this is training without gradient caching.
        num_recorded: For this many micro-batches before those, some activations are recorded
            (kernels/activation_cache.py), and the second forward pass replays them.

    Returns:
        The loss.
    """
    rank, processes = rank_and_world_size()
    mine = range(rank, len(micro_batches), processes)
    split = max(0, len(mine) - num_graphs)
    twice, once = mine[:split], mine[split:]
    caches = {number: ActivationCache() for number in twice[max(0, len(twice) - num_recorded) :]}

    def encode(
        number: int, use: Callable[[ActivationCache], AbstractContextManager[None]] = recording
    ) -> Tensor:
        cache = use(caches[number]) if number in caches else nullcontext()
        with _seeded(seed + number), cache:
            return embed(micro_batches[number])

    with torch.no_grad():
        vectors = {number: encode(number) for number in twice}
    graphs = {number: encode(number) for number in once}
    vectors |= {number: part.detach() for number, part in graphs.items()}
    # Copied to the device once; a list as an index would be copied at every use.
    order = torch.tensor(list(chain.from_iterable(micro_batches))).to(device)
    gathered = _gather(vectors, micro_batches, order, device)
    loss = loss_of(gathered)
    loss.backward()
    gradient = gathered.grad
    assert gradient is not None
    parts = gradient[order].split([len(members) for members in micro_batches])
    for number in once:
        graphs.pop(number).backward(parts[number])
    for number in twice:
        encode(number, replaying).backward(parts[number])
    return loss.item()


def _gather(
    vectors: Mapping[int, Tensor],
    micro_batches: Sequence[Sequence[int]],
    order: Tensor,
    device: torch.device,
) -> Tensor:
    """The vectors of all processes, ordered by text number, as a leaf that requires a gradient."""
    width = next((part.shape[1] for part in vectors.values()), 0)
    processes = rank_and_world_size()[1]
    if processes > 1:
        widest = torch.tensor(width, device=device)
        distributed.all_reduce(widest, distributed.ReduceOp.MAX)
        width = int(widest)
    gathered = torch.zeros(len(order), width, dtype=torch.float32, device=device)
    places = order.split([len(members) for members in micro_batches])
    for number, part in vectors.items():
        gathered[places[number]] = part
    if processes > 1:
        distributed.all_reduce(gathered)  # each row is nonzero in one process only
    return gathered.requires_grad_()


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch within the context, and restore the caller's generators afterwards."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
