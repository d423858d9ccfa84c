"""The batch of tokens that one `llama_decode` computes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import llama_cpp
import numpy as np

from customir.llm.scheduler import LogitRequest


@dataclass(frozen=True)
class BatchToken:
    """A token of a batch, and whether its logits are requested."""

    token: int
    position: int
    sequence: int
    request: LogitRequest | None


class Batch:
    """A `llama_batch` over arrays that numpy fills. Each token belongs to one sequence."""

    def __init__(self, tokens: int) -> None:
        self._token = np.zeros(tokens, np.int32)
        self._position = np.zeros(tokens, np.int32)
        self._sequence = np.zeros(tokens, np.int32)
        self._sequences = np.ones(tokens, np.int32)
        self._wanted = np.zeros(tokens, np.int8)
        start, step = self._sequence.ctypes.data, self._sequence.itemsize
        self._pointers = np.arange(start, start + tokens * step, step, dtype=np.uintp)
        fields: Any = dict(llama_cpp.llama_batch._fields_)  # type: ignore[arg-type]
        self.struct = llama_cpp.llama_batch(
            n_tokens=0,
            token=self._token.ctypes.data_as(fields["token"]),
            pos=self._position.ctypes.data_as(fields["pos"]),
            n_seq_id=self._sequences.ctypes.data_as(fields["n_seq_id"]),
            seq_id=self._pointers.ctypes.data_as(fields["seq_id"]),
            logits=self._wanted.ctypes.data_as(fields["logits"]),
        )

    def fill(self, tokens: Sequence[BatchToken]) -> None:
        """Replace the tokens of the batch by `tokens`."""
        count = len(tokens)
        self._token[:count] = [one.token for one in tokens]
        self._position[:count] = [one.position for one in tokens]
        self._sequence[:count] = [one.sequence for one in tokens]
        self._wanted[:count] = [one.request is not None for one in tokens]
        self.struct.n_tokens = count
