"""`customir export --for`: each folder is read as its engine reads it, and gives our vectors.

The engine's own loading code where it is installed; otherwise its documented schema, and the work
that the engine does on top of the graph, written here from that document.
"""

import functools
import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnxruntime
import pytest
from customir.exporters.engines import ENGINES, TEXTS, export_for
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from customir.cli.stages import ENGINES as CHOICES
from customir.errors import UserError
from customir.runtime.embedder import Embedder

Vectors = np.ndarray
LEAST_COSINE = 0.9999


@pytest.fixture(scope="module")
def write(exported: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes the folder for an engine, once."""
    folder = tmp_path_factory.mktemp("engines")
    return functools.cache(lambda engine: export_for(engine, exported.folder, folder / engine))


@pytest.fixture
def openvino(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CI", "true")  # it reports to its makers otherwise
    return pytest.importorskip("openvino")


def self_test(folder: Path) -> tuple[list[str], Vectors]:
    content = json.loads((folder / "self-test.json").read_text())
    return content["texts"], np.array(content["vectors"], np.float32)


def agree(vectors: Any, folder: Path) -> bool:
    """Whether an engine's vectors are those of the self-test."""
    made = np.array(vectors, np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return bool(((made * self_test(folder)[1]).sum(axis=1) >= LEAST_COSINE).all())


def by_graph(graph: Path, tokenizer: Path, texts: list[str], output: str) -> list[Vectors]:
    """An output of the graph, for one text after the other, as an engine calls it."""
    session = onnxruntime.InferenceSession(str(graph))
    assert {one.name for one in session.get_inputs()} == {"input_ids", "attention_mask"}
    tokens = Tokenizer.from_file(str(tokenizer))
    found = []
    for text in texts:
        ids = np.array([tokens.encode(text).ids], np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        found.append(session.run([output], given)[0][0])
    return found


@pytest.mark.parametrize("engine", CHOICES)
def test_every_folder_has_a_card_a_start_command_and_our_vectors(
    write: Callable[[str], Path], exported: Any, engine: str, request: pytest.FixtureRequest
) -> None:
    if engine == "openvino":
        request.getfixturevalue("openvino")
    assert tuple(ENGINES) == CHOICES
    ours = Embedder(exported.folder, "onnx/model.onnx", backend="onnxruntime").encode(TEXTS)
    folder = write(engine)
    texts, vectors = self_test(folder)
    assert (texts, len(texts)) == (list(TEXTS), 10)
    np.testing.assert_allclose(vectors, ours, atol=1e-6)
    readme = (folder / "README.md").read_text()
    assert f"## With {engine}\n\n```console\n$ " in readme
    assert not re.search(r"\{(name|tokens|pooling)\}", readme)
    assert str(exported.folder) not in readme
    assert {path.stat().st_mode & 0o077 for path in folder.rglob("*")} == {0}


@pytest.mark.parametrize("engine", ["tei", "infinity"])
def test_folders_for_sentence_transformers(write: Callable[[str], Path], engine: str) -> None:
    folder = write(engine)
    assert agree(
        SentenceTransformer(str(folder), device="cpu").encode(self_test(folder)[0]), folder
    )
    # What text-embeddings-inference reads: the family, the limit, and one pooling flag.
    assert json.loads((folder / "config.json").read_text())["model_type"] == "bert"
    assert json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"] > 0
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    assert [name for name, value in pooling.items() if value is True and "pooling" in name] == [
        "pooling_mode_mean_tokens"
    ]
    assert not list(folder.rglob("*.bin"))


def test_infinity_loads_its_folder(write: Callable[[str], Path]) -> None:
    pytest.importorskip("infinity_emb")
    from infinity_emb.args import EngineArgs
    from infinity_emb.transformer.embedder.sentence_transformer import SentenceTransformerPatched

    folder = write("infinity")
    arguments = EngineArgs(model_name_or_path=str(folder), engine="torch", device="cpu", dtype="float32", bettertransformer=False)  # fmt: skip
    model = SentenceTransformerPatched(engine_args=arguments)
    features = model.encode_pre(self_test(folder)[0])
    assert agree(model.encode_post(model.encode_core(features)), folder)


def test_llama_cpp_loads_its_folder(write: Callable[[str], Path]) -> None:
    from llama_cpp import Llama

    folder = write("llama.cpp")
    lines = (folder / "Modelfile").read_text().splitlines()
    instructions = dict(line.split(" ", 1) for line in lines)
    assert set(instructions) == {"FROM", "PARAMETER"}
    llama = Llama(str(folder / instructions["FROM"]), embedding=True, verbose=False)
    assert agree([llama.embed(text) for text in self_test(folder)[0]], folder)
    llama.close()


def test_vespas_application_package(write: Callable[[str], Path]) -> None:
    folder = write("vespa")
    (component,) = ElementTree.parse(folder / "services.xml").getroot().iter("component")
    assert component.attrib == {"id": "customir", "type": "hugging-face-embedder"}
    values = {child.tag: child.attrib.get("path", child.text) for child in component}
    assert set(values) == {
        "transformer-model", "tokenizer-model", "max-tokens", "transformer-token-type-ids",
        "transformer-output", "pooling-strategy", "normalize", "prepend",
    }  # fmt: skip
    assert values["transformer-token-type-ids"] is None  # empty: the graph has no such input
    assert (values["pooling-strategy"], values["normalize"]) == ("mean", "true")
    tokens = by_graph(
        folder / str(values["transformer-model"]), folder / str(values["tokenizer-model"]),
        self_test(folder)[0], str(values["transformer-output"]),
    )  # fmt: skip
    assert agree([one.mean(axis=0) for one in tokens], folder)
    schema = (folder / "schemas" / "passage.sd").read_text()
    assert schema.count("tensor<float>(x[384])") == 2
    assert schema.count("{") == schema.count("}")


def test_opensearchs_zip_and_request(write: Callable[[str], Path], tmp_path: Path) -> None:
    folder = write("opensearch")
    request = json.loads((folder / "register.json").read_text())
    archive = folder / Path(request["url"]).name
    content = archive.read_bytes()
    assert request["model_content_hash_value"] == hashlib.sha256(content).hexdigest()
    assert request["model_content_size_in_bytes"] == len(content)
    assert (request["model_format"], request["function_name"]) == ("ONNX", "TEXT_EMBEDDING")
    config = request["model_config"]
    assert config["embedding_dimension"] == 384
    assert (config["pooling_mode"], config["normalize_result"]) == ("mean", True)
    assert config["model_type"] not in ("bert", "albert")  # they get a third input
    with zipfile.ZipFile(archive) as file:
        assert sorted(file.namelist()) == ["model.onnx", "tokenizer.json"]
        file.extractall(tmp_path)
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    first = session.get_outputs()[0].name  # which ML Commons pools
    tokens = by_graph(
        tmp_path / "model.onnx", tmp_path / "tokenizer.json", self_test(folder)[0], first
    )
    assert agree([one.mean(axis=0) for one in tokens], folder)


def triton_messages() -> Any:
    """tritonclient's classes for config.pbtxt, without the client around them, which needs grpc."""
    found = importlib.util.find_spec("tritonclient")
    if found is None or found.origin is None:
        pytest.skip("tritonclient is not installed")
    path = Path(found.origin).parent / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tritons_repository(write: Callable[[str], Path]) -> None:
    folder = write("triton")
    model = folder / "customir"
    graph = model / "1" / "model.onnx"
    vectors = by_graph(graph, folder / "tokenizer.json", self_test(folder)[0], "sentence_embedding")
    assert agree(vectors, folder)
    messages = triton_messages()
    from google.protobuf import text_format

    config = text_format.Parse((model / "config.pbtxt").read_text(), messages.ModelConfig())
    assert (config.name, config.backend) == (model.name, "onnxruntime")
    assert config.default_model_filename == graph.name
    session = onnxruntime.InferenceSession(str(graph))
    for stated, graphs in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):  # fmt: skip
        shapes = {one.name: one.shape for one in graphs}
        for one in stated:
            # Without the batch, which Triton adds.
            assert len(one.dims) == len(shapes[one.name]) - 1
    assert [list(one.dims) for one in config.output] == [[384]]


def test_openvino_loads_its_folder(write: Callable[[str], Path], openvino: Any) -> None:
    folder = write("openvino")
    model = openvino.Core().compile_model(folder / "customir" / "1" / "model.xml", "CPU")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    vectors = []
    for text in self_test(folder)[0]:
        ids = np.array([tokenizer.encode(text).ids], np.int64)
        made = model({"input_ids": ids, "attention_mask": np.ones_like(ids)})
        vectors.append(made["sentence_embedding"][0])
    assert agree(vectors, folder)


def test_the_tokenizer_truncates_where_the_model_does(write: Callable[[str], Path]) -> None:
    folder = write("triton")
    limit = json.loads((write("tei") / "sentence_bert_config.json").read_text())["max_seq_length"]
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert len(tokenizer.encode("word " * 2000).ids) == limit


def test_what_an_engine_cannot_run_is_refused(copied: Path, tmp_path: Path) -> None:
    pooling = copied / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({"word_embedding_dimension": 384, "pooling_mode": "max"}))
    for engine in ("vespa", "opensearch"):
        with pytest.raises(UserError, match="mean or CLS"):
            export_for(engine, copied, tmp_path / engine)
    with pytest.raises(UserError, match=r"llama\.cpp has no such embedder"):
        export_for("llama.cpp", copied, tmp_path / "gguf")
    assert not list(tmp_path.glob("*/self-test.json"))
    assert not list(tmp_path.glob(".*"))


def test_the_command(copied: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mail"
    folder.mkdir()
    copied.rename(folder / "model")
    (folder / "engines" / "tei").mkdir(parents=True)
    (folder / "engines" / "tei" / "old").touch()

    def export(*arguments: str) -> tuple[int, str]:
        code = "import sys; from customir.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, "export", str(folder), "--for", "tei", *arguments],
            capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    status, output = export()
    assert status == 0, output
    assert (folder / "engines" / "tei" / "self-test.json").exists()
    assert not (folder / "engines" / "tei" / "old").exists()
    for arguments in (["--check"], ["--gguf"]):
        assert export(*arguments)[0] == 2
    (folder / "passage-model").mkdir()
    status, output = export()
    assert (status, "freeze_passage_encoder" in output) == (2, True)
