"""The training loop: InfoNCE over the whole batch, gradient caching, early stopping, checkpoints."""

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from customir.encoder import Encoder
from customir.errors import UserError
from customir.files import make_private_folder
from customir.kernels import info_nce, listwise_kl
from customir.progress import Reporter
from customir.settings import TrainingSettings
from customir.training import adapter, checkpoint
from customir.training.batches import Batch, collate, cut_epoch
from customir.training.budget import passes_kept, with_budget
from customir.training.examples import Example, without_empty
from customir.training.gradient_cache import backward
from customir.training.held_out import HeldOut, recall
from customir.training.processes import all_reduce_gradients, broadcast, rank_and_world_size
from customir.training.teachers import Teacher, distillation_targets
from customir.training.texts import FrozenBelow, Texts

CHECKPOINT_SECONDS = 30.0
CLIP = 1.0
LEAST_TOKENS = 64


@dataclass(frozen=True)
class Pass:
    """What a batch cost: its loss, its tokens, and the rows in which one forward computes them."""

    loss: float
    tokens: int
    rows: int


@dataclass(frozen=True)
class TrainingResult:
    """What training made and what it cost.

    Attributes:
        adapter: A folder that peft loads: adapter_config.json and adapter_model.safetensors.
        losses: One a step.
        pairs: Trained on, over all epochs.
        seconds: Of work, over all runs where it was interrupted.
        padding: Share of the encoded tokens that was padding, from 0 to 1.
        skipped: Examples left out because their query or positive is empty.
        cut: Texts that are longer than `training.max_seq_length`, and so read in part.
        held_out: Recall@10 of the adapter on the held-out queries; None: not measured.
    """

    adapter: Path
    losses: tuple[float, ...]
    steps: int
    pairs: int
    seconds: float
    padding: float
    skipped: int
    cut: int
    held_out: float | None


