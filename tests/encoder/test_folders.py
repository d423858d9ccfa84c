"""Every way of saving an embedder gives sentence-transformers' own vectors, at each step.

Loaded in torch, merged, exported to ONNX in float32, and as INT8, for queries and passages.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from customir.exporters.int8 import quantize
from customir.exporters.merge import merge_adapter
from customir.exporters.onnx import FP32_FILE, export_onnx
from customir.exporters.similarity import HeldOut
from encoder.folders import (
    SPECIAL,
    TEXTS,
    bert,
    change_json,
    tiny_folder,
    word_pieces,
    write_json,
)
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from transformers import (
    AlbertConfig,
    CamembertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    Gemma3TextConfig,
    LlamaConfig,
    ModernBertConfig,
    MPNetConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
    T5Config,
    XLMRobertaConfig,
)

from customir.encoder.torch_encoder import Encoder
from customir.errors import UserError
from customir.runtime.embedder import DEFAULT_FILE, Embedder
from customir.settings import TrainingSettings
from customir.training.adapter import attach, save

Vectors = npt.NDArray[np.float32]


def e5_prompts(root: Path) -> Path:
    tiny_folder(root)
    prompts = {"query": "query: ", "passage": "passage: "}
    write_json(root / "config_sentence_transformers.json", {"prompts": prompts})
    return root


def corpus_prompt_by_default(root: Path) -> Path:
    tiny_folder(root)
    about = {
        "prompts": {"corpus": "the text: ", "query": "search: "},
        "default_prompt_name": "corpus",
    }
    write_json(root / "config_sentence_transformers.json", about)
    return root


def document_prompt(root: Path) -> Path:
    tiny_folder(root)
    about = {"prompts": {"document": "the budget: ", "query": None}}
    write_json(root / "config_sentence_transformers.json", about)
    return root


def no_stated_limit(root: Path) -> Path:
    """As Qwen3-Embedding: the limit stands in tokenizer_config.json alone."""
    tiny_folder(root, tokenizer=word_pieces(limit=20))
    (root / "sentence_bert_config.json").unlink()
    return root


def no_limit_but_positions(root: Path) -> Path:
    tiny_folder(root, tokenizer=word_pieces(limit=None))
    (root / "sentence_bert_config.json").unlink()
    return root


def as_version_5_saves(root: Path) -> Path:
    SentenceTransformer(str(tiny_folder(root.with_name("before"))), device="cpu").save(str(root))
    assert json.loads((root / "1_Pooling/config.json").read_text())["pooling_mode"] == "mean"
    return root


def pooled(**pooling: object) -> Callable[[Path], Path]:
    return lambda root: tiny_folder(root, pooling=pooling)


def headed(*head: str) -> Callable[[Path], Path]:
    return lambda root: tiny_folder(root, head=head)


def truncated(root: Path) -> Path:
    """As a Matryoshka model saves how many dimensions it is used with."""
    tiny_folder(root)
    write_json(root / "config_sentence_transformers.json", {"truncate_dim": 12})
    return root


def in_shards(root: Path) -> Path:
    tiny_folder(root, max_shard_size="20KB")
    assert not (root / "model.safetensors").exists()
    return root


def in_subfolder(root: Path) -> Path:
    return tiny_folder(root, subfolder="0_Transformer")


def under_a_prefix(root: Path) -> Path:
    """As a masked language model saves its encoder."""
    tiny_folder(root)
    path = root / "model.safetensors"
    weights = {f"bert.{name}": weight for name, weight in load_file(path).items()}
    save_file(weights, path, metadata={"format": "pt"})
    return root


def slow_tokenizer(root: Path) -> Path:
    """Only vocab.txt, as early BERTs have it."""
    tiny_folder(root)
    vocabulary = json.loads((root / "tokenizer.json").read_text())["model"]["vocab"]
    words = sorted(vocabulary, key=vocabulary.__getitem__)
    (root / "vocab.txt").write_text("\n".join(words))
    (root / "tokenizer.json").unlink()
    write_json(root / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    return root


def lower_cased_first(root: Path) -> Path:
    """`do_lower_case` over a tokenizer that keeps capitals."""
    tiny_folder(root, tokenizer=word_pieces(lowercase=False))
    change_json(root / "sentence_bert_config.json", do_lower_case=True)
    return root


def cut_on_the_left(root: Path) -> Path:
    tiny_folder(root)
    change_json(root / "tokenizer_config.json", truncation_side="left")
    return root


def padded_on_the_left(root: Path) -> Path:
    """As Qwen3-Embedding."""
    tiny_folder(root, QWEN3, pooling={"pooling_mode_lasttoken": True})
    change_json(root / "tokenizer_config.json", padding_side="left")
    return root


def gemma3_with_dense(root: Path) -> Path:
    """As EmbeddingGemma: two Dense between the pooling and the normalisation, and prompts."""
    tiny_folder(root, GEMMA3, head=("Dense", "Dense", "Normalize"))
    prompts = {"query": "task: search | query: ", "document": "title: none | text: "}
    write_json(root / "config_sentence_transformers.json", {"prompts": prompts})
    return root


def of(config: PretrainedConfig, **pooling: object) -> Callable[[Path], Path]:
    return lambda root: tiny_folder(root, config, pooling=pooling or None)


SMALL = {
    "vocab_size": 400,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
QWEN3 = Qwen3Config(
    **SMALL, num_key_value_heads=1, head_dim=16, max_position_embeddings=128, use_cache=False
)
DECODER = SMALL | {"num_key_value_heads": 1, "max_position_embeddings": 128, "use_cache": False}
GEMMA3 = Gemma3TextConfig(
    **DECODER, head_dim=16, layer_types=["sliding_attention", "full_attention"], sliding_window=16,
    use_bidirectional_attention=True,
)  # fmt: skip
DISTILBERT = DistilBertConfig(
    vocab_size=400, dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=80,
    initializer_range=0.3,
)  # fmt: skip

FOLDERS: dict[str, Callable[[Path], Path]] = {
    "e5_prompts": e5_prompts,
    "corpus_prompt_by_default": corpus_prompt_by_default,
    "document_prompt": document_prompt,
    "no_stated_limit": no_stated_limit,
    "no_limit_but_positions": no_limit_but_positions,
    "version_5": as_version_5_saves,
    "max": pooled(pooling_mode_max_tokens=True),
    "weightedmean": pooled(pooling_mode_weightedmean_tokens=True),
    "mean_sqrt_len": pooled(pooling_mode_mean_sqrt_len_tokens=True),
    "lasttoken": pooled(pooling_mode_lasttoken=True),
    "cls_and_max": pooled(pooling_mode_max_tokens=True, pooling_mode_cls_token=True),
    "dense": headed("Dense", "Normalize"),
    "two_dense": headed("Dense", "Dense"),
    "layer_norm": headed("LayerNorm", "Normalize"),
    "normalize_dense": headed("Normalize", "Dense"),
    "truncated": truncated,
    "shards": in_shards,
    "subfolder": in_subfolder,
    "prefix": under_a_prefix,
    "slow_tokenizer": slow_tokenizer,
    "lower_case": lower_cased_first,
    "cut_on_the_left": cut_on_the_left,
    "roberta": of(RobertaConfig(**(SMALL | {"pad_token_id": 1}), max_position_embeddings=82)),
    "camembert": of(CamembertConfig(**(SMALL | {"pad_token_id": 1}), max_position_embeddings=82)),
    "mpnet": of(MPNetConfig(**(SMALL | {"pad_token_id": 1}), max_position_embeddings=82)),
    "distilbert": of(DISTILBERT),
    "xlm_roberta": of(
        XLMRobertaConfig(**(SMALL | {"pad_token_id": 1}), max_position_embeddings=82)
    ),
    "modernbert": of(
        ModernBertConfig(
            **SMALL,
            max_position_embeddings=128,
            cls_token_id=2,
            sep_token_id=3,
            bos_token_id=2,
            eos_token_id=3,
            local_attention=16,
            reference_compile=False,
        )
    ),
    "deberta": of(
        DebertaV2Config(
            **SMALL,
            max_position_embeddings=80,
            relative_attention=True,
            pos_att_type=["p2c", "c2p"],
        )
    ),
    "electra": of(ElectraConfig(**SMALL, embedding_size=16, max_position_embeddings=80)),
    "qwen2": of(Qwen2Config(**DECODER), pooling_mode_lasttoken=True),
    "llama": of(LlamaConfig(**DECODER), pooling_mode_mean_tokens=True),
    "gemma3_with_dense": gemma3_with_dense,
    "padded_on_the_left": padded_on_the_left,
    "qwen3": of(QWEN3, pooling_mode_lasttoken=True),
}
assert SPECIAL.index("[PAD]") == bert().pad_token_id


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.slow
def test_vectors_of_each_step(name: str, tmp_path: Path) -> None:
    folder = FOLDERS[name](tmp_path / "base")
    theirs = by_sentence_transformers(folder)

    encoder = Encoder.load(folder, precision="fp32")
    assert encoder.dimensions == theirs[0].shape[1]
    for kind, expected in zip(("query", "passage"), theirs, strict=True):
        assert cosines(encoder.encode(TEXTS, kind), expected).min() > 0.9999, kind

    merged = merge_adapter(folder, folder, 0.0, tmp_path / "merged")
    for after, expected in zip(by_sentence_transformers(merged), theirs, strict=True):
        assert cosines(after, expected).min() > 0.9999

    export_onnx(merged)
    quantize(merged, HeldOut(TEXTS))
    exact, rounded = Embedder(merged, FP32_FILE), Embedder(merged, DEFAULT_FILE)
    assert exact.dimensions == rounded.dimensions == encoder.dimensions
    for kind, expected in zip(("query", "passage"), theirs, strict=True):
        assert cosines(exact.encode(TEXTS, kind), expected).min() > 0.9999, kind
        assert cosines(rounded.encode(TEXTS, kind), expected).mean() > 0.98, kind


def by_sentence_transformers(folder: Path) -> tuple[Vectors, Vectors]:
    """Of queries and of passages."""
    peer = SentenceTransformer(str(folder), device="cpu")
    return peer.encode_query(list(TEXTS)), peer.encode_document(list(TEXTS))


def cosines(left: Vectors, right: Vectors) -> Vectors:
    """Of each row."""
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return (left * right).sum(1) / norms


@pytest.mark.parametrize(
    "name",
    [
        "shards",
        "subfolder",
        "prefix",
        "two_dense",
        "qwen3",
        "padded_on_the_left",
        "llama",
        "modernbert",
    ],
)
def test_what_was_learned_is_merged(name: str, tmp_path: Path) -> None:
    folder = FOLDERS[name](tmp_path / "base")
    encoder = Encoder.load(folder, precision="fp32", master_weights=True)
    model = attach(encoder, TrainingSettings(lora_r=2), seed=0)
    with torch.no_grad():
        for part, weight in model.named_parameters():
            if "lora_B" in part:
                weight.normal_(std=0.2)
    adapted = encoder.encode(TEXTS)
    base = Encoder.load(folder, precision="fp32").encode(TEXTS)
    assert cosines(adapted, base).max() < 0.999
    adapter = save(model, folder, tmp_path / "adapter")
    merged = merge_adapter(folder, adapter, 1.0, tmp_path / "merged")
    for after in (
        Encoder.load(merged, precision="fp32").encode(TEXTS),
        by_sentence_transformers(merged)[1],
    ):
        assert cosines(after, adapted).min() > 0.9999


def test_a_folder_as_version_6_saves_it(tmp_path: Path) -> None:
    before = tiny_folder(tmp_path / "before", head=("Dense", "LayerNorm", "Normalize"))
    expected = by_sentence_transformers(before)[1]
    after = Path(shutil.copytree(before, tmp_path / "after"))
    modules = json.loads((after / "modules.json").read_text())
    root, shared = (
        "sentence_transformers.sentence_transformer.modules",
        "sentence_transformers.base.modules",
    )
    classes = (
        f"{shared}.transformer.Transformer",
        f"{root}.pooling.Pooling",
        f"{shared}.dense.Dense",
        f"{root}.layer_norm.LayerNorm",
        f"{shared}.normalize.Normalize",
    )
    write_json(
        after / "modules.json",
        [entry | {"type": named} for entry, named in zip(modules, classes, strict=True)],
    )
    write_json(
        after / "1_Pooling/config.json",
        {"embedding_dimension": 32, "pooling_mode": "mean", "include_prompt": True},
    )
    merged = merge_adapter(after, after, 0.0, tmp_path / "merged")
    assert cosines(Encoder.load(after, precision="fp32").encode(TEXTS), expected).min() > 0.9999
    assert cosines(by_sentence_transformers(merged)[1], expected).min() > 0.9999


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (T5Config(vocab_size=400, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2), "t5"),
        (AlbertConfig(**SMALL, embedding_size=16, max_position_embeddings=80), "AlbertModel"),
    ],
)
def test_a_family_that_cannot_be_adapted_is_named(
    config: PretrainedConfig, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=rf"{said}.*Choose another model"):
        Encoder.load(tiny_folder(tmp_path / "base", config))


def test_weights_that_are_not_there_are_not_made_up(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "base")
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lack encoder\.layer\.1\.output\.dense\.weight"):
        Encoder.load(folder)
