"""Token sampling by llama.cpp, with a seed of its own for each answer."""

import ctypes
import math
from typing import Any

import llama_cpp
import numpy as np

from customir.llm.prompt import Sampling

# llama.cpp decides about logits that are this close to the limit.
MARGIN = 0.01
TOKEN_DATA = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
DATA_POINTER = ctypes.POINTER(llama_cpp.llama_token_data)


def candidates(row: np.ndarray, sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """The tokens that can be drawn, and their logits.

    llama.cpp's sampler chain would copy and sort the whole vocabulary for every token. Therefore it
    receives only the tokens that can pass min-p. Their probabilities do not change.

    Args:
        row: float32 (vocabulary,).
    """
    if sampling.temperature == 0:
        tokens = np.array([row.argmax()])
    elif sampling.min_p > 0:
        tokens = np.flatnonzero(row >= row.max() + np.float32(math.log(sampling.min_p) - MARGIN))
    else:
        tokens = np.arange(len(row))
    return tokens, row[tokens]


class Sampler:
    """A sampler chain of llama.cpp: top-k, min-p, temperature and draw; greedy at temperature 0."""

    def __init__(self, sampling: Sampling, seed: int) -> None:
        self._chain: int | None = llama_cpp.llama_sampler_chain_init(
            llama_cpp.llama_sampler_chain_default_params()
        )
        self._greedy = sampling.temperature == 0
        for part in (
            llama_cpp.llama_sampler_init_top_k(sampling.top_k),
            llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1),
            llama_cpp.llama_sampler_init_temp(sampling.temperature),
            # 2**32 - 1 would make llama.cpp choose a random seed.
            llama_cpp.llama_sampler_init_dist(seed % (2**32 - 1)),
        ):
            llama_cpp.llama_sampler_chain_add(self._chain, part)

    def draw(self, tokens: np.ndarray, logits: np.ndarray) -> int:
        """Draw the next token from those that `candidates` returned."""
        if self._greedy:
            return int(tokens[0])
        data = np.zeros(len(tokens), TOKEN_DATA)
        data["id"], data["logit"] = tokens, logits
        array: Any = llama_cpp.llama_token_data_array(
            data=data.ctypes.data_as(DATA_POINTER), size=len(data), selected=-1, sorted=False
        )
        llama_cpp.llama_sampler_apply(self._chain, ctypes.byref(array))
        drawn = int(array.data[array.selected].id)
        llama_cpp.llama_sampler_accept(self._chain, drawn)
        return drawn

    def close(self) -> None:
        """Free the chain."""
        if self._chain is not None:
            llama_cpp.llama_sampler_free(self._chain)
            self._chain = None
