"""The model as other engines expect it: a folder for each, with a start command and a self-test.

Every folder has README.md (the model card, with how to start the engine), and self-test.json: ten
texts, and the vectors that model/onnx/model.onnx gives for them.
"""

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from customir.exporters.card import CARD_NAME
from customir.exporters.gguf import GGUF_NAME, POOLING, write_gguf
from customir.exporters.onnx import FP32_FILE, scratch_folder

from customir.encoder.folder import (
    CONFIG_NAME,
    LIMITS_NAME,
    MODULES_NAME,
    POOLING_FLAGS,
    PROMPTS_NAME,
    TOKENIZER_CONFIG_NAME,
    TOKENIZER_NAME,
    WEIGHTS_NAME,
    ModelFolder,
    read_json,
    read_model_folder,
)
from customir.errors import UserError
from customir.files import sha256_of, write_atomically
from customir.runtime.embedder import Embedder

SELF_TEST_NAME = "self-test.json"
# Of no corpus; short enough for every model.
TEXTS = (
    "Lunch?",
    "The invoice of March was paid twice.",
    "How do I fit a mixed model in R?",
    "Der Vertrag liegt zur Unterschrift bereit.",
    "The mail server was down this morning; the queue is being delivered now.",
    "Re: budget for the fourth quarter",
    "Please send me the key for the seminar room.",
    "Kernel panic after the upgrade to version 6.1.",
    "La réunion est reportée à jeudi.",
    "Passwords have to be changed by Friday, 5 pm.",
)
MODEL = "customir"  # by this name the engines know it


@dataclass(frozen=True)
class Engine:
    """How a folder for an engine is made.

    Attributes:
        write: Writes the engine's files for a model into an empty folder.
        start: Commands for README.md, to be run in the folder; {pooling}, {tokens} and {name} are
            replaced.
        adds_prompts: Whether the engine puts the model's prompts before texts by itself.
    """

    write: Callable[[ModelFolder, int, Path], None]
    start: str
    adds_prompts: bool = False


def export_for(engine: str, model: Path, out: Path) -> Path:
    """Write the model for an engine, to `out`, whose former content is replaced.

    Args:
        engine: A key of `ENGINES`.
        model: An exported model folder.

    Raises:
        UserError: the model lacks a file, or the engine cannot run such a model.
    """
    folder = read_model_folder(model)
    embedder = Embedder(model, FP32_FILE, backend="onnxruntime")
    with scratch_folder(out.with_name(f".{out.name}.part")) as scratch:
        made = scratch / out.name
        made.mkdir(mode=0o700)
        ENGINES[engine].write(folder, embedder.dimensions, made)
        _write_self_test(folder, embedder, made)
        _write_readme(folder, engine, made)
        for path in made.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        shutil.rmtree(out, ignore_errors=True)
        made.replace(out)
    return out


def _write_self_test(folder: ModelFolder, embedder: Embedder, out: Path) -> None:
    content = {
        "prompts": {"query": folder.prompts.query, "passage": folder.prompts.passage},
        "texts": [folder.prompts.passage + text for text in TEXTS],
        "tokens": embedder.tokenize([folder.prompts.passage + text for text in TEXTS]),
        "vectors": embedder.encode(TEXTS, "passage").tolist(),
    }
    write_atomically(out / SELF_TEST_NAME, json.dumps(content, ensure_ascii=False).encode())


def _write_readme(folder: ModelFolder, engine: str, out: Path) -> None:
    card = folder.root / CARD_NAME
    pooling = "+".join(folder.pooling.modes)
    start = ENGINES[engine].start.format(
        pooling=pooling, tokens=folder.limits.max_tokens, name=MODEL
    )
    prompts = "The model has no prompts."
    if folder.prompts.query or folder.prompts.passage:
        adding = "adds" if ENGINES[engine].adds_prompts else "does not add"
        prompts = (
            f"{engine} {adding} the model's prompts: {json.dumps(folder.prompts.query)} before "
            f"queries and {json.dumps(folder.prompts.passage)} before passages."
        )
    lines = [
        card.read_text(encoding="utf-8").rstrip() if card.exists() else "# An embedder",
        f"## With {engine}",
        f"```console\n{start.strip()}\n```",
        f"{prompts} Texts are cut at {folder.limits.max_tokens} tokens. `{SELF_TEST_NAME}` has ten "
        "texts, with the passages' prompt where there is one, their token ids, and the vectors that "
        "the engine should give for them: cosine at least 0.9999.",
    ]
    write_atomically(out / CARD_NAME, ("\n\n".join(lines) + "\n").encode())


