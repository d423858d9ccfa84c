"""The training loop: batches, learning rate, early stopping, checkpoints."""

import hashlib
import json
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from customir.encoder.torch_encoder import Encoder
from customir.errors import UserError
from customir.files import make_private_folder
from customir.processors import free_memory
from customir.progress import Reporter
from customir.settings import TrainingSettings
from customir.training import adapter, checkpoint
from customir.training.batches import collate, cut_epoch
from customir.training.checkpoint import Progress
from customir.training.dev_queries import DevQueries, recall
from customir.training.distributed import all_reduce_gradients, broadcast, rank_and_world_size
from customir.training.examples import Example, without_empty
from customir.training.memory_budget import estimated_bytes, with_budget
from customir.training.step import StepCost, accumulate_gradient, within_memory
from customir.training.texts import FrozenLayers, Texts

CHECKPOINT_SECONDS = 30.0
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class TrainingResult:
    """The result of training and its cost.

    Attributes:
        adapter: A folder that peft loads: adapter_config.json and adapter_model.safetensors.
        losses: The loss of each step.
        pairs: Pairs trained on, over all epochs.
        seconds: Time of work, over all runs if training was interrupted.
        padding: Share of the encoded tokens that was padding, from 0 to 1.
        skipped: Examples left out because their query or positive is empty.
        truncated: Texts longer than `training.max_seq_length`.
        dev_recall: Recall@10 of the adapter on the dev queries; None if it was not measured.
    """

    adapter: Path
    losses: tuple[float, ...]
    steps: int
    pairs: int
    seconds: float
    padding: float
    skipped: int
    truncated: int
    dev_recall: float | None


@dataclass(frozen=True)
class _Run:
    """The state that stays the same over all steps of a run.

    Attributes:
        settings: The settings, with the token budgets filled in.
        weights: The trainable weights by name.
        base_vectors: The base model's vectors of all texts, if the passage encoder is frozen.
        dev: The queries of early stopping; None if it is off.
        dev_passages: The base model's vectors of the dev passages, if the passage encoder is
            frozen.
    """

    encoder: Encoder
    examples: Sequence[Example]
    settings: TrainingSettings
    seed: int
    model: Any
    weights: Mapping[str, Tensor]
    optimizer: torch.optim.Optimizer
    base_vectors: Tensor | None
    dev: DevQueries | None
    dev_passages: np.ndarray | None
    reporter: Reporter

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.examples) // self.settings.batch_size)

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.settings.epochs


def train(
    base: Path,
    examples: Sequence[Example],
    settings: TrainingSettings,
    seed: int,
    device: str,
    folder: Path,
    reporter: Reporter,
    dev: DevQueries | None = None,
) -> TrainingResult:
    """Fit the embedder in `base` to `examples`: a LoRA adapter, or all weights (full fine-tuning).

    Under torchrun, with torch.distributed initialised by the caller, the processes share the work
    and the first one writes the files.

    If a run was interrupted, a call with the same arguments continues from the last checkpoint in
    `folder`. On a CPU it produces the same bytes as without the interruption.

    Args:
        base: A sentence-transformers folder.
        folder: Where the checkpoint and, at the end, the adapter are written.
        dev: The queries that early stopping measures; not needed if `early_stopping_patience` is 0.

    Raises:
        UserError: there are fewer than two usable examples, or the loss is no longer finite.
    """
    start, free = time.monotonic(), free_memory()
    usable = _usable(examples, reporter)
    make_private_folder(folder)
    encoder = Encoder.load(
        base, device, settings.max_seq_length, settings.precision, master_weights=True
    )
    _check_layers(encoder, settings)
    dev = dev if settings.early_stopping_patience and dev and dev.queries else None
    texts = Texts(encoder, usable)
    if texts.truncated:
        reporter.say(
            f"{texts.truncated} of {len(texts.tokens)} texts are longer than "
            f"training.max_seq_length = {encoder.max_tokens} and are truncated."
        )
    run = _prepare(encoder, texts, usable, settings, seed, dev, reporter)
    needed = estimated_bytes(encoder, run.settings) / 1e9
    short = encoder.device.type == "cpu" and free is not None and free < needed * 1e9
    reporter.say(
        f"Training takes about {needed:.1f} GB of memory"
        + (f", and {(free or 0) / 1e9:.1f} GB were free." if short else ".")
    )
    fingerprint = _fingerprint(encoder, usable, settings, seed, dev)
    found = checkpoint.load(folder, fingerprint, run.weights, run.optimizer)
    best: dict[str, Tensor] = {}
    if found is None:
        progress = Progress(fingerprint, run.settings.mini_batch_num_tokens)
    else:
        progress, best = found
        reporter.say(f"Training continues after step {progress.steps}.")
    if 0 < settings.trainable_layers < len(encoder.layers) and progress.steps < run.total_steps:
        texts = FrozenLayers(encoder, usable, settings.trainable_layers, folder, reporter)
    with closing(texts):
        progress, best = _loop(run, texts, progress, best, folder, start)
    if progress.steps < run.total_steps:
        reporter.say(
            f"Training stopped after {progress.steps} of {run.total_steps} steps: for "
            f"{progress.stale} epochs Recall@10 on the dev queries was not above "
            f"{progress.best:.3f}."
        )
    with torch.no_grad():
        for name, value in best.items():
            run.weights[name].copy_(value)
    return TrainingResult(
        adapter=_write(run, base, folder / "adapter"),
        losses=progress.losses,
        steps=progress.steps,
        pairs=progress.pairs,
        seconds=progress.seconds,
        padding=1 - progress.tokens / progress.rows,
        skipped=len(examples) - len(usable),
        truncated=texts.truncated,
        dev_recall=progress.best if dev else None,
    )


