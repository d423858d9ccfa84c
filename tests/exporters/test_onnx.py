import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from customir.exporters.fp16 import export_fp16
from customir.exporters.onnx import export_onnx
from customir.exporters.similarity import compare
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from customir.errors import UserError
from customir.runtime.embedder import Embedder

EXPORT_WITHOUT_NETWORK = """
import socket, sys
def refuse(*arguments, **keywords):
    sys.exit("the export asked for the network")
socket.socket.connect = socket.getaddrinfo = refuse
from pathlib import Path
from customir.exporters.onnx import export_onnx
export_onnx(Path(sys.argv[1]))
"""


def plain_onnxruntime(folder: Path, file: str, texts: list[str]) -> np.ndarray:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()
    session = onnxruntime.InferenceSession(folder / file, providers=["CPUExecutionProvider"])
    encodings = tokenizer.encode_batch(texts)
    inputs = {
        "input_ids": np.array([encoding.ids for encoding in encodings]),
        "attention_mask": np.array([encoding.attention_mask for encoding in encodings]),
    }
    return session.run(["sentence_embedding"], inputs)[0]


def test_equal_vectors_whoever_loads_the_folder(exported, texts: list[str]) -> None:
    torch = SentenceTransformer(str(exported.folder), device="cpu").encode(texts)
    others = {
        "sentence-transformers' ONNX backend": SentenceTransformer(
            str(exported.folder),
            device="cpu",
            backend="onnx",
            model_kwargs={"file_name": "onnx/model.onnx", "provider": "CPUExecutionProvider"},
        ).encode(texts),
        "plain ONNX Runtime": plain_onnxruntime(exported.folder, "onnx/model.onnx", texts),
        "Embedder": Embedder(exported.folder, "onnx/model.onnx").encode(texts),
    }
    for name, vectors in others.items():
        np.testing.assert_allclose(vectors, torch, atol=2e-5, err_msg=name)


def test_equal_vectors_of_each_onnx_file(copied: Path, texts: list[str]) -> None:
    export_fp16(copied)
    # sentence-transformers pools by itself, in fp32; the graph in fp16, whose steps are 0.0005 of a
    # number.
    for file, step, least in (
        ("model_fp16.onnx", 2e-4, 0.99999),
        ("model_qint8.onnx", 2e-5, 0.98),
    ):
        theirs = SentenceTransformer(
            str(copied),
            device="cpu",
            backend="onnx",
            model_kwargs={"file_name": f"onnx/{file}", "provider": "CPUExecutionProvider"},
        )
        embedder = Embedder(copied, f"onnx/{file}", backend="onnxruntime")
        # One by one: what shares a batch with a text changes its INT8 vector a little.
        vectors = np.concatenate([theirs.encode([text]) for text in texts])
        ours = np.concatenate([embedder.encode([text]) for text in texts])
        np.testing.assert_allclose(vectors, ours, atol=step, err_msg=file)
        torch = SentenceTransformer(str(copied), device="cpu").encode(texts)
        assert compare(torch, vectors).mean_cosine > least


def test_the_graph_takes_two_inputs_of_any_size(exported) -> None:
    session = onnxruntime.InferenceSession(exported.folder / "onnx/model.onnx")
    assert {value.name: value.shape for value in session.get_inputs()} == {
        "input_ids": ["batch_size", "sequence_length"],
        "attention_mask": ["batch_size", "sequence_length"],
    }
    assert {value.name for value in session.get_outputs()} == {
        "last_hidden_state",
        "sentence_embedding",
    }


def test_no_network_no_noise_no_litter_and_unit_length_without_a_normalize_module(
    copied: Path, texts: list[str]
) -> None:
    before = Embedder(copied, "onnx/model.onnx").encode(texts)
    modules = (copied / "modules.json").read_text()
    (copied / "modules.json").write_text(modules[: modules.rindex(",\n  {")] + "]")
    (copied / "onnx" / "model.onnx").unlink()
    (copied / ".onnx.part").mkdir()
    (copied / ".onnx.part" / "model.onnx").write_text("left by a killed run")

    done = subprocess.run(
        [sys.executable, "-c", EXPORT_WITHOUT_NETWORK, str(copied)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (copied / ".onnx.part").exists()
    assert (copied / "onnx" / "model.onnx").stat().st_mode & 0o777 == 0o600
    np.testing.assert_allclose(Embedder(copied, "onnx/model.onnx").encode(texts), before, atol=1e-6)


def test_checksums_are_those_of_the_files(exported) -> None:
    subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=exported.folder / "onnx",
        check=True,
        capture_output=True,
    )
    listed = (exported.folder / "onnx" / "SHA256SUMS").read_text().split()[1::2]
    assert sorted(listed) == ["../tokenizer.json", "model.onnx", "model_qint8.onnx"]


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no sentence-transformers model"):
        export_onnx(tmp_path)