def _write_sentence_transformers(folder: ModelFolder, dimensions: int, out: Path) -> None:
    """The folder itself, with the pooling in the flags that every reader of such folders knows."""
    root = folder.root
    for name in (
        CONFIG_NAME, LIMITS_NAME, MODULES_NAME, PROMPTS_NAME, TOKENIZER_CONFIG_NAME,
        TOKENIZER_NAME, WEIGHTS_NAME, "special_tokens_map.json", "vocab.txt",
    ):  # fmt: skip
        if (root / name).exists():
            shutil.copyfile(root / name, out / name)
    for module in _module_folders(root):
        shutil.copytree(root / module, out / module)
    (out / "onnx").mkdir()
    shutil.copyfile(root / FP32_FILE, out / FP32_FILE)
    pooling = out / _module_folders(root)[0] / CONFIG_NAME
    flags = {flag: mode in folder.pooling.modes for flag, mode in POOLING_FLAGS.items()}
    _write_json(pooling, read_json(pooling) | flags)


def _module_folders(root: Path) -> list[str]:
    """The subfolders of the modules after the transformer: the pooling's, and those after it."""
    modules = json.loads((root / MODULES_NAME).read_text(encoding="utf-8"))
    paths = (str(module["path"]) for module in modules[1:])
    return [path for path in paths if path and (root / path).is_dir()]


def _write_gguf(folder: ModelFolder, dimensions: int, out: Path) -> None:
    name = Path(GGUF_NAME).name
    write_gguf(folder.root, out / name)
    (out / "Modelfile").write_text(
        f"FROM ./{name}\nPARAMETER num_ctx {folder.limits.max_tokens}\n", encoding="utf-8"
    )


def _write_vespa(folder: ModelFolder, dimensions: int, out: Path) -> None:
    """An application package: https://docs.vespa.ai/en/reference/rag/embedding.html."""
    _require_plain_pooling(folder, "Vespa")
    (out / "models").mkdir()
    (out / "schemas").mkdir()
    shutil.copyfile(folder.root / FP32_FILE, out / "models" / "model.onnx")
    _write_tokenizer(folder, out / "models")
    (mode,) = folder.pooling.modes
    prompts = folder.prompts
    (out / "services.xml").write_text(
        VESPA_SERVICES.format(
            tokens=folder.limits.max_tokens,
            pooling=mode,
            query=escape(prompts.query),
            passage=escape(prompts.passage),
        ),
        encoding="utf-8",
    )
    (out / "schemas" / "passage.sd").write_text(
        VESPA_SCHEMA.replace("DIMENSIONS", str(dimensions)), encoding="utf-8"
    )


def _write_opensearch(folder: ModelFolder, dimensions: int, out: Path) -> None:
    """A zip file and a request to register it: https://docs.opensearch.org/latest/ml-commons-plugin/custom-local-models."""
    _require_plain_pooling(folder, "OpenSearch")
    _write_tokenizer(folder, out)
    archive = out / "model.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        file.write(folder.root / FP32_FILE, "model.onnx")
        file.write(out / TOKENIZER_NAME, TOKENIZER_NAME)
    (out / TOKENIZER_NAME).unlink()
    (mode,) = folder.pooling.modes
    _write_json(
        out / "register.json",
        {
            "name": MODEL,
            "version": "1.0.0",
            "function_name": "TEXT_EMBEDDING",
            "model_format": "ONNX",
            "model_content_size_in_bytes": archive.stat().st_size,
            "model_content_hash_value": sha256_of(archive),
            "model_config": {
                # Not "bert": with that name ML Commons feeds token_type_ids, which this graph has
                # not. It uses the name for nothing else.
                "model_type": "distilbert",
                "embedding_dimension": dimensions,
                "framework_type": "sentence_transformers",
                "pooling_mode": mode,
                "normalize_result": True,
            },
            "url": "file:///usr/share/opensearch/models/model.zip",
        },
    )


def _write_triton(folder: ModelFolder, dimensions: int, out: Path) -> None:
    """A model repository: https://docs.nvidia.com/deeplearning/triton-inference-server."""
    version = out / MODEL / "1"
    version.mkdir(parents=True)
    shutil.copyfile(folder.root / FP32_FILE, version / "model.onnx")
    (out / MODEL / "config.pbtxt").write_text(
        TRITON_CONFIG.replace("DIMENSIONS", str(dimensions)), encoding="utf-8"
    )
    _write_tokenizer(folder, out)


def _write_openvino(folder: ModelFolder, dimensions: int, out: Path) -> None:
    """OpenVINO's own format, below a version as OpenVINO Model Server wants it."""
    os.environ["CI"] = "true"  # otherwise it reports to Google Analytics as it is imported
    try:
        import openvino
    except ImportError as error:
        raise UserError("--for openvino needs openvino. Run: pip install openvino") from error
    version = out / MODEL / "1"
    version.mkdir(parents=True)
    # Not `convert_model`, which reports to its makers that it was called.
    graph = openvino.Core().read_model(folder.root / FP32_FILE)
    openvino.save_model(graph, version / "model.xml", compress_to_fp16=False)
    _write_tokenizer(folder, out)


