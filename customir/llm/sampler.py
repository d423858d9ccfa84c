"""Drawing tokens in C, each answer with a seed of its own."""

import ctypes
import math
from typing import Any

import llama_cpp
import numpy as np

from customir.llm.prompt import Sampling

# Logits this close to the limit are left for llama.cpp to decide on.
MARGIN = 0.01


class Sampler:
    """A sampler chain of llama.cpp: top-k, min-p, temperature, draw; greedy at temperature 0.

    The chain would copy and sort the whole vocabulary for every token. It is given only what can
    pass min-p, found in numpy: the same tokens with the same probabilities.
    """

    def __init__(self, sampling: Sampling, seed: int) -> None:
        self._chain: int | None = llama_cpp.llama_sampler_chain_init(
            llama_cpp.llama_sampler_chain_default_params()
        )
        self._greedy = sampling.temperature == 0
        self._limit = math.log(sampling.min_p) - MARGIN if sampling.min_p > 0 else -math.inf
        for part in (
            llama_cpp.llama_sampler_init_top_k(sampling.top_k),
            llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1),
            llama_cpp.llama_sampler_init_temp(sampling.temperature),
            # 2**32 - 1 would tell llama.cpp to draw a seed by chance.
            llama_cpp.llama_sampler_init_dist(seed % (2**32 - 1)),
        ):
            llama_cpp.llama_sampler_chain_add(self._chain, part)

    def draw(self, logits: np.ndarray) -> int:
        """The next token.

        Args:
            logits: float32 (vocabulary,).
        """
        if self._greedy:
            return int(np.argmax(logits))
        tokens = np.flatnonzero(logits >= logits.max() + self._limit)
        data = (llama_cpp.llama_token_data * len(tokens))()
        for place, token in enumerate(tokens.tolist()):
            data[place] = llama_cpp.llama_token_data(id=token, logit=logits[token], p=0.0)
        candidates: Any = llama_cpp.llama_token_data_array(
            data=data, size=len(tokens), selected=-1, sorted=False
        )
        llama_cpp.llama_sampler_apply(self._chain, ctypes.byref(candidates))
        drawn = int(candidates.data[candidates.selected].id)
        llama_cpp.llama_sampler_accept(self._chain, drawn)
        return drawn

    def close(self) -> None:
        """Free the chain."""
        if self._chain is not None:
            llama_cpp.llama_sampler_free(self._chain)
            self._chain = None
