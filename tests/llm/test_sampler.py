"""Draws are those of llama.cpp's whole chain over the whole vocabulary."""

import ctypes

import llama_cpp
import numpy as np
import pytest

from customir.llm.prompt import Sampling
from customir.llm.sampler import Sampler, candidates

WORDS = 5000


def drawn_by_llama(logits: np.ndarray, sampling: Sampling, seed: int, count: int) -> list[int]:
    """What top-k, min-p, temperature and a draw make of every token's logit."""
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    for part in (
        llama_cpp.llama_sampler_init_top_k(sampling.top_k),
        llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1),
        llama_cpp.llama_sampler_init_temp(sampling.temperature),
        llama_cpp.llama_sampler_init_dist(seed),
    ):
        llama_cpp.llama_sampler_chain_add(chain, part)
    tokens = []
    for _ in range(count):
        data = (llama_cpp.llama_token_data * len(logits))()
        for token, logit in enumerate(logits):
            data[token].id, data[token].logit = token, logit
        array = llama_cpp.llama_token_data_array(
            data=data, size=len(logits), selected=-1, sorted=False
        )
        llama_cpp.llama_sampler_apply(chain, ctypes.byref(array))
        tokens.append(int(array.data[array.selected].id))
    llama_cpp.llama_sampler_free(chain)
    return tokens


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("min_p", [0.0, 0.05, 0.5])
def test_the_same_seed_draws_the_same_tokens(temperature: float, min_p: float) -> None:
    logits = np.random.default_rng(0).normal(0, 3, WORDS).astype(np.float32)
    sampling = Sampling(temperature, 9, min_p=min_p)
    sampler = Sampler(sampling, 7)
    made = [sampler.draw(*candidates(logits, sampling)) for _ in range(12)]
    sampler.close()
    sampler.close()
    assert made == drawn_by_llama(logits, sampling, 7, 12)
    if min_p < 0.5:
        assert len(set(made)) > 1


def test_at_temperature_0_the_likeliest_is_taken() -> None:
    logits = np.random.default_rng(1).normal(0, 3, WORDS).astype(np.float32)
    greedy = Sampling(0, 9)
    sampler = Sampler(greedy, 3)
    drawn = [sampler.draw(*candidates(logits, greedy)) for _ in range(3)]
    assert drawn == [int(logits.argmax())] * 3
    sampler.close()
