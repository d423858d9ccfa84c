"""GGUF files that are whole but no LLM, and what a file says of its size."""

from pathlib import Path

import llama_cpp
import pytest
import torch

from customir.errors import UserError
from customir.llm import Engine, Prompt
from customir.llm.gguf import Gguf

pytest.importorskip("gguf", reason="the writer of GGUF files, of the extra `dev`")


def test_an_embedding_model_is_refused_by_name(tmp_path: Path) -> None:
    from gguf_files import write_embedder

    path = tmp_path / "tiny.gguf"
    write_embedder(path)
    with pytest.raises(UserError, match=r"tiny\.gguf: an embedding model; it can't write"):
        Engine(path, device="cpu", threads=1)


def test_a_cell_takes_keys_and_values_of_every_layer(smollm: Path) -> None:
    model = Gguf(smollm, use_gpu=False)
    # SmolLM2-135M: 30 layers, 3 heads of keys and values, 64 wide, in float16.
    assert model.cell_bytes == 2 * 30 * 3 * 64 * 2
    model.close()


def test_a_tokenizer_may_need_more_tokens_than_bytes(tmp_path: Path) -> None:
    from gguf_files import write_babbler

    path = tmp_path / "babbler.gguf"
    write_babbler(path)
    with Engine(path, device="cpu", threads=1) as engine:
        # Spaces are three bytes each in this one: one in front, four in the text.
        assert engine.count_tokens("a b c d e") == 5 + 5 * 3
        assert engine.count_tokens(" " * 100) > 300


def test_a_llama_cpp_with_amx_is_refused_with_what_to_do(
    smollm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = llama_cpp.llama_print_system_info()
    assert b"AMX_INT8 = 1" not in said, "this environment's llama.cpp was not built by make"
    monkeypatch.setattr(llama_cpp, "llama_print_system_info", lambda: said + b"AMX_INT8 = 1 | ")
    with pytest.raises(UserError, match="-U__AMX_INT8__"):
        Gguf(smollm, use_gpu=False)


def test_torch_may_use_amx_between_two_calls(smollm: Path) -> None:
    """On a CPU with AMX a bfloat16 product configures this thread's tiles, and releases them."""
    prompts = [Prompt("Is it so? ", "The pump is red. ", "Answer:")]
    with Engine(smollm, device="cpu", threads=1) as engine:
        before = engine.choice(prompts, "Yes", "No")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        square = torch.randn(512, 512).bfloat16()
        torch.nn.functional.linear(square, square)
        torch.set_num_threads(threads)
        assert engine.choice(prompts, "Yes", "No") == before
