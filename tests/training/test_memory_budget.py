"""How many tokens a micro-batch holds: what the settings say, else what suits the device."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from customir.encoder.torch_encoder import Encoder
from customir.settings import TrainingSettings
from customir.training.memory_budget import (
    GPU_MAX_TOKENS,
    RECORDED_FRACTION,
    activation_cache,
    bytes_per_token,
    with_budget,
)

GIGABYTE = 2**30


def test_what_is_set_is_kept_and_a_cpu_has_its_own(minilm: Path) -> None:
    encoder = Encoder.load(minilm, precision="fp32")
    chosen = with_budget(TrainingSettings(), encoder)
    assert (chosen.mini_batch_num_tokens, chosen.cached_tokens) == (1024, 4096)
    chosen = with_budget(TrainingSettings(mini_batch_num_tokens=300), encoder)
    assert (chosen.mini_batch_num_tokens, chosen.cached_tokens) == (300, 4096)
    chosen = with_budget(TrainingSettings(mini_batch_num_tokens=300, cached_tokens=900), encoder)
    assert (chosen.mini_batch_num_tokens, chosen.cached_tokens) == (300, 900)


def test_graphs_of_a_large_model_take_no_more_on_a_cpu(minilm: Path) -> None:
    encoder = Encoder.load(minilm, precision="fp32")
    large = SimpleNamespace(
        device=encoder.device, layers=range(12), width=768, dtype=torch.bfloat16
    )
    assert with_budget(TrainingSettings(), large).cached_tokens == 2184  # type: ignore[arg-type]
    large.layers, large.width = range(24), 1024
    assert with_budget(TrainingSettings(), large).cached_tokens == 1024  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gigabytes", "per_pass"), [(0.01, 1024), (8, 16_384), (80, GPU_MAX_TOKENS)]
)
def test_a_gpu_gives_half_of_its_memory_to_graphs(
    minilm: Path, monkeypatch: pytest.MonkeyPatch, gigabytes: float, per_pass: int
) -> None:
    encoder = Encoder.load(minilm, precision="fp32")
    encoder.device = torch.device("cuda")
    memory = SimpleNamespace(total_memory=int(gigabytes * GIGABYTE))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: memory)
    chosen = with_budget(TrainingSettings(), encoder)
    assert chosen.mini_batch_num_tokens == per_pass
    passes = max(1, chosen.cached_tokens // chosen.mini_batch_num_tokens)
    if gigabytes >= 8:
        assert passes * per_pass * bytes_per_token(encoder) <= gigabytes * GIGABYTE / 2


@pytest.mark.parametrize("tokens", [300, 4096, 8000, 30_000, 33_000, 1_000_000])
@pytest.mark.parametrize(("per_pass", "kept"), [(1024, 4096), (300, 900), (1024, 1024)])
def test_results_have_the_room_that_graphs_leave(tokens: int, per_pass: int, kept: int) -> None:
    settings = TrainingSettings(mini_batch_num_tokens=per_pass, cached_tokens=kept)
    graphs, in_part = activation_cache(tokens, settings, torch.device("cpu"))
    assert graphs >= 1
    if tokens <= kept:
        assert graphs == kept // per_pass
    taken = graphs * per_pass + in_part * per_pass / RECORDED_FRACTION
    assert taken <= kept
    whole = (graphs + in_part) * per_pass >= tokens - 2 * per_pass
    assert whole or (graphs == 1 and taken > kept - per_pass), "room was left"
    if whole and graphs < kept // per_pass:  # one graph more would not leave room for all
        assert (graphs + 2) * per_pass + (
            tokens - (graphs + 2) * per_pass
        ) / RECORDED_FRACTION > kept
    on_a_gpu = activation_cache(tokens, settings, torch.device("cuda"))
    assert on_a_gpu == (kept // per_pass, 0)
