"""Export of a BERT embedder to GGUF, for llama.cpp."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from customir.exporters.onnx import scratch_folder
from customir.exporters.onnx_store import place
from llama_cpp import Llama
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from customir.encoder.folder import WEIGHTS_NAME, ModelFolder, PoolingMode, read_model_folder
from customir.errors import UserError
from customir.progress import Task
from customir.runtime.embedder import verified_checksum

GGUF_NAME = "gguf/model_f16.gguf"
POOLING: Mapping[tuple[PoolingMode, ...], gguf.PoolingType] = {
    ("mean",): gguf.PoolingType.MEAN,
    ("cls",): gguf.PoolingType.CLS,
}
BLOCK = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
# llama.cpp marks the beginning of a word, WordPiece its continuation.
WORD_BEGINS, WORD_GOES_ON = "\u2581", "##"
SPECIAL = {"[UNK]": "unk", "[CLS]": "bos", "[SEP]": "eos", "[PAD]": "pad", "[MASK]": "mask"}


def export_gguf(model: Path) -> Path:
    """Write model/gguf/model_f16.gguf: matrices in half precision, the rest in single.

    The file states the model's own token limit as its context length, so that llama.cpp truncates
    texts where sentence-transformers does.

    Raises:
        UserError: not a BERT that llama.cpp supports (uncased WordPiece, mean or CLS pooling).
    """
    with scratch_folder(model / ".gguf.part") as scratch:
        made = scratch / "model.gguf"
        write_gguf(model, made)
        return place(made, model / GGUF_NAME)


def write_gguf(model: Path, made: Path) -> None:
    """Write the file of `export_gguf` to `made`. Raises as that does."""
    folder = read_model_folder(model)
    config = folder.config
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    if not _is_known(folder, tokenizer):
        raise UserError(
            f"{model}: llama.cpp has no such embedder. What can be written is a BERT with an "
            "uncased WordPiece vocabulary, pooled by mean or CLS. Export without --gguf."
        )
    context = folder.limits.max_tokens
    writer = gguf.GGUFWriter(made, "bert")
    writer.add_name(model.name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(context)
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(POOLING[folder.pooling.modes])
    _add_vocabulary(writer, tokenizer, config)
    for name, tensor in _tensors(model / WEIGHTS_NAME, config["num_hidden_layers"], context):
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def encode_gguf(model: Path, texts: list[str], task: Task | None = None) -> np.ndarray:
    """Embed `texts` by llama.cpp with model/gguf/model_f16.gguf; returns unit vectors, float32.

    Args:
        task: Advanced by one per text.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = model / GGUF_NAME
    verified_checksum(path)
    context = read_model_folder(model).limits.max_tokens
    try:
        llama = Llama(str(path), embedding=True, n_ctx=context, n_batch=context, verbose=False)
    except ValueError as error:
        raise UserError(f"{path}: llama.cpp cannot load it ({error}). Export again.") from error
    vectors = []
    try:
        for text in texts:
            vectors.append(llama.embed(text, normalize=True))
            if task is not None:
                task.advance()
    finally:
        llama.close()
    return np.array(vectors, dtype=np.float32)


def _is_known(folder: ModelFolder, tokenizer: Tokenizer) -> bool:
    described = json.loads(tokenizer.to_str())
    return (
        folder.model_type == "bert"
        and folder.config["hidden_act"] == "gelu"
        and folder.pooling.modes in POOLING
        and not folder.has_dense
        and folder.truncate_dim is None
        and described["model"]["type"] == "WordPiece"
        and described["model"]["continuing_subword_prefix"] == WORD_GOES_ON
        and bool((described["normalizer"] or {}).get("lowercase"))
    )


def _add_vocabulary(
    writer: gguf.GGUFWriter, tokenizer: Tokenizer, config: Mapping[str, Any]
) -> None:
    vocabulary = tokenizer.get_vocab()
    tokens = [f"[PAD{number}]" for number in range(config["vocab_size"])]
    types = [gguf.TokenType.UNUSED] * len(tokens)
    for token, number in vocabulary.items():
        if token in SPECIAL:
            tokens[number], types[number] = token, gguf.TokenType.CONTROL
        else:
            goes_on = token.startswith(WORD_GOES_ON)
            tokens[number] = token[len(WORD_GOES_ON) :] if goes_on else WORD_BEGINS + token
            types[number] = gguf.TokenType.NORMAL
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_type_count(config["type_vocab_size"])
    for token, role in SPECIAL.items():
        if token in vocabulary:
            getattr(writer, f"add_{role}_token_id")(vocabulary[token])
    writer.add_sep_token_id(vocabulary["[SEP]"])
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)


def _tensors(weights: Path, layers: int, context: int) -> list[tuple[str, np.ndarray]]:
    loaded = {name.removeprefix("bert."): value for name, value in load_file(weights).items()}

    def single(name: str) -> np.ndarray:
        return loaded[name].astype(np.float32)

    tensors = [
        ("token_embd.weight", loaded["embeddings.word_embeddings.weight"].astype(np.float16)),
        ("position_embd.weight", single("embeddings.position_embeddings.weight")[:context]),
        ("token_types.weight", single("embeddings.token_type_embeddings.weight")),
        ("token_embd_norm.weight", single("embeddings.LayerNorm.weight")),
        ("token_embd_norm.bias", single("embeddings.LayerNorm.bias")),
    ]
    for layer in range(layers):
        for theirs, ours in BLOCK.items():
            for kind in ("weight", "bias"):
                value = single(f"encoder.layer.{layer}.{theirs}.{kind}")
                if value.ndim == 2:
                    value = value.astype(np.float16)
                tensors.append((f"blk.{layer}.{ours}.{kind}", value))
    return tensors
