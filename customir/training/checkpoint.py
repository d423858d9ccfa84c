"""The trainer's checkpoint: one safetensors file, replaced whole, with a JSON header."""

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
    """How far training is. Data order, learning rate and dropout follow from the step alone.

    Attributes:
        fingerprint: Of base, examples, settings and seed.
        tokens_per_pass: Lower than the setting where memory ran out.
        losses: One a finished step.
        seconds: Of work, over all runs.
        best: The highest Recall@10 on the held-out queries; -1: not measured.
        stale: Epochs since then.
        tokens: Encoded in one forward each, and the rows in which they were computed.
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
    """Replace the checkpoint in `folder` by this state; a crash leaves the old one or the new."""
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
    """Put the state of an interrupted run of the same work back into `weights` and `optimizer`.

    Returns:
        How far it was and the weights that were best on the held-out queries (none: not measured).
        None, with nothing changed, where there is no checkpoint, where it belongs to other data,
        or where it is damaged.
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