def _usable(examples: Sequence[Example], reporter: Reporter) -> list[Example]:
    """The examples whose texts are not empty.

    Raises:
        UserError: there are too few, or none has a negative.
    """
    usable = without_empty(list(examples))
    if skipped := len(examples) - len(usable):
        reporter.say(f"Training leaves out {skipped} examples with an empty query or passage.")
    if len(usable) < 2:
        raise UserError(
            f"Training needs at least 2 examples with text; there are {len(usable)}. "
            "Add documents, or let more queries through the filters."
        )
    if _nothing_to_contrast(usable):
        raise UserError(
            f"All {len(usable)} examples come from one thread or near-duplicate group, and passages "
            "of one are never each other's negatives: there is nothing to learn from. Add documents."
        )
    return usable


def _nothing_to_contrast(examples: Sequence[Example]) -> bool:
    """Whether the false-negative mask would hide every passage from every query."""
    passages = [
        passage for example in examples for passage in (example.positive, *example.negatives)
    ]
    threads = {passage.thread or passage.key for passage in passages}
    groups = {passage.duplicates or passage.key for passage in passages}
    return len(threads) == 1 or len(groups) == 1


def _check_layers(encoder: Encoder, settings: TrainingSettings) -> None:
    """Raise UserError if `trainable_layers` is too large or not supported for this model."""
    if settings.trainable_layers > len(encoder.layers):
        raise UserError(
            f"training.trainable_layers is {settings.trainable_layers}, but the model has "
            f"{len(encoder.layers)} layers. Lower it; 0 adapts all."
        )
    if settings.trainable_layers and not encoder.supports_packing:
        raise UserError(
            "training.trainable_layers: not supported for models of type "
            f"{encoder.model.config.model_type}. Set it to 0."
        )


def _prepare(
    encoder: Encoder,
    texts: Texts,
    examples: Sequence[Example],
    settings: TrainingSettings,
    seed: int,
    dev: DevQueries | None,
    reporter: Reporter,
) -> _Run:
    """Compute the base model's vectors, if they are needed, then make the weights trainable."""
    frozen = settings.freeze_passage_encoder
    base_vectors = texts.vectors(reporter) if frozen else None
    dev_passages = encoder.encode(dev.passages, "passage") if dev and frozen else None
    if settings.full_fine_tuning:
        adapter.unfreeze(encoder, settings.trainable_layers)
        model: Any = encoder.model
    else:
        model = adapter.attach(encoder, settings, seed)
    weights = {name: value for name, value in model.named_parameters() if value.requires_grad}
    return _Run(
        encoder=encoder,
        examples=examples,
        settings=with_budget(settings, encoder),
        seed=seed,
        model=model,
        weights=weights,
        optimizer=torch.optim.AdamW(weights.values(), lr=settings.learning_rate),
        base_vectors=base_vectors,
        dev=dev,
        dev_passages=dev_passages,
        reporter=reporter,
    )


