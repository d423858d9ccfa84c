"""One training step: loss and gradient of a batch, in smaller micro-batches if memory runs out."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from customir.kernels.infonce import info_nce
from customir.progress import Reporter
from customir.settings import TrainingSettings
from customir.training.batches import Batch
from customir.training.distributed import rank_and_world_size
from customir.training.gradient_cache import backward
from customir.training.memory_budget import activation_cache
from customir.training.texts import Texts

MIN_TOKENS = 64


@dataclass(frozen=True)
class StepCost:
    """The loss of a batch, its tokens, and the rows that one forward pass computes for them."""

    loss: float
    tokens: int
    rows: int


def accumulate_gradient(
    mini_batch_num_tokens: int,
    texts: Texts,
    batch: Batch,
    settings: TrainingSettings,
    base_vectors: Tensor | None,
    seed: int,
) -> StepCost:
    """Add the gradient of the batch's loss to the weights.

    Args:
        mini_batch_num_tokens: Tokens in a micro-batch; less than the setting after memory ran out.
        base_vectors: The base model's vectors of all texts, float32 (texts, dimensions), if the
            passage encoder is frozen; otherwise None.
        seed: Seed of the dropout masks.
    """
    numbers = texts.numbers_of(batch)
    passages = None
    if base_vectors is not None:
        numbers, rest = numbers[: len(batch.queries)], numbers[len(batch.queries) :]
        passages = base_vectors[rest].to(texts.encoder.device)

    def loss_of(trained: Tensor) -> Tensor:
        vectors = trained if passages is None else torch.cat([trained, passages])
        return contrastive_loss(vectors, batch, settings)

    lengths = [len(texts.tokens[number]) for number in numbers]
    micro_batches = texts.encoder.cut(lengths, mini_batch_num_tokens)
    # After memory ran out, no activations are cached.
    device, graphs, recorded = texts.encoder.device, 1, 0
    if mini_batch_num_tokens == settings.mini_batch_num_tokens:
        tokens = sum(lengths) // rank_and_world_size()[1]
        graphs, recorded = activation_cache(tokens, settings, device)
    loss = backward(
        lambda places: texts.embed([numbers[place] for place in places]),
        micro_batches,
        loss_of,
        seed,
        device,
        graphs,
        recorded,
    )
    rows = sum(
        texts.encoder.rows([lengths[place] for place in members]) for members in micro_batches
    )
    return StepCost(loss, sum(lengths), rows)


def contrastive_loss(vectors: Tensor, batch: Batch, settings: TrainingSettings) -> Tensor:
    """InfoNCE of the batch.

    Args:
        vectors: float32 (queries + passages, dimensions), the queries first.
    """
    queries, passages = vectors[: len(batch.queries)], vectors[len(batch.queries) :]
    return info_nce(
        queries[batch.asked],
        passages,
        batch.positives,
        settings.temperature,
        symmetric=settings.symmetric,
        mask=batch.mask,
        margin=settings.absolute_margin,
    )


def within_memory(
    work: Callable[..., StepCost],
    mini_batch_num_tokens: int,
    optimizer: torch.optim.Optimizer,
    reporter: Reporter,
) -> tuple[StepCost, int]:
    """Call `work` with ever smaller micro-batches, halved until memory suffices.

    Returns:
        The cost of the work, and the micro-batch size in tokens for which memory sufficed.
    """
    while True:
        try:
            return work(mini_batch_num_tokens=mini_batch_num_tokens), mini_batch_num_tokens
        except (MemoryError, RuntimeError) as error:
            # With several processes there is no retry: the others would wait forever.
            alone = rank_and_world_size()[1] == 1
            if not (_is_out_of_memory(error) and alone and mini_batch_num_tokens > MIN_TOKENS):
                raise
        optimizer.zero_grad()
        mini_batch_num_tokens //= 2
        reporter.say(
            "Memory ran out. Training continues with training.mini_batch_num_tokens = "
            f"{mini_batch_num_tokens}. The result is the same."
        )


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; on a CPU, torch raises a plain RuntimeError then."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or "can't allocate memory" in str(error)
