import json
import logging
import time
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from sentence_transformers import SentenceTransformer

from customir.errors import UserError
from customir.progress import Silent
from customir.runtime.embedder import Embedder, batches_by_length, fingerprint

FP32 = "onnx/model.onnx"
INT8 = "onnx/model_qint8.onnx"
TEXTS = ["lunch?", "", "word " * 1000, "The gas contract was signed.", "  lunch?\n", "été ☃"]


def test_vectors_are_those_of_sentence_transformers(model: Path) -> None:
    vectors = Embedder(model, FP32).encode(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 384)
    expected = SentenceTransformer(str(model), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(vectors, expected, atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_no_text_no_vector(model: Path) -> None:
    embedder = Embedder(model)
    assert embedder.encode([]).shape == (0, 384)
    assert embedder.encode([], "query").shape == (0, 384)


def test_prompts_are_put_before_queries_and_passages(spoilable: Path) -> None:
    plain = Embedder(spoilable, FP32)
    prompts = {"prompts": {"query": "query: ", "document": "passage: "}}
    (spoilable / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    prompted = Embedder(spoilable, FP32)
    reference = SentenceTransformer(str(spoilable), device="cpu")

    query = prompted.encode(["lunch"], "query")
    assert np.array_equal(query, plain.encode(["query: lunch"]))
    np.testing.assert_allclose(query, reference.encode_query(["lunch"]), atol=2e-5)
    np.testing.assert_allclose(
        prompted.encode(["lunch"]), reference.encode_document(["lunch"]), atol=2e-5
    )
    assert prompted.fingerprint != plain.fingerprint


def test_repeated_queries_are_remembered_and_only_so_many(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("customir.runtime.embedder.CACHED_QUERIES", 2)
    embedder = Embedder(model)
    first = embedder.encode(["a", "b", "a"], "query")
    assert np.array_equal(first[0], first[2])

    embedded: list[str] = []
    inner = embedder._embed
    monkeypatch.setattr(
        embedder, "_embed", lambda texts, task=None: embedded.extend(texts) or inner(texts, task)
    )
    again = embedder.encode(["b", "a"], "query")
    assert embedded == []
    assert np.array_equal(again, first[[1, 0]])
    embedder.encode(["c"], "query")  # the oldest, b, is forgotten
    embedder.encode(["a", "b"], "query")
    assert embedded == ["c", "b"]


def test_a_caller_cannot_spoil_what_is_remembered(model: Path) -> None:
    embedder = Embedder(model)
    first = embedder.encode(["lunch"], "query")
    expected = first.copy()
    first[:] = 0
    assert np.array_equal(embedder.encode(["lunch"], "query"), expected)


def test_progress_counts_texts(model: Path) -> None:
    class Counter(Silent):
        done = 0

        def advance(self, steps: int = 1) -> None:
            self.done += steps

    counter = Counter()
    Embedder(model).encode(TEXTS, task=counter)
    assert counter.done == len(TEXTS)


def test_batches_hold_every_text_once_within_the_budget() -> None:
    lengths = [3, 900, 5, 2000, 500, 4, 512, 512, 1]
    batches = list(batches_by_length(lengths, 1024))
    assert sorted(position for batch in batches for position in batch) == list(range(9))
    for batch in batches:
        longest = max(lengths[position] for position in batch)
        assert longest * len(batch) <= 1024 or len(batch) == 1
    assert batches == [[8, 0, 5, 2], [4, 6], [7], [1], [3]]


def test_the_number_of_threads_changes_no_vector(model: Path) -> None:
    texts = [f"message {number} " * (number % 90) for number in range(200)]
    alone = Embedder(model, threads=1).encode(texts)
    assert np.array_equal(Embedder(model, threads=3).encode(texts), alone)


def test_an_interrupted_call_stops_soon(model: Path) -> None:
    class Interrupting(Silent):
        calls = 0

        def advance(self, steps: int = 1) -> None:
            self.calls += 1
            raise KeyboardInterrupt

    embedder = Embedder(model, threads=1)
    start = time.perf_counter()
    embedder.encode(["word " * 250] * 4)
    two_batches = time.perf_counter() - start
    task = Interrupting()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        embedder.encode(["word " * 250] * 100, task=task)  # fifty batches
    assert task.calls == 1
    assert time.perf_counter() - start < 10 * two_batches


def test_fewer_dimensions_are_the_first_ones_at_length_one(model: Path) -> None:
    whole = Embedder(model, FP32).encode(TEXTS)
    embedder = Embedder(model, FP32, dimensions=128)
    assert embedder.dimensions == 128
    expected = SentenceTransformer(str(model), device="cpu", truncate_dim=128).encode(
        TEXTS, normalize_embeddings=True
    )
    vectors = embedder.encode(TEXTS)
    np.testing.assert_allclose(vectors, expected, atol=2e-5)
    np.testing.assert_allclose(
        vectors, whole[:, :128] / np.linalg.norm(whole[:, :128], axis=1, keepdims=True), atol=1e-6
    )
    np.testing.assert_allclose(embedder.encode(TEXTS, "query"), vectors, atol=1e-6)
    assert embedder.fingerprint != fingerprint(model, FP32)
    with pytest.raises(UserError, match="cannot give 385 dimensions; its vectors have 384"):
        Embedder(model, dimensions=385)


def test_a_gpu_that_cannot_be_used_is_told_once_and_the_cpu_works(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime-gpu is installed")
    expected = Embedder(model, FP32).encode(TEXTS)
    monkeypatch.setattr(
        onnxruntime,
        "get_available_providers",
        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    with caplog.at_level(logging.INFO, "customir"), warnings.catch_warnings():
        warnings.simplefilter("error")
        embedder = Embedder(model, FP32)
    (record,) = caplog.records
    assert record.getMessage().startswith("CUDA cannot be used")
    assert embedder.provider == "CPUExecutionProvider"
    assert np.array_equal(embedder.encode(TEXTS), expected)
    caplog.clear()
    Embedder(model, INT8)  # made for CPUs
    assert not caplog.records


def test_it_starts_in_under_a_second(model: Path) -> None:
    start = time.perf_counter()
    Embedder(model)
    assert time.perf_counter() - start < 1


def test_the_fingerprint_follows_content_not_place(model: Path, spoilable: Path) -> None:
    assert Embedder(spoilable).fingerprint == fingerprint(model)
    assert fingerprint(model, FP32) != fingerprint(model, INT8)
    settings = json.loads((spoilable / "sentence_bert_config.json").read_text())
    (spoilable / "sentence_bert_config.json").write_text(
        json.dumps(settings | {"max_seq_length": 128})
    )
    assert fingerprint(spoilable) != fingerprint(model)


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("place", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("file", [INT8, FP32])
def test_one_flipped_bit_in_the_model_is_noticed(spoilable: Path, file: str, place: float) -> None:
    flip(spoilable / file, int(place * ((spoilable / file).stat().st_size - 1)))
    with pytest.raises(UserError, match=rf"{file}: damaged: its SHA-256"):
        Embedder(spoilable, file)


def test_a_changed_vocabulary_is_noticed(spoilable: Path) -> None:
    path = spoilable / "tokenizer.json"
    flip(path, path.read_bytes().index(b'"budget":') + 2)  # still a whole file of JSON
    with pytest.raises(UserError, match=r"tokenizer\.json: damaged: its SHA-256"):
        Embedder(spoilable)


def test_damaged_checksums_are_noticed(spoilable: Path) -> None:
    sums = spoilable / "onnx" / "SHA256SUMS"
    content = bytearray(sums.read_bytes())
    content[content.index(b"  model_qint8.onnx") - 1] ^= 0x80  # no text in UTF-8 any more
    sums.write_bytes(content)
    with pytest.raises(UserError, match=r"model_qint8\.onnx: damaged: its SHA-256"):
        Embedder(spoilable)


def test_swapped_files_are_noticed(spoilable: Path) -> None:
    (spoilable / FP32).rename(spoilable / "other")
    (spoilable / INT8).rename(spoilable / FP32)
    (spoilable / "other").rename(spoilable / INT8)
    for file in (FP32, INT8):
        with pytest.raises(UserError, match=rf"{file}: damaged: its SHA-256"):
            Embedder(spoilable, file)


def test_a_truncated_model_is_noticed_even_without_checksums(spoilable: Path) -> None:
    (spoilable / "onnx" / "SHA256SUMS").unlink()
    content = (spoilable / INT8).read_bytes()
    (spoilable / INT8).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"model_qint8\.onnx: not a usable ONNX model"):
        Embedder(spoilable)


def test_a_graph_that_does_not_pool_is_refused(spoilable: Path) -> None:
    import onnx

    graph = onnx.load(spoilable / FP32)
    del graph.graph.output[1]
    (spoilable / "onnx" / "SHA256SUMS").unlink()
    onnx.save(graph, spoilable / FP32)
    with pytest.raises(UserError, match="instead of input_ids and attention_mask"):
        Embedder(spoilable, FP32)


@pytest.mark.parametrize("name", [INT8, "tokenizer.json", "config.json"])
def test_a_missing_file_is_named(spoilable: Path, name: str) -> None:
    (spoilable / name).unlink()
    with pytest.raises(UserError, match=f"{name}: missing"):
        Embedder(spoilable)


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "sentence_bert_config.json"])
def test_a_damaged_text_file_is_named(spoilable: Path, name: str) -> None:
    (spoilable / name).write_text('{"half": ')
    with pytest.raises(UserError, match=f"{name}: damaged"):
        Embedder(spoilable)