def _loop(
    run: _Run,
    texts: Texts,
    progress: Progress,
    best: dict[str, Tensor],
    folder: Path,
    start: float,
) -> tuple[Progress, dict[str, Tensor]]:
    """Train from `progress` to the end, or until the dev recall stops improving.

    Returns:
        The progress, and the weights with the best dev recall.
    """
    before, saved = progress.seconds, time.monotonic()
    batches: list[list[int]] = []
    with run.reporter.task("Training", total=run.total_steps, unit="steps") as task:
        task.advance(progress.steps)
        for step in range(progress.steps, run.total_steps):
            if run.dev and progress.stale >= run.settings.early_stopping_patience:
                break
            epoch, number = divmod(step, run.steps_per_epoch)
            if number == 0 or not batches:
                batches = cut_epoch(run.examples, run.settings.batch_size, run.seed, epoch)
            cost, budget = _step(run, texts, batches[number], step, progress.mini_batch_num_tokens)
            progress = replace(
                progress,
                mini_batch_num_tokens=budget,
                losses=(*progress.losses, cost.loss),
                pairs=progress.pairs + len(batches[number]),
                seconds=before + time.monotonic() - start,
                tokens=progress.tokens + cost.tokens,
                rows=progress.rows + cost.rows,
            )
            measured = run.dev is not None and number == run.steps_per_epoch - 1
            if measured:
                progress, best = _measure(run, progress, best)
            due = step + 1 == run.total_steps or time.monotonic() - saved >= CHECKPOINT_SECONDS
            if (due or measured) and rank_and_world_size()[0] == 0:
                checkpoint.save(folder, progress, run.weights, run.optimizer, best)
                saved = time.monotonic()
            task.advance()
    return progress, best


def _step(
    run: _Run, texts: Texts, members: Sequence[int], step: int, mini_batch_num_tokens: int
) -> tuple[StepCost, int]:
    """Run one optimizer step.

    Returns:
        Its cost, and the micro-batch size in tokens for which memory sufficed.

    Raises:
        UserError: the loss or the gradient is not finite.
    """
    settings, optimizer = run.settings, run.optimizer
    batch = collate([run.examples[index] for index in members]).to(run.encoder.device)
    schedule = _learning_rate_factor(step, run.total_steps, settings.warmup_ratio)
    optimizer.param_groups[0]["lr"] = settings.learning_rate * schedule
    work = partial(
        accumulate_gradient,
        texts=texts,
        batch=batch,
        settings=settings,
        base_vectors=run.base_vectors,
        seed=_step_seed(run.seed, step),
    )
    cost, budget = within_memory(work, mini_batch_num_tokens, optimizer, run.reporter)
    all_reduce_gradients(run.weights.values())
    norm = torch.nn.utils.clip_grad_norm_(run.weights.values(), MAX_GRADIENT_NORM)
    if not (math.isfinite(cost.loss) and math.isfinite(norm.item())):
        raise UserError(
            f"Training: the loss of step {step + 1} is {cost.loss}, its gradient's norm "
            f"{norm.item()}. Lower training.learning_rate, raise training.temperature, or "
            'set training.precision = "fp32".'
        )
    optimizer.step()
    optimizer.zero_grad()
    return cost, budget


def _measure(
    run: _Run, progress: Progress, best: dict[str, Tensor]
) -> tuple[Progress, dict[str, Tensor]]:
    """Measure the dev recall after an epoch, and copy the weights if it is the best so far."""
    assert run.dev is not None
    with adapter.without_dropout(run.model):
        reached = broadcast(recall(run.encoder, run.dev, run.dev_passages))
    if reached <= progress.best:
        return replace(progress, stale=progress.stale + 1), best
    copies = {name: value.detach().cpu().clone() for name, value in run.weights.items()}
    return replace(progress, best=reached, stale=0), copies


def _write(run: _Run, base: Path, folder: Path) -> Path:
    """Write the adapter, or the full weights, in the first process only."""
    if rank_and_world_size()[0] == 0:
        shutil.rmtree(folder, ignore_errors=True)  # an earlier run may have written the other kind
        if run.settings.full_fine_tuning:
            adapter.save_full(run.weights, folder)
        else:
            adapter.save(run.model, base, folder)
    return folder


def _learning_rate_factor(step: int, total: int, warmup_ratio: float) -> float:
    """Linear warm-up over the first steps, then linear decay to 0."""
    warmup = max(1, round(warmup_ratio * total))
    return min((step + 1) / warmup, (total - step) / max(1, total - warmup + 1))


def _step_seed(seed: int, step: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {step}".encode()).digest()[:7], "big")


def _fingerprint(
    encoder: Encoder,
    examples: Sequence[Example],
    settings: TrainingSettings,
    seed: int,
    dev: DevQueries | None,
) -> str:
    """A hash of everything that determines the trained weights."""
    digest = hashlib.sha256()
    digest.update(json.dumps([encoder.fingerprint, settings.model_dump(), seed]).encode())
    for example in examples:
        about = {**asdict(example), "relevant": sorted(example.relevant)}
        digest.update(json.dumps(about).encode())
    if dev:
        relevant = [sorted(each) for each in dev.relevant]
        parts = [list(dev.queries), list(dev.passages), relevant]
        digest.update(json.dumps(parts).encode())
    return digest.hexdigest()
