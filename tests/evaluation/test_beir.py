"""Judged test sets: read as they are written, measured as the field does."""

import json
from pathlib import Path

import numpy as np
import pytest
from customir.exporters.int8 import quantize
from customir.exporters.merge import merge_adapter
from customir.exporters.onnx import export_onnx
from customir.exporters.similarity import HeldOut

from customir.errors import UserError
from customir.evaluation.beir import BeirSet, clusters_of, compare_on, read_beir
from customir.evaluation.metrics import by_query
from customir.progress import Silent
from customir.settings import EvaluationSettings, Settings
from customir.workspace import Workspace

SETTINGS = Settings(device="cpu", evaluation=EvaluationSettings(reference_model="", resamples=1000))
PASSAGES = {
    "p1": ("Coffee machine", "A technician repairs the coffee machine on Monday."),
    "p2": ("", "The parking garage is closed for the winter."),
    "p3": ("Payroll", "Salaries are paid on the last working day."),
}
QUERIES = {"q1": "who fixes the espresso maker", "q2": "when do we get our money", "q3": "unjudged"}
QRELS = "query-id\tcorpus-id\tscore\nq1\tp1\t2\nq1\tp2\t0\nq2\tp3\t1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "small"
    (root / "qrels").mkdir(parents=True)
    (root / "corpus.jsonl").write_text(
        "".join(
            json.dumps({"_id": key, "title": title, "text": text}) + "\n"
            for key, (title, text) in PASSAGES.items()
        )
    )
    (root / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": key, "text": text}) + "\n" for key, text in QUERIES.items())
    )
    (root / "qrels" / "test.tsv").write_text(QRELS)
    (root / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq3\tp2\t1\n")
    return root


def test_it_reads_texts_and_grades(folder: Path) -> None:
    test = read_beir(folder)
    assert test.name == "small"
    assert test.passage_keys == ("p1", "p2", "p3")
    assert test.passages[0] == "Coffee machine\nA technician repairs the coffee machine on Monday."
    assert test.passages[1] == "The parking garage is closed for the winter."
    assert test.query_keys == ("q1", "q2")
    assert test.qrels == {"q1": {"p1": 2}, "q2": {"p3": 1}}


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("corpus.jsonl", '{"_id": "p1", "text": "x"}\n{broken\n', "line 2"),
        ("corpus.jsonl", '{"_id": "p1"}\n', "line 1"),
        ("queries.jsonl", "[1]\n", "line 1"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\tp1\n", "line 2"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq9\tp1\t1\n", "no query"),
    ],
)
def test_a_bad_line_is_named(folder: Path, name: str, content: str, complaint: str) -> None:
    (folder / name).write_text(content)
    with pytest.raises(UserError, match=complaint) as caught:
        read_beir(folder)
    assert str(folder / name) in str(caught.value)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "queries.jsonl").unlink()
    with pytest.raises(UserError, match=r"queries\.jsonl"):
        read_beir(folder)


def test_every_system_is_measured_and_an_unchanged_model_is_the_base(
    folder: Path, minilm: Path, tmp_path: Path
) -> None:
    model = merge_adapter(minilm, minilm, 0.0, tmp_path / "model")
    export_onnx(model)
    quantize(model, HeldOut([text for _, text in PASSAGES.values()]))
    test = read_beir(folder)
    embedders = {"base": minilm, "adapted": model}
    with Workspace(tmp_path / "out") as workspace:
        results = compare_on(
            test, embedders, {"adapted INT8": model}, SETTINGS, workspace, Silent()
        )
        embedded = workspace.database.execute("SELECT count(*) FROM result").fetchone()
        again = compare_on(test, embedders, {}, SETTINGS, workspace, Silent())
        assert workspace.database.execute("SELECT count(*) FROM result").fetchone() == embedded
    by_name = {result.system: result for result in results}
    assert set(by_name) == {
        "BM25", "base", "adapted", "adapted INT8",
        "hybrid of BM25 and base", "hybrid of BM25 and adapted",
        "RRF of BM25 and base", "RRF of BM25 and adapted",
    }  # fmt: skip
    ones = pytest.approx({"Recall@10": 1.0, "nDCG@10": 1.0, "MRR@10": 1.0})
    assert by_name["base"].metrics == ones
    assert [result.metrics for result in again if result.system == "base"] == [ones]
    for difference in by_name["adapted"].differences.values():
        assert (difference.low, difference.mean, difference.high, difference.p) == (0, 0, 0, 1)
    assert by_name["base"].differences == {}


def test_queries_with_the_same_answers_belong_together() -> None:
    qrels = {"q1": {"a": 1, "b": 2}, "q2": {"b": 1, "a": 1}, "q3": {"a": 1}}
    first, second, third = clusters_of(
        BeirSet("x", ("a", "b"), ("", ""), ("q1", "q2", "q3"), ("", "", ""), qrels)
    )
    assert first == second != third


def test_runs_of_unequal_length_are_measured() -> None:
    runs = [np.array([1, 0]), np.array([], dtype=np.int64)]
    values = by_query({"a": {"x": 1}, "b": {"y": 1}}, ["a", "b"], ["x", "y"], runs)
    assert values["Recall@10"].tolist() == [1.0, 0.0]