def train(
    base: Path,
    examples: Sequence[Example],
    settings: TrainingSettings,
    seed: int,
    device: str,
    folder: Path,
    reporter: Reporter,
    held_out: HeldOut | None = None,
    teacher: Teacher | None = None,
) -> TrainingResult:
    """Fit the embedder in `base` to `examples`: a LoRA adapter, or with `settings.full_fine_tuning` its weights.

    In several processes (torchrun, with torch.distributed initialised by the caller) the work is
    shared and the first process writes the files.

    Interrupted and called again with the same arguments, it goes on from the last checkpoint in
    `folder` and, on a CPU, comes to the same bytes as without the interruption.

    Args:
        base: A sentence-transformers folder.
        folder: Where the checkpoint and, at the end, the adapter are written.
        held_out: What `settings.early_stopping_patience` goes by; not needed where that is 0.
        teacher: Whose scores of the batch distillation learns, instead of those that the examples
            come with; needs `settings.distillation_weight`.

    Raises:
        UserError: there are fewer than two usable examples, or the loss is no number any more.
    """
    start = time.monotonic()
    usable = without_empty(list(examples))
    skipped = len(examples) - len(usable)
    if skipped:
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
    make_private_folder(folder)
    encoder = Encoder.load(
        base, device, settings.max_seq_length, settings.precision, master_weights=True
    )
    layers = len(encoder.layers)
    if settings.trainable_layers > layers:
        raise UserError(
            f"training.trainable_layers is {settings.trainable_layers}, and the model has {layers}. "
            "Lower it; 0 adapts all."
        )
    if settings.trainable_layers and not encoder.packs:
        raise UserError(
            f"training.trainable_layers: not for models of type {encoder.model.config.model_type}. "
            "Set it to 0."
        )
    fingerprinted, settings = settings, with_budget(settings, encoder)
    watched = (
        held_out if settings.early_stopping_patience and held_out and held_out.queries else None
    )
    texts = Texts(encoder, usable)
    if texts.cut:
        reporter.say(
            f"{texts.cut} of {len(texts.tokens)} texts are longer than training.max_seq_length = "
            f"{encoder.max_tokens} and are read up to there."
        )
    # Of the base, so before anything learns.
    base_vectors = (
        texts.vectors(reporter)
        if settings.embedding_regularization or settings.freeze_passage_encoder
        else None
    )
    base_passages = (
        encoder.encode(watched.passages, "passage")
        if watched and settings.freeze_passage_encoder
        else None
    )
    if settings.full_fine_tuning:
        adapter.unfreeze(encoder, settings.trainable_layers)
        model: Any = encoder.model
    else:
        model = adapter.attach(encoder, settings, seed)
    weights = {name: value for name, value in model.named_parameters() if value.requires_grad}
    optimizer = torch.optim.AdamW(weights.values(), lr=settings.learning_rate)
    fingerprint = _fingerprint(encoder, usable, fingerprinted, seed, watched, teacher)
    best: dict[str, Tensor] = {}
    found = checkpoint.load(folder, fingerprint, weights, optimizer)
    if found is None:
        state = checkpoint.Progress(fingerprint, settings.mini_batch_num_tokens)
    else:
        state, best = found
        reporter.say(f"Training goes on after step {state.steps}.")
    per_epoch = -(-len(usable) // settings.batch_size)
    total = per_epoch * settings.epochs
    if 0 < settings.trainable_layers < layers and state.steps < total:
        texts = FrozenBelow(encoder, usable, settings.trainable_layers, folder, reporter)
    first = rank_and_world_size()[0] == 0
    before, saved = state.seconds, time.monotonic()
    batches: list[list[int]] = []
    with closing(texts), reporter.task("Training", total=total, unit="steps") as task:
        task.advance(state.steps)
        for step in range(state.steps, total):
            if watched and state.stale >= settings.early_stopping_patience:
                break
            epoch, number = divmod(step, per_epoch)
            if number == 0 or not batches:
                batches = cut_epoch(usable, settings.batch_size, seed, epoch)
            batch = collate([usable[index] for index in batches[number]]).to(encoder.device)
            if teacher:
                batch = distillation_targets(batch, teacher)
            optimizer.param_groups[0]["lr"] = settings.learning_rate * _schedule(
                step, total, settings.warmup_ratio
            )
            work = partial(
                _backward,
                texts=texts,
                batch=batch,
                settings=settings,
                base_vectors=base_vectors,
                seed=_step_seed(seed, step),
            )
            done, budget = _within_memory(work, state.mini_batch_num_tokens, optimizer, reporter)
            all_reduce_gradients(weights.values())
            norm = torch.nn.utils.clip_grad_norm_(weights.values(), CLIP)
            if not (math.isfinite(done.loss) and math.isfinite(norm.item())):
                raise UserError(
                    f"Training: the loss of step {step + 1} is {done.loss}, its gradient's norm "
                    f"{norm.item()}. Lower training.learning_rate, raise training.temperature, or "
                    'set training.precision = "fp32".'
                )
            optimizer.step()
            optimizer.zero_grad()
            state = replace(
                state,
                mini_batch_num_tokens=budget,
                losses=(*state.losses, done.loss),
                pairs=state.pairs + len(batches[number]),
                seconds=before + time.monotonic() - start,
                tokens=state.tokens + done.tokens,
                rows=state.rows + done.rows,
            )
            measured = watched and number == per_epoch - 1
            if watched and measured:
                with adapter.without_dropout(model):
                    reached = broadcast(recall(encoder, watched, base_passages))
                better = reached > state.best
                state = replace(
                    state,
                    best=max(reached, state.best),
                    stale=0 if better else state.stale + 1,
                )
                if better:
                    best = {name: value.detach().cpu().clone() for name, value in weights.items()}
            due = step + 1 == total or time.monotonic() - saved >= CHECKPOINT_SECONDS
            if (due or measured) and first:
                checkpoint.save(folder, state, weights, optimizer, best)
                saved = time.monotonic()
            task.advance()
    if state.steps < total:
        reporter.say(
            f"Training stopped after {state.steps} of {total} steps: for {state.stale} epochs "
            f"Recall@10 on the held-out queries was not above {state.best:.3f}."
        )
    with torch.no_grad():
        for name, value in best.items():
            weights[name].copy_(value)
    written = folder / "adapter"
    if first:
        shutil.rmtree(written, ignore_errors=True)  # of the other kind, perhaps
        if settings.full_fine_tuning:
            adapter.save_full(weights, written)
        else:
            adapter.save(model, base, written)
    return TrainingResult(
        adapter=written,
        losses=state.losses,
        steps=state.steps,
        pairs=state.pairs,
        seconds=state.seconds,
        padding=1 - state.tokens / state.rows,
        skipped=skipped,
        cut=texts.cut,
        held_out=state.best if watched else None,
    )


def _nothing_to_contrast(examples: Sequence[Example]) -> bool:
    """Whether the false-negative mask would hide every passage from every query."""
    passages = [
        passage for example in examples for passage in (example.positive, *example.negatives)
    ]
    threads = {passage.thread or passage.key for passage in passages}
    groups = {passage.duplicates or passage.key for passage in passages}
    return len(threads) == 1 or len(groups) == 1


def _within_memory(
    work: Callable[..., Pass], budget: int, optimizer: torch.optim.Optimizer, reporter: Reporter
) -> tuple[Pass, int]:
    """Do `work` with a budget of tokens that is halved until memory suffices; return that too."""
    while True:
        try:
            return work(mini_batch_num_tokens=budget), budget
        except (MemoryError, RuntimeError) as error:
            # Other processes would wait for this one's vectors for ever: so they get none.
            alone = rank_and_world_size()[1] == 1
            if not (_is_out_of_memory(error) and alone and budget > LEAST_TOKENS):
                raise
        optimizer.zero_grad()
        budget //= 2
        reporter.say(
            f"Memory ran out; training goes on with training.mini_batch_num_tokens = {budget}. "
            "The result is the same."
        )


def _is_out_of_memory(error: BaseException) -> bool:
    """torch raises a plain RuntimeError where the CPU's memory is used up."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or "can't allocate memory" in str(error)


def _backward(
    mini_batch_num_tokens: int,
    texts: Texts,
    batch: Batch,
    settings: TrainingSettings,
    base_vectors: Tensor | None,
    seed: int,
) -> Pass:
    """Add the batch's gradient to the weights."""
    numbers = texts.of(batch)
    base = None if base_vectors is None else base_vectors[numbers].to(texts.encoder.device)
    if settings.freeze_passage_encoder:
        numbers = numbers[: len(batch.queries)]

    def loss_of(learning: Tensor) -> Tensor:
        everything = learning
        if base is not None and settings.freeze_passage_encoder:
            everything = torch.cat([learning, base[len(learning) :]])
        loss = _loss(everything, batch, settings)
        if base is not None and settings.embedding_regularization:
            apart = (learning - base[: len(learning)]).square().sum(1)
            loss = loss + settings.embedding_regularization * apart.mean()
        return loss

    lengths = [len(texts.tokens[number]) for number in numbers]
    passes = texts.encoder.cut(lengths, mini_batch_num_tokens)
    # Where memory ran out before, nothing is kept that need not be.
    device, kept, in_part = texts.encoder.device, 1, 0
    if mini_batch_num_tokens == settings.mini_batch_num_tokens:
        kept, in_part = passes_kept(sum(lengths) // rank_and_world_size()[1], settings, device)
    loss = backward(
        lambda places: texts.embed([numbers[place] for place in places]),
        passes,
        loss_of,
        seed,
        device,
        kept,
        in_part,
    )
    rows = sum(texts.encoder.rows([lengths[place] for place in part]) for part in passes)
    return Pass(loss, sum(lengths), rows)


def _loss(representations: Tensor, batch: Batch, settings: TrainingSettings) -> Tensor:
    queries = representations[: len(batch.queries)]
    passages = representations[len(batch.queries) :]
    loss = info_nce(
        queries[batch.asked],
        passages,
        batch.positives,
        settings.temperature,
        symmetric=settings.symmetric,
        mask=batch.mask,
        margin=settings.absolute_margin,
    )
    if settings.distillation_weight:
        loss = loss + settings.distillation_weight * listwise_kl(
            queries[batch.asked],
            passages,
            batch.candidates,
            batch.scores,
            settings.temperature,
            settings.teacher_temperature,
        )
    return loss


def _schedule(step: int, total: int, warmup: float) -> float:
    """The learning rate's factor: up in a line for the first steps, then down in a line to 0."""
    rising = max(1, round(warmup * total))
    return min((step + 1) / rising, (total - step) / max(1, total - rising + 1))


def _step_seed(seed: int, step: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {step}".encode()).digest()[:7], "big")


def _fingerprint(
    encoder: Encoder,
    examples: Sequence[Example],
    settings: TrainingSettings,
    seed: int,
    held_out: HeldOut | None,
    teacher: Teacher | None,
) -> str:
    """Of all that decides the adapter's numbers."""
    digest = hashlib.sha256()
    digest.update(json.dumps([encoder.fingerprint, settings.model_dump(), seed]).encode())
    for example in examples:
        about = {**asdict(example), "relevant": sorted(example.relevant)}
        digest.update(json.dumps(about).encode())
    if teacher:
        digest.update(teacher.fingerprint.encode())
    if held_out:
        relevant = [sorted(each) for each in held_out.relevant]
        parts = [list(held_out.queries), list(held_out.passages), relevant]
        digest.update(json.dumps(parts).encode())
    return digest.hexdigest()
