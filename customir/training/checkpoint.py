"""The trainer's checkpoint: one safetensors file with a JSON header, replaced atomically."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from customir.files import write_atomically

NAME = "checkpoint.safetensors"
# AdamW's two moments of each weight (Loshchilov and Hutter 2019, arXiv 1711.05101).
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Progress:
    """The progress of training. Data order, learning rate and dropout depend on the step alone.

    Attributes:
        fingerprint: Hash of base, examples, settings and seed.
        mini_batch_num_tokens: Tokens in a micro-batch; lower than the setting after memory ran out.
        losses: One per finished step.
        pairs: Pairs trained on.
        seconds: Time of work, over all runs.
        tokens: Tokens of all batches, each counted once.
        rows: Rows that one forward pass computed for these tokens, with padding.
        best: The highest Recall@10 on the dev queries; -1 if it was not measured.
        stale: Epochs since `best` was reached.
    """

    fingerprint: str
    mini_batch_num_tokens: int
    losses: tuple[float, ...] = ()
    pairs: int = 0
    seconds: float = 0.0
    tokens: int = 0
    rows: int = 0
    best: float = -1.0
    stale: int = 0

    @property
    def steps(self) -> int:
        """Finished optimizer steps."""
        return len(self.losses)


def save(
    folder: Path,
    progress: Progress,
    weights: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    best: Mapping[str, Tensor],
) -> None:
    """Replace the checkpoint in `folder` by this state; a crash leaves the old or the new one."""
    tensors: dict[str, Tensor] = {}
    for name, weight in weights.items():
        state = optimizer.state[weight]
        tensors[f"weight.{name}"] = weight.detach().cpu().contiguous()
        for moment in MOMENTS:
            tensors[f"{moment}.{name}"] = state[moment].cpu().contiguous()
    tensors |= {f"best.{name}": weight for name, weight in best.items()}
    header = {"progress": json.dumps(asdict(progress))}
    write_atomically(folder / NAME, safetensors.torch.save(tensors, header))


def load(
    folder: Path,
    fingerprint: str,
    weights: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> tuple[Progress, dict[str, Tensor]] | None:
    """Restore the state of an interrupted run of the same work into `weights` and `optimizer`.

    Returns:
        The progress, and the weights that were best on the dev queries (empty if not measured).
        None, with nothing changed, if there is no checkpoint, if it is damaged, or if it has
        another fingerprint.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, KeyError, TypeError, json.JSONDecodeError):
        return None
    progress = Progress(**{**about, "losses": tuple(about["losses"])})
    if progress.fingerprint != fingerprint:
        return None
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(tensors[f"weight.{name}"])
            state = {moment: tensors[f"{moment}.{name}"].to(weight.device) for moment in MOMENTS}
            optimizer.state[weight] = {"step": torch.tensor(float(progress.steps)), **state}
    best = {
        name.removeprefix("best."): tensors[name] for name in tensors if name.startswith("best.")
    }
    return progress, best
