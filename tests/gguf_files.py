"""GGUF files made for tests: whole and loadable, but of no use."""

from pathlib import Path

import gguf
import numpy as np

WIDTH, WORDS, INNER = 32, 64, 64
CONTEXT = 8192


def write_embedder(path: Path) -> None:
    """A BERT of one layer, all zeros: small, but llama.cpp loads it."""
    writer = gguf.GGUFWriter(str(path), "bert")
    writer.add_context_length(32)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(2)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_tokenizer_model("bert")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    writer.add_token_list(special + [f"\u2581w{number}" for number in range(WORDS - len(special))])
    writer.add_token_types([3] * len(special) + [1] * (WORDS - len(special)))
    writer.add_token_type_count(2)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    shapes = {
        "token_embd.weight": (WORDS, WIDTH),
        "position_embd.weight": (32, WIDTH),
        "token_types.weight": (2, WIDTH),
        "blk.0.ffn_up.weight": (INNER, WIDTH),
        "blk.0.ffn_up.bias": (INNER,),
        "blk.0.ffn_down.weight": (WIDTH, INNER),
        "blk.0.ffn_down.bias": (WIDTH,),
    }
    for norm in ("token_embd_norm", "blk.0.attn_output_norm", "blk.0.layer_output_norm"):
        shapes |= {f"{norm}.weight": (WIDTH,), f"{norm}.bias": (WIDTH,)}
    for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
        shapes |= {f"blk.0.{part}.weight": (WIDTH, WIDTH), f"blk.0.{part}.bias": (WIDTH,)}
    _write(writer, shapes)


def write_babbler(path: Path) -> None:
    """A Llama of one layer, all zeros: it finds every next byte equally likely."""
    writer = gguf.GGUFWriter(str(path), "llama")
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([2, 3, 3] + [6] * 256)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    shapes = {
        "token_embd.weight": (len(tokens), WIDTH),
        "output_norm.weight": (WIDTH,),
        "blk.0.attn_norm.weight": (WIDTH,),
        "blk.0.ffn_norm.weight": (WIDTH,),
        "blk.0.ffn_gate.weight": (INNER, WIDTH),
        "blk.0.ffn_up.weight": (INNER, WIDTH),
        "blk.0.ffn_down.weight": (WIDTH, INNER),
    }
    for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
        shapes[f"blk.0.{part}.weight"] = (WIDTH, WIDTH)
    _write(writer, shapes)


def _write(writer: gguf.GGUFWriter, shapes: dict[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        writer.add_tensor(name, np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
