"""Tiny sentence-transformers folders with random weights, one a family or a way of saving."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, BertConfig, PretrainedConfig, PreTrainedTokenizerFast

TEXTS = (
    "The budget meeting is moved to Thursday, nine o'clock.",
    "Hi Anna, the quarterly numbers are attached. Please check the gas volumes before noon. Bob",
    "Server outage report: " + "the mail queue was full and deliveries were delayed. " * 6,
    "lunch?",
    "Der Vertrag liegt zur Unterschrift bereit.",
    "  How do I fit a mixed model with spatially correlated errors in R?",
    "Kernel panic after the upgrade, see the trace below.",
    "ok",
)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WIDTH = 32


def word_pieces(limit: int | None = 64, lowercase: bool = True) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer of a few hundred tokens, with BERT's special ones."""
    texts = [text.lower() if lowercase else text for text in TEXTS]
    letters = sorted(set("".join(texts).replace(" ", "")))
    words = sorted(set(re.findall(r"\w{3,}", " ".join(texts))))
    # Not trained: a trainer breaks ties as it likes, and each run would have other vectors.
    pieces = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *words]
    tokenizer = Tokenizer(
        models.WordPiece({piece: number for number, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(token, SPECIAL.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    limits = {} if limit is None else {"model_max_length": limit}
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", "attention_mask"],
        **dict(zip(names, SPECIAL, strict=True)),
        **limits,
    )


def bert(**changes: Any) -> BertConfig:
    """A BERT of two layers, 32 dimensions wide."""
    about = {
        "vocab_size": 400,
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 80,
        "initializer_range": 0.3,
    }
    return BertConfig(**{**about, **changes})


def write_json(path: Path, content: object) -> None:
    """Write `content`, and the folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1))


def change_json(path: Path, **values: object) -> None:
    """Set some of the keys of a JSON file, which need not be there."""
    before = json.loads(path.read_text()) if path.exists() else {}
    write_json(path, {**before, **values})


def tiny_folder(
    root: Path,
    config: PretrainedConfig | None = None,
    tokenizer: PreTrainedTokenizerFast | None = None,
    *,
    pooling: dict[str, Any] | None = None,
    head: Iterable[str] = ("Normalize",),
    subfolder: str = "",
    **saving: Any,
) -> Path:
    """Write a folder as sentence-transformers 2 saves it; return `root`.

    Args:
        pooling: The content of 1_Pooling/config.json; mean, as older versions write it.
        head: The modules after pooling: Normalize, Dense (Tanh, to half the width) or LayerNorm.
        subfolder: Where in `root` the transformer is.
        saving: For transformers' `save_pretrained`.
    """
    transformer = root / subfolder
    torch.manual_seed(3)
    model = AutoModel.from_config(config or bert())
    model.save_pretrained(transformer, **saving)
    (tokenizer or word_pieces()).save_pretrained(transformer)
    write_json(
        transformer / "sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": False}
    )
    width = model.config.hidden_size
    pooling = pooling or {"pooling_mode_mean_tokens": True}
    write_json(root / "1_Pooling/config.json", {"word_embedding_dimension": width, **pooling})
    modules = [("Transformer", subfolder), ("Pooling", "1_Pooling")]
    width *= sum(bool(value) for value in pooling.values())
    for number, kind in enumerate(head, start=2):
        path = f"{number}_{kind}"
        (root / path).mkdir()
        modules.append((kind, path))
        if kind != "Normalize":
            width = _write_module(root / path, kind, width)
    write_json(
        root / "modules.json",
        [
            {"idx": number, "name": str(number), "path": path, "type": f"{CLASS_ROOT}.{kind}"}
            for number, (kind, path) in enumerate(modules)
        ],
    )
    return root


CLASS_ROOT = "sentence_transformers.models"


def _write_module(folder: Path, kind: str, width: int) -> int:
    """Weights and config.json of a Dense or LayerNorm; returns the width of what it gives."""
    if kind == "LayerNorm":
        write_json(folder / "config.json", {"dimension": width})
        weights = {"norm.weight": torch.rand(width) + 0.5, "norm.bias": torch.randn(width)}
    else:
        about = {
            "in_features": width,
            "out_features": width // 2,
            "bias": True,
            "activation_function": "torch.nn.modules.activation.Tanh",
        }
        write_json(folder / "config.json", about)
        width //= 2
        weights = {
            "linear.weight": torch.randn(width, 2 * width) / 8,
            "linear.bias": torch.randn(width) / 8,
        }
    save_file(weights, folder / "model.safetensors")
    return width
