import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from customir.exporters.card import Facts, base_licence, write_card
from customir.exporters.fp16 import export_fp16
from customir.exporters.gguf import export_gguf
from customir.exporters.onnx_store import place
from customir.exporters.parity import losses, measure_parity, table
from customir.exporters.similarity import HeldOut
from huggingface_hub import metadata_load

from customir.files import sha256_of
from customir.progress import Silent
from customir.runtime.int8_file import read_encoder


def found(rows: np.ndarray) -> dict[str, float]:
    """Recall@1 under Recall@10's name: eight texts are too few for ten."""
    return {"Recall@10": float(np.mean([hits[0] == row for row, hits in enumerate(rows)]))}


class Counting(Silent):
    """Knows how much work was announced, and how much was done."""

    announced, done = 0, 0

    @contextmanager
    def task(self, title: str, total: int, unit: str) -> Iterator["Counting"]:
        self.announced += total
        yield self

    def advance(self, steps: int = 1) -> None:
        self.done += steps


def int8_files(model: Path) -> list[str]:
    """The INT8 file, and once more where our own kernel can run it."""
    own = read_encoder(model / "onnx" / "model_qint8.onnx") is not None
    return [
        "onnx/model_qint8.onnx",
        *(["onnx/model_qint8.onnx by CustomIR's kernel"] if own else []),
    ]


@pytest.fixture
def held_out(texts: list[str]) -> HeldOut:
    return HeldOut(texts, texts, found)


def test_each_file_is_measured_against_the_one_before(exported, held_out: HeldOut) -> None:
    chain = measure_parity(exported.folder, held_out)

    assert [step.file for step in chain] == [
        "model.safetensors",
        "onnx/model.onnx",
        *int8_files(exported.folder),
    ]
    assert chain[0].parity is None
    assert chain[1].parity.min_cosine > 0.99999
    for step in chain[2:]:
        assert step.before == "onnx/model.onnx"
        assert 0.99 <= step.parity.mean_cosine < 0.99999
    assert [step.metrics for step in chain] == [{"Recall@10": 1.0}] * len(chain)
    assert losses(chain, held_out) == []
    assert [row[0] for row in table(chain)[1:]] == [step.file for step in chain]


def test_what_quantising_has_just_embedded_is_not_embedded_again(
    exported, texts: list[str]
) -> None:
    held_out, progress = HeldOut(texts), Counting()
    known = exported.quantized.encoded
    assert list(known) == ["onnx/model.onnx", *int8_files(exported.folder)]
    taken_over = measure_parity(exported.folder, held_out, progress, known)
    assert progress.announced == progress.done == len(texts)  # in torch
    assert taken_over == measure_parity(exported.folder, held_out)


def test_what_may_be_there_is_measured_too(copied: Path, held_out: HeldOut) -> None:
    export_fp16(copied)
    export_gguf(copied)
    counting = Counting()

    chain = measure_parity(copied, held_out, counting)

    files, texts = 4 + len(int8_files(copied)), len(held_out.passages) + len(held_out.queries)
    assert counting.done == counting.announced == files * texts
    assert [(step.before, step.file) for step in chain[-2:]] == [
        ("onnx/model.onnx", "onnx/model_fp16.onnx"),
        ("model.safetensors", "gguf/model_f16.gguf"),
    ]
    assert min(step.parity.mean_cosine for step in chain[-2:]) > 0.999
    assert losses(chain, held_out) == []


def test_a_file_of_another_model_is_found_out(
    copied: Path, minilm: Path, held_out: HeldOut, tmp_path: Path
) -> None:
    from customir.exporters.onnx import export_onnx

    shutil.copytree(minilm, tmp_path / "base")
    place(export_onnx(tmp_path / "base"), copied / "onnx" / "model.onnx")
    lost = losses(measure_parity(copied, held_out), held_out)
    assert lost
    assert lost[0].startswith("model.safetensors -> onnx/model.onnx: mean cosine 0.")


def test_the_card_has_the_facts_and_the_hashes(copied: Path) -> None:
    facts = Facts(
        base="minilm",
        licence="Apache-2.0",
        weight=0.5,
        verdict="Surely better than the base.",
        trained_on="The adapter learned from 40 subjects.",
        corpus={"passages": 1234},
        compared=[["", "Recall@10"], ["base", "0.700"]],
        chain=[["file", "Recall@10"], ["model.safetensors", "0.7100"]],
        int8=("int8", "Given up: all of it"),
        settings={"seed": 3},
    )
    card = write_card(copied, facts).read_text()
    for expected in (
        "Base: minilm. 0.5 of a LoRA adapter", "learned from 40 subjects", "- passages: 1234", "| base | 0.700 |",
        "Apache-2.0, as the base", "- seed: 3", "Given up: all of it",
        "Set `ORT_DISABLE_TELEMETRY=1`",
        sha256_of(copied / "model.safetensors"), sha256_of(copied / "onnx" / "model_qint8.onnx"),
    ):  # fmt: skip
        assert expected in card
    assert metadata_load(copied / "README.md")["license"] == "apache-2.0"
    assert base_licence(copied) == "apache-2.0"


def test_a_base_without_a_stated_licence(tmp_path: Path) -> None:
    assert base_licence(tmp_path) is None
    (tmp_path / "README.md").write_text("# A model\n")
    assert base_licence(tmp_path) is None
    (tmp_path / "README.md").write_text("---\n[not: a\n---\n")
    assert base_licence(tmp_path) is None
