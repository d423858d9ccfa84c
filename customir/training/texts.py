"""The texts of a training run. They are tokenized and run through the frozen layers only once."""

import os
from collections.abc import Iterable, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from customir.encoder.folder import Kind
from customir.encoder.packing import pack
from customir.encoder.torch_encoder import Encoder
from customir.progress import Reporter
from customir.training.batches import Batch
from customir.training.distributed import rank_and_world_size
from customir.training.examples import Example
from customir.training.heap import Heap

FROZEN_NAME = "frozen-{rank}.bin"


class Texts:
    """The numbered query and passage texts of the examples.

    Attributes:
        encoder: The encoder that embeds them.
        tokens: Token ids of each text, int32.
        truncated: How many texts are longer than the encoder's limit.
    """

    def __init__(self, encoder: Encoder, examples: Sequence[Example]) -> None:
        queries = list(dict.fromkeys(example.query for example in examples))
        passages = list(dict.fromkeys(text for example in examples for text in example.passages))
        self.encoder = encoder
        self._numbers: dict[tuple[Kind, str], int] = {}
        for text in queries:
            self._numbers["query", text] = len(self._numbers)
        for text in passages:
            self._numbers["passage", text] = len(self._numbers)
        self.truncated = 0
        self.tokens: list[np.ndarray] = []
        columns: tuple[tuple[Kind, list[str]], ...] = (("query", queries), ("passage", passages))
        for kind, column in columns:
            found = encoder.tokenize(column, kind)
            self.tokens += found
            full = [len(ids) == encoder.max_tokens for ids in found]
            self.truncated += encoder.count_truncated(list(compress(column, full)), kind)
        self._heap = Heap()

    def numbers_of(self, batch: Batch) -> list[int]:
        """The numbers of the batch's queries, followed by those of its passages."""
        return [
            *(self._numbers["query", query] for query in batch.queries),
            *(self._numbers["passage", passage.text] for passage in batch.passages),
        ]

    def embed(self, numbers: Sequence[int]) -> Tensor:
        """Embed these texts in one forward pass; returns shape (len(numbers), dimensions)."""
        self._heap.trim()
        return self.encoder.embed([self.tokens[number] for number in numbers])

    def vectors(self, reporter: Reporter) -> Tensor:
        """Embed all texts by the encoder's current weights; on the CPU, without a graph."""
        lengths = [len(ids) for ids in self.tokens]
        found = torch.empty(len(lengths), self.encoder.dimensions)
        with reporter.task("Vectors of the base", total=len(lengths), unit="texts") as task:
            for members in self.encoder.cut(lengths, self.encoder.mini_batch_num_tokens):
                with torch.no_grad():
                    part = self.encoder.embed([self.tokens[number] for number in members])
                found[members] = part.cpu()
                task.advance(len(members))
        return found

    def close(self) -> None:
        """Do nothing; this class has no file on disk."""


class FrozenLayers(Texts):
    """Texts with the output of the frozen lower layers, computed once into a memory-mapped file.

    Args:
        trainable_layers: The number of layers above, which run in every forward pass.
        folder: Where the file is written. It has one vector per token, in the encoder's precision.
            `close` removes it.
    """

    def __init__(
        self,
        encoder: Encoder,
        examples: Sequence[Example],
        trainable_layers: int,
        folder: Path,
        reporter: Reporter,
    ) -> None:
        super().__init__(encoder, examples)
        self._path = folder / FROZEN_NAME.format(rank=rank_and_world_size()[0])
        below = len(encoder.layers) - trainable_layers
        self._upper = encoder.layers[below:]
        lengths = [len(ids) for ids in self.tokens]
        self._ends = np.cumsum(lengths)
        self._states = self._run(encoder.layers[:below], lengths, reporter)

    def embed(self, numbers: Sequence[int]) -> Tensor:
        self._heap.trim()
        encoder = self.encoder
        packed = pack([self.tokens[number] for number in numbers], encoder.device)
        states = torch.zeros(len(packed.ids), encoder.width, dtype=encoder.dtype)
        torch.cat([self._frozen_states(number) for number in numbers], out=states[: packed.tokens])
        states = encoder.run(states.to(encoder.device), packed, self._upper)
        return encoder.pool(states, packed)

    def close(self) -> None:
        """Delete the file."""
        del self._states
        self._path.unlink()

    def _frozen_states(self, number: int) -> Tensor:
        end = int(self._ends[number])
        states = self._states[end - len(self.tokens[number]) : end]
        return torch.from_numpy(states).view(self.encoder.dtype)

    def _run(
        self, lower: Iterable[nn.Module], lengths: list[int], reporter: Reporter
    ) -> np.memmap[Any, Any]:
        """Run the frozen layers over every text once, and write their output to the file."""
        encoder = self.encoder
        # A crash may have left a file, or somebody may have planted a link.
        self._path.unlink(missing_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        # numpy has no bfloat16, so its bits are stored as int16.
        kind, bits = (
            (np.int16, torch.int16)
            if encoder.dtype == torch.bfloat16
            else (np.float32, torch.float32)
        )
        try:
            # A full disk is an error here; later it would kill the process (SIGBUS).
            size = sum(lengths) * encoder.width * np.dtype(kind).itemsize
            os.posix_fallocate(descriptor, 0, size)
        except BaseException:
            self._path.unlink()
            raise
        finally:
            os.close(descriptor)
        states = np.memmap(self._path, dtype=kind, mode="r+", shape=(sum(lengths), encoder.width))
        with reporter.task("Frozen layers", total=len(lengths), unit="texts") as task:
            for members in encoder.cut(lengths, encoder.mini_batch_num_tokens):
                packed = pack([self.tokens[number] for number in members], encoder.device)
                with torch.inference_mode():
                    found = encoder.run(encoder.enter(packed), packed, lower)
                    parts = found[: packed.tokens].cpu().view(bits).numpy()
                start = 0
                for number in members:
                    end, length = int(self._ends[number]), lengths[number]
                    states[end - length : end] = parts[start : start + length]
                    start += length
                task.advance(len(members))
        return states
