"""From token vectors to one vector per text: pooling and the modules after it."""

from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from customir.encoder.folder import HeadModule, ModelFolder, Pooling, PoolingMode
from customir.encoder.packing import Packed
from customir.errors import UserError


def pool(states: Tensor, packed: Packed, pooling: Pooling) -> Tensor:
    """Pool token vectors, float32 (tokens, width), to text vectors, (texts, width * modes)."""
    found = [_pool(states, packed, mode) for mode in pooling.modes]
    return found[0] if len(found) == 1 else torch.cat(found, 1)


def _pool(states: Tensor, packed: Packed, mode: PoolingMode) -> Tensor:
    """Pool as the Pooling module of sentence-transformers defines it."""
    ends = packed.lengths.cumsum(0)
    if mode == "cls":
        return states[ends - packed.lengths]
    if mode == "lasttoken":
        return states[ends - 1]
    texts, width = len(ends), states.shape[1]
    if mode == "max":
        lowest = states.new_full((texts, width), float("-inf"))
        texts_of = packed.text_of[:, None].expand(-1, width)
        return lowest.scatter_reduce(0, texts_of, states, "amax")
    lengths = packed.lengths[:, None].to(states.dtype)
    if mode == "weightedmean":  # Muennighoff 2022 (arXiv 2202.08904), section 3.1
        places = (packed.positions[: packed.tokens, None] + 1).to(states.dtype)
        states, lengths = states * places, lengths * (lengths + 1) / 2
    elif mode == "mean_sqrt_len_tokens":
        lengths = lengths.sqrt()
    return states.new_zeros(texts, width).index_add(0, packed.text_of, states) / lengths


class Head(nn.Module):
    """The modules after pooling (Dense, LayerNorm, Normalize) and the truncation of dimensions.

    Its weights are frozen.

    Attributes:
        dimensions: The length of the output vectors.
    """

    def __init__(self, layers: nn.Sequential, dimensions: int) -> None:
        super().__init__()
        self.layers = layers.requires_grad_(False)
        self.dimensions = dimensions

    def forward(self, vectors: Tensor) -> Tensor:
        """Map pooled vectors to text vectors, shape (texts, dimensions)."""
        found: Tensor = self.layers(vectors)
        return found[:, : self.dimensions]


class _Normalize(nn.Module):
    def forward(self, vectors: Tensor) -> Tensor:
        return nn.functional.normalize(vectors, dim=-1)


def load_head(folder: ModelFolder, width: int) -> Head:
    """The modules after pooling, in float32, for token vectors of `width` dimensions.

    Raises:
        UserError: a module's weights are missing, damaged, or do not fit what comes before it.
    """
    width *= len(folder.pooling.modes)
    layers = nn.Sequential()
    for module in folder.head:
        if module.kind == "Normalize":
            layers.append(_Normalize())
            continue
        if module.in_features != width:
            raise UserError(
                f"{module.path}: takes vectors of {module.in_features} dimensions, and is given "
                f"{width}. The model folder is damaged; copy it again."
            )
        layers.append(_load(module))
        width = module.out_features
    if folder.truncate_dim is not None and not 1 <= folder.truncate_dim <= width:
        raise UserError(
            f"{folder.root}: truncate_dim is {folder.truncate_dim}, and the vectors have {width} "
            "dimensions. Correct the setting truncate_dim, or the model's own in "
            "config_sentence_transformers.json."
        )
    return Head(layers, folder.truncate_dim or width)


def _load(module: HeadModule) -> nn.Module:
    try:
        weights = load_file(module.path / "model.safetensors")
        if module.kind == "LayerNorm":
            norm = nn.LayerNorm(module.in_features)
            norm.load_state_dict(_within("norm", weights))
            return norm.float()
        linear = nn.Linear(module.in_features, module.out_features, module.bias)
        linear.load_state_dict(_within("linear", weights))
        return nn.Sequential(linear.float(), getattr(nn, module.activation)())
    except (OSError, SafetensorError, RuntimeError) as error:
        raise UserError(
            f"{module.path}: its weights cannot be loaded ({str(error).partition(chr(10))[0]}). "
            "Copy the model folder again."
        ) from error


def _within(name: str, weights: dict[str, Tensor]) -> dict[str, Any]:
    return {key.removeprefix(f"{name}."): weight for key, weight in weights.items()}