def _write_tokenizer(folder: ModelFolder, out: Path) -> None:
    """tokenizer.json, which truncates where the model does."""
    about = read_json(folder.root / TOKENIZER_NAME)
    side = folder.limits.truncation_side
    about["truncation"] = {
        "direction": "Left" if side == "left" else "Right",
        "max_length": folder.limits.max_tokens,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    about["padding"] = None
    _write_json(out / TOKENIZER_NAME, about)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _require_plain_pooling(folder: ModelFolder, engine: str) -> None:
    plain = folder.pooling.modes in POOLING and not folder.has_dense and folder.truncate_dim is None
    if not plain:
        raise UserError(
            f"{folder.root}: {engine} can pool by mean or CLS only, and applies no further layers. "
            "Choose tei, triton or openvino, or another base model."
        )


VESPA_SERVICES = """<?xml version="1.0" encoding="utf-8" ?>
<services version="1.0">
    <container id="default" version="1.0">
        <component id="customir" type="hugging-face-embedder">
            <transformer-model path="models/model.onnx"/>
            <tokenizer-model path="models/tokenizer.json"/>
            <max-tokens>{tokens}</max-tokens>
            <transformer-token-type-ids/>
            <transformer-output>last_hidden_state</transformer-output>
            <pooling-strategy>{pooling}</pooling-strategy>
            <normalize>true</normalize>
            <prepend>
                <query>{query}</query>
                <document>{passage}</document>
            </prepend>
        </component>
        <search/>
        <document-api/>
    </container>
    <content id="content" version="1.0">
        <min-redundancy>1</min-redundancy>
        <documents>
            <document type="passage" mode="index"/>
        </documents>
    </content>
</services>
"""
VESPA_SCHEMA = """schema passage {
    document passage {
        field text type string {
            indexing: index | summary
            index: enable-bm25
        }
    }
    field embedding type tensor<float>(x[DIMENSIONS]) {
        indexing: input text | embed customir | attribute | index
        attribute {
            distance-metric: prenormalized-angular
        }
    }
    fieldset default {
        fields: text
    }
    rank-profile semantic {
        inputs {
            query(q) tensor<float>(x[DIMENSIONS])
        }
        first-phase {
            expression: closeness(field, embedding)
        }
    }
}
"""
TRITON_CONFIG = f"""name: "{MODEL}"
backend: "onnxruntime"
default_model_filename: "model.onnx"
max_batch_size: 64
dynamic_batching {{ max_queue_delay_microseconds: 2000 }}
input [
  {{ name: "input_ids" data_type: TYPE_INT64 dims: [ -1 ] }},
  {{ name: "attention_mask" data_type: TYPE_INT64 dims: [ -1 ] }}
]
output [
  {{ name: "sentence_embedding" data_type: TYPE_FP32 dims: [ DIMENSIONS ] }}
]
"""

ENGINES: Mapping[str, Engine] = {
    "tei": Engine(
        _write_sentence_transformers,
        "$ text-embeddings-router --model-id . --dtype float32 --auto-truncate",
    ),
    "infinity": Engine(
        _write_sentence_transformers,
        "$ infinity_emb v2 --model-id . --engine torch --served-model-name {name}",
    ),
    "llama.cpp": Engine(
        _write_gguf,
        "$ llama-server --model model_f16.gguf --embedding --pooling {pooling} "
        "--ctx-size {tokens} --ubatch-size {tokens}\n"
        "$ ollama create {name} -f Modelfile    # or with ollama",
    ),
    "vespa": Engine(
        _write_vespa,
        "$ vespa deploy --wait 300 .\n"
        "$ vespa query 'yql=select * from passage where "
        "{{targetHits: 10}}nearestNeighbor(embedding, q)' "
        "'input.query(q)=embed(customir, \"lunch\")' ranking=semantic",
        adds_prompts=True,
    ),
    "opensearch": Engine(
        _write_opensearch,
        "$ cp model.zip /usr/share/opensearch/models/\n"
        '$ curl -X PUT localhost:9200/_cluster/settings -H "Content-Type: application/json" -d '
        '\'{{"persistent": {{"plugins.ml_commons.allow_registering_model_via_local_file": true}}}}\'\n'
        "$ curl -X POST localhost:9200/_plugins/_ml/models/_register?deploy=true "
        '-H "Content-Type: application/json" -d @register.json',
    ),
    "triton": Engine(
        _write_triton,
        '$ tritonserver --model-repository "$PWD"    # takes token ids: tokenizer.json makes them',
    ),
    "openvino": Engine(
        _write_openvino,
        '$ ovms --model_name {name} --model_path "$PWD/{name}" --rest_port 8000    '
        "# takes token ids: tokenizer.json makes them",
    ),
}
