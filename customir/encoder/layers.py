"""The transformer layers of the BERT and MPNet families over packed texts."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from customir.encoder.packing import Packed
from customir.kernels.attention import (
    gather,
    is_supported,
    packed_attention,
    padded_attention,
    scatter,
)

# Families with BERT's layers. Except for BERT itself, positions start after the padding index.
BERTS = ("bert", "roberta", "xlm-roberta", "camembert")
FAMILIES = (*BERTS, "mpnet")


def can_pack(model: Any) -> bool:
    """Whether this module supports the model's layers."""
    config = model.config
    absolute = getattr(config, "position_embedding_type", "absolute") == "absolute"
    decoder = getattr(config, "is_decoder", False)
    return config.model_type in FAMILIES and absolute and not decoder


def enter(model: Any, packed: Packed, dtype: torch.dtype) -> Tensor:
    """The first layer's input, shape (rows, width)."""
    start = 0 if model.config.model_type == "bert" else model.embeddings.padding_idx + 1
    found: Tensor = model.embeddings(
        input_ids=packed.ids[None],
        position_ids=packed.positions[None] + start,
        token_type_ids=torch.zeros_like(packed.ids)[None],
    )
    return found[0].to(dtype)


def run_layers(model: Any, layers: Iterable[Any], states: Tensor, packed: Packed) -> Tensor:
    """Run some of the model's layers. Input `states` and output have shape (rows, width)."""
    attend = _attention(model, states, packed)
    for layer in layers:
        states = _run_layer(model.config, layer, states, attend)
    return states


def _run_layer(
    config: Any, layer: Any, states: Tensor, attend: Callable[[Tensor], Tensor]
) -> Tensor:
    """A layer of Vaswani et al. 2017 (arXiv 1706.03762), section 3, with post-normalisation."""
    if config.model_type == "mpnet":
        inner = layer.attention.attn
        joint, out, norm = (inner.q, inner.k, inner.v), inner.o, layer.attention.LayerNorm
    else:
        inner, output = layer.attention.self, layer.attention.output
        joint, out, norm = (inner.query, inner.key, inner.value), output.dense, output.LayerNorm
    states = _normalised(norm, out(attend(_project(joint, states))) + states)
    wide = layer.intermediate.intermediate_act_fn(layer.intermediate.dense(states))
    return _normalised(layer.output.LayerNorm, layer.output.dense(wide) + states)


def _project(linears: Sequence[nn.Module], states: Tensor) -> Tensor:
    """Queries, keys and values, concatenated to shape (rows, 3 * width)."""
    joined = getattr(linears[0], "joined", None)
    if joined is not None:
        together: Tensor = joined(linears, states)
        return together
    return torch.cat([linear(states) for linear in linears], 1)


def _attention(model: Any, states: Tensor, packed: Packed) -> Callable[[Tensor], Tensor]:
    """Attention within each text.

    It maps queries, keys and values, (rows, 3 * width), to (rows, width). The C++ kernel computes
    it if it supports the input. Otherwise torch computes it, in groups of texts of similar length.
    """
    heads = model.config.num_attention_heads
    bias = _bias(model, int(packed.lengths.max()), states) if states.device.type == "cpu" else None
    if is_supported(states, states.shape[1] // heads, bias):
        return partial(packed_attention, lengths=packed.lengths, heads=heads, bias=bias)
    biases = [_bias(model, group.rows.shape[1], states) for group in packed.groups]
    return partial(attend_by_groups, heads=heads, packed=packed, biases=biases)


def attend_by_groups(
    joint: Tensor, heads: int, packed: Packed, biases: Sequence[Tensor | None]
) -> Tensor:
    """torch's attention over padded groups of similar length.

    It maps (rows, 3 * width) to (rows, width).
    """
    places = (packed.order, packed.gaps, packed.places)
    found = []
    # With split instead of slices, backward concatenates the gradients instead of adding them.
    dealt = scatter(joint, *places).split([group.rows.numel() for group in packed.groups])
    for part, group, bias in zip(dealt, packed.groups, biases, strict=True):
        texts, width = group.rows.shape
        apart = part.view(texts, width, 3, heads, -1).permute(2, 0, 3, 1, 4)
        context = padded_attention(*apart, group.missing, bias)
        found.append(context.transpose(1, 2).reshape(texts * width, -1))
    together: Tensor = gather(torch.cat(found), *places)
    return together


def _normalised(norm: nn.LayerNorm, states: Tensor) -> Tensor:
    taken = states.float() if states.device.type == "cuda" else states  # a GPU needs one dtype
    found: Tensor = functional.layer_norm(
        taken, norm.normalized_shape, norm.weight, norm.bias, norm.eps
    )
    return found.to(states.dtype)


def _bias(model: Any, width: int, states: Tensor) -> Tensor | None:
    """MPNet's position bias (Song et al. 2020, arXiv 2004.09297), (1, heads, width, width)."""
    if model.config.model_type != "mpnet":
        return None
    like = torch.empty(1, width, 0, device=states.device)
    bias: Tensor = model.encoder.compute_position_bias(like)
    return bias
