"""The encoder gives sentence-transformers' own vectors, in the caller's order, without padding."""

import json
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from customir.encoder.torch_encoder import Encoder, cut_by_tokens
from customir.errors import UserError

MPNET = Path("~/.local/share/customir/models/mpnet").expanduser()
TEXTS = [
    "Gas nominations for March",
    "",
    "The meeting is moved to Tuesday, 9:00 am. " * 40,
    "  Please send the draft of the Bishops Corner contract. ",
    "ok",
    "Überweisung für die Rechnung: 你好 " * 9,
] * 3


@pytest.fixture
def variant(minilm: Path, tmp_path: Path) -> Path:
    """A copy of MiniLM whose JSON files a test may change."""
    return Path(shutil.copytree(minilm, tmp_path / "variant"))


def change(path: Path, **values: object) -> None:
    about = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**about, **values}))


def peer(folder: Path) -> SentenceTransformer:
    return SentenceTransformer(str(folder), device="cpu")


def test_minilm_as_sentence_transformers(minilm: Path) -> None:
    ours = Encoder.load(minilm, precision="fp32").encode(TEXTS)
    theirs = peer(minilm).encode(TEXTS)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_mpnet_as_sentence_transformers() -> None:
    if not MPNET.exists():
        pytest.skip(f"mpnet is not in {MPNET}: fetch it to run this")
    ours = Encoder.load(MPNET, precision="fp32").encode(TEXTS)
    np.testing.assert_allclose(ours, peer(MPNET).encode(TEXTS), atol=2e-6)


@pytest.mark.parametrize("flag", ["pooling_mode_cls_token", "pooling_mode_lasttoken"])
def test_pooling_is_honoured(variant: Path, flag: str) -> None:
    change(variant / "1_Pooling/config.json", pooling_mode_mean_tokens=False, **{flag: True})
    ours = Encoder.load(variant, precision="fp32").encode(TEXTS)
    np.testing.assert_allclose(ours, peer(variant).encode(TEXTS), atol=2e-6)


def test_prompts_are_honoured(variant: Path) -> None:
    prompts = {"query": "search_query: ", "document": "search_document: "}
    change(variant / "config_sentence_transformers.json", prompts=prompts)
    ours = Encoder.load(variant, precision="fp32")
    theirs = peer(variant)
    for kind, vectors in (
        ("query", theirs.encode_query(TEXTS)),
        ("passage", theirs.encode_document(TEXTS)),
    ):
        np.testing.assert_allclose(ours.encode(TEXTS, kind), vectors, atol=2e-6)
    assert not np.allclose(ours.encode(TEXTS, "query"), ours.encode(TEXTS, "passage"), atol=1e-3)


def test_bf16_stays_close_and_repeats_to_the_byte(minilm: Path) -> None:
    encoder = Encoder.load(minilm, precision="bf16")
    ours = encoder.encode(TEXTS)
    exact = Encoder.load(minilm, precision="fp32").encode(TEXTS)
    assert (ours * exact).sum(1).min() > 0.999
    assert ours.tobytes() == encoder.encode(TEXTS).tobytes()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize(("precision", "cosine"), [("fp32", 0.99999), ("bf16", 0.995)])
def test_a_gpu_gives_the_vectors_of_a_cpu(
    minilm: Path, precision: Literal["fp32", "bf16"], cosine: float
) -> None:
    texts = [text * (1 + number % 7) for number, text in enumerate(TEXTS * 3)]
    ours = Encoder.load(minilm, "cuda", precision=precision).encode(texts)
    exact = Encoder.load(minilm, precision="fp32").encode(texts)
    assert (ours * exact).sum(1).min() > cosine


def test_micro_batches_side_by_side_give_the_vectors_of_one_after_the_other(minilm: Path) -> None:
    encoder = Encoder.load(minilm, precision="fp32")
    texts = [f"{TEXTS[number % len(TEXTS)]} {'word ' * number}" for number in range(60)]
    threads = torch.get_num_threads()
    vectors = encoder.encode(texts)
    assert torch.get_num_threads() == threads
    torch.set_num_threads(1)
    try:
        np.testing.assert_array_equal(encoder.encode(texts), vectors)
    finally:
        torch.set_num_threads(threads)


def test_no_texts_give_no_vectors(minilm: Path) -> None:
    assert Encoder.load(minilm).encode([]).shape == (0, 384)


def test_max_tokens_cuts_and_never_exceeds_the_model(minilm: Path) -> None:
    encoder = Encoder.load(minilm, max_tokens=32)
    assert max(map(len, encoder.tokenize(TEXTS, "passage"))) == 32
    assert Encoder.load(minilm, max_tokens=9999).max_tokens == 256


def test_fingerprint_changes_with_what_decides_a_vector(minilm: Path, variant: Path) -> None:
    same = Encoder.load(variant, precision="fp32").fingerprint
    assert same == Encoder.load(minilm, precision="fp32").fingerprint
    assert same != Encoder.load(minilm, precision="bf16").fingerprint
    assert same != Encoder.load(minilm, precision="fp32", max_tokens=64).fingerprint
    change(variant / "config_sentence_transformers.json", prompts={"query": "q: "})
    assert same != Encoder.load(variant, precision="fp32").fingerprint


def test_errors_say_what_to_do(variant: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"modules\.json"):
        Encoder.load(tmp_path)
    change(variant / "1_Pooling/config.json", pooling_mode="median")
    with pytest.raises(UserError, match="median"):
        Encoder.load(variant)
    change(variant / "1_Pooling/config.json", pooling_mode="mean")
    (variant / "model.safetensors").unlink()
    with pytest.raises(UserError, match="safetensors"):
        Encoder.load(variant)


def test_passes_hold_every_text_within_budget_and_padding_under_a_tenth() -> None:
    lengths = np.random.default_rng(0).lognormal(4.4, 1.0, 400).clip(5, 256).astype(int).tolist()
    passes = cut_by_tokens(lengths, 1024)
    assert sorted(index for members in passes for index in members) == list(range(400))
    padded = [max(lengths[index] for index in members) * len(members) for members in passes]
    assert max(padded) <= 1024
    assert max(lengths) / min(lengths) > 50
    assert 1 - sum(lengths) / sum(padded) < 0.1


def test_a_text_beyond_the_budget_gets_a_pass_of_its_own() -> None:
    assert cut_by_tokens([18, 2000, 20], 1024) == [[1], [2, 0]]
