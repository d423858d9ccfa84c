"""The texts of a training run: tokenized once, and run through the frozen layers once."""

import copy
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from customir.encoder import Encoder, Kind, cut_by_tokens
from customir.progress import Reporter
from customir.training.adapter import encoder_layers
from customir.training.batches import Batch
from customir.training.examples import Example
from customir.training.gradient_cache import place_among_processes

FROZEN_NAME = "frozen-{rank}.bin"


class Texts:
    """Every query and passage text of the examples, by a number.

    Attributes:
        tokens: Token ids of each text.
    """

    def __init__(self, encoder: Encoder, examples: Sequence[Example]) -> None:
        queries = list(dict.fromkeys(example.query for example in examples))
        passages = list(
            dict.fromkeys(
                passage.text
                for example in examples
                for passage in (example.positive, *example.negatives)
            )
        )
        self._encoder = encoder
        self._numbers: dict[tuple[Kind, str], int] = {}
        for text in queries:
            self._numbers["query", text] = len(self._numbers)
        for text in passages:
            self._numbers["passage", text] = len(self._numbers)
        self.tokens = encoder.tokenize(queries, "query") + encoder.tokenize(passages, "passage")

    def of(self, batch: Batch) -> list[int]:
        """The numbers of the batch's queries, then of its passages."""
        return [
            *(self._numbers["query", query] for query in batch.queries),
            *(self._numbers["passage", passage.text] for passage in batch.passages),
        ]

    def embed(self, numbers: Sequence[int]) -> Tensor:
        """Vectors of these texts by one forward pass, shape (len(numbers), dimensions)."""
        return self._encoder.embed([self.tokens[number] for number in numbers])

    def close(self) -> None:
        """Nothing is kept on disk here."""


class FrozenBelow(Texts):
    """Texts whose lower layers are frozen: run once, kept on disk, read through a memory map.

    Args:
        top_layers: How many layers are left to run in every pass.
        folder: Where the frozen layers' output is kept: one vector a token, in the encoder's
            precision. The file is removed by `close`.
    """

    def __init__(
        self,
        encoder: Encoder,
        examples: Sequence[Example],
        top_layers: int,
        folder: Path,
        reporter: Reporter,
    ) -> None:
        super().__init__(encoder, examples)
        self._path = folder / FROZEN_NAME.format(rank=place_among_processes()[0])
        layers = encoder_layers(encoder.model)[1]
        below = len(layers) - top_layers
        lower = _with_layers(encoder.model, layers[:below])
        self._upper = _with_layers(encoder.model, layers[below:])
        self._upper.embeddings = _Given()
        self._type = torch.bfloat16 if encoder.precision == "bf16" else torch.float32
        lengths = [len(ids) for ids in self.tokens]
        self._ends = np.cumsum(lengths)
        self._states = self._run(lower, lengths, encoder.dimensions, reporter)

    def embed(self, numbers: Sequence[int]) -> Tensor:
        longest = max(len(self.tokens[number]) for number in numbers)
        width = self._encoder.dimensions
        states = torch.zeros(len(numbers), longest, width, dtype=self._type)
        mask = torch.zeros(len(numbers), longest, dtype=torch.bool)
        for row, number in enumerate(numbers):
            count = len(self.tokens[number])
            end = int(self._ends[number])
            states[row, :count] = torch.from_numpy(self._states[end - count : end]).view(self._type)
            mask[row, :count] = True
        device = self._encoder.device
        states, mask = states.to(device), mask.to(device)
        with self._encoder.autocast():
            hidden = self._upper(inputs_embeds=states, attention_mask=mask.long())
        return self._encoder.pool(hidden.last_hidden_state.float(), mask)

    def close(self) -> None:
        """Delete the file."""
        del self._states
        self._path.unlink()

    def _run(
        self, lower: Any, lengths: list[int], width: int, reporter: Reporter
    ) -> np.memmap[Any, Any]:
        """One forward pass of the frozen layers over every text, into the file."""
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))
        kind = np.int16 if self._type == torch.bfloat16 else np.float32
        states = np.memmap(self._path, dtype=kind, mode="r+", shape=(sum(lengths), width))
        with reporter.task("Frozen layers", total=len(lengths), unit="texts") as task:
            for members in cut_by_tokens(lengths, 1024):
                ids, mask = self._encoder.padded([self.tokens[number] for number in members])
                with torch.inference_mode(), self._encoder.autocast():
                    found = lower(input_ids=ids, attention_mask=mask.long()).last_hidden_state
                found = (
                    found.to(self._type).cpu().view(torch.int16 if kind is np.int16 else self._type)
                )
                for row, number in enumerate(members):
                    end = int(self._ends[number])
                    states[end - lengths[number] : end] = found[row, : lengths[number]].numpy()
                task.advance(len(members))
        return states


class _Given(nn.Module):
    """In place of the embeddings: what comes in is the output of the layers below."""

    def forward(self, inputs_embeds: Tensor, **_: Any) -> Tensor:
        return inputs_embeds


def _with_layers(model: Any, layers: nn.ModuleList) -> Any:
    """The model with these layers alone; weights are shared, `model` stays as it is.

    BERT and MPNet: `model.encoder.layer`.
    """
    made = copy.copy(model)
    made._modules = dict(model._modules)
    made.encoder = copy.copy(model.encoder)
    made.encoder._modules = {**model.encoder._modules, "layer": layers}
    return made
