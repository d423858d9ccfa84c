"""Comparing systems on held-out queries, with the real encoder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from customir.exporters.int8 import quantize
from customir.exporters.merge import merge_adapter
from customir.exporters.onnx import export_onnx
from customir.exporters.similarity import HeldOut
from safetensors.torch import load_file, save_file

from customir.embeddings import stored_embeddings
from customir.evaluation.compare import compare, measure_int8
from customir.evaluation.held_out import HeldOutData, qrels_of
from customir.evaluation.pool import PoolSize
from customir.evaluation.systems import reference_embedder
from customir.progress import Silent
from customir.settings import EvaluationSettings, Settings
from customir.workspace import Workspace
from customir.workspace.passages import Passage
from customir.workspace.queries import Query, SelfSupervisedQuery, Split

SETTINGS = Settings(device="cpu", evaluation=EvaluationSettings(reference_model="", resamples=1000))
SUBJECTS = ("leaking oil pump", "lunch in the garden", "office sold in Oslo", "invoice paid twice")
PASSAGES = [
    Passage(f"p{n}", f"d{n}", 0, f"Message about the {subject}.", f"p{n}", "", f"t{n}")
    for n, subject in enumerate(SUBJECTS)
]


def queries(split: Split) -> list[Query]:
    return [
        Query(f"{split}{n}", f"p{n}", "need", subject, None, split)
        for n, subject in enumerate(SUBJECTS)
    ]


def test_near_duplicates_are_relevant_too() -> None:
    twin = Passage("p9", "d9", 0, "x", "p0", "", "t9")
    qrels = qrels_of(queries("test")[:2], [*PASSAGES, twin])
    assert qrels == {"test0": {"p0": 1, "p9": 1}, "test1": {"p1": 1}}


def test_without_an_adapter_the_base_ships(minilm: Path, tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        found = compare(
            HeldOutData(PASSAGES, [*queries("dev"), *queries("test")], []), minilm, None, SETTINGS,
            stored_embeddings(workspace, "evaluate", Silent()),
        )  # fmt: skip
    assert not found.verdict.ships_adapted
    assert set(found.dev) == {0.0}
    assert [result.system for result in found.test] == [
        "BM25", "base", "RRF of BM25 and base", "hybrid of BM25 and base",
    ]  # fmt: skip
    for metrics in (*found.dev.values(), *(result.by_query for result in found.test)):
        for values in metrics.values():
            np.testing.assert_array_equal(values, np.ones(4))
    assert set(found.rankings) == {result.system for result in found.test}
    assert found.pairs_dev == {}
    assert found.pairs_test == []
    assert found.threads == ["t0", "t1", "t2", "t3"]


def people_queries() -> list[SelfSupervisedQuery]:
    """Each asks for one of the passages; dev's have their own answers, test's the next passage's."""
    own = [
        SelfSupervisedQuery(f"dev{n}", "subject", subject, n, f"All about the {subject}.", "dev")
        for n, subject in enumerate(SUBJECTS)
    ]
    other = [replace(q, key=f"test{q.row}", answer="Nothing at all.", split="test") for q in own]
    return [*own, *other]


def test_self_supervised_queries_are_measured_by_split_with_their_own_answers(
    minilm: Path, tmp_path: Path
) -> None:
    with Workspace(tmp_path) as workspace:
        found = compare(
            HeldOutData(PASSAGES, queries("dev"), people_queries()), minilm, None, SETTINGS,
            stored_embeddings(workspace, "evaluate", Silent()),
        )  # fmt: skip
    np.testing.assert_array_equal(found.pairs_dev[0.0]["nDCG@10"], np.ones(4))
    (base,) = found.pairs_test
    # Their passage is there as what does not answer them, and three others.
    assert base.system == "base"
    assert set(base.by_query["Recall@10"]) == {1.0}
    assert np.mean(base.by_query["nDCG@10"]) < 0.7


@pytest.mark.parametrize("split", ["dev", "test", None])
def test_a_split_without_queries(minilm: Path, tmp_path: Path, split: Split | None) -> None:
    with Workspace(tmp_path) as workspace:
        found = compare(
            HeldOutData(PASSAGES, [] if split is None else queries(split), []), minilm, None,
            SETTINGS, stored_embeddings(workspace, "evaluate", Silent()),
        )  # fmt: skip
    assert not found.verdict.ships_adapted
    for result in found.test:
        assert len(result.by_query["nDCG@10"]) == (4 if split == "test" else 0)
        assert (result.as_row()["nDCG@10"] is None) == (split != "test")


def test_a_reference_embedder_is_compared_with_where_it_is_here(
    minilm: Path, tmp_path: Path
) -> None:
    assert reference_embedder(EvaluationSettings(reference_model="")) is None
    assert reference_embedder(EvaluationSettings(reference_model=str(tmp_path / "nowhere"))) is None
    larger = Settings(
        device="cpu", evaluation=EvaluationSettings(reference_model=str(minilm), resamples=1000)
    )
    with Workspace(tmp_path / "out") as workspace:
        found = compare(
            HeldOutData(PASSAGES, [*queries("dev"), *queries("test")], []), minilm, None, larger,
            stored_embeddings(workspace, "evaluate", Silent()),
        )  # fmt: skip
    by_name = {result.system: result for result in found.test}
    assert by_name[str(minilm)].metrics == by_name["base"].metrics
    assert by_name[str(minilm)].differences["nDCG@10"].p == 1.0


def test_int8_is_measured_against_the_base(minilm: Path, tmp_path: Path) -> None:
    model = merge_adapter(minilm, minilm, 0.0, tmp_path / "model")
    export_onnx(model)
    quantize(model, HeldOut([passage.content for passage in PASSAGES]))
    with Workspace(tmp_path / "out") as workspace:
        embed = stored_embeddings(workspace, "export", Silent())
        test = HeldOutData(PASSAGES, queries("test"), [])
        result = measure_int8(test, minilm, model, "base INT8", SETTINGS, embed)
        empty = HeldOutData(PASSAGES, [], [])
        none = measure_int8(empty, minilm, model, "base INT8", SETTINGS, embed)
    assert result.as_row()["system"] == "base INT8"
    assert result.metrics == {"Recall@10": 1.0, "nDCG@10": 1.0, "MRR@10": 1.0}
    assert set(result.differences) == {"Recall@10", "nDCG@10", "MRR@10"}
    assert set(none.metrics.values()) == {None}


def test_on_a_pool_the_gate_sees_what_it_would_see_on_the_whole_corpus(
    minilm: Path, tmp_path: Path
) -> None:
    things = ("pump", "garden", "office", "invoice", "printer", "badge", "truck", "audit")
    passages = [
        Passage(f"p{n:03}", f"d{n}", 0, f"The {thing} {verb} on {day}.", f"p{n:03}", "", f"t{n}")
        for n, (thing, verb, day) in enumerate(
            (thing, verb, day)
            for thing in things
            for verb in ("leaked", "was moved", "was sold", "costs more", "is late", "was found")
            for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Sunday")
        )
    ]
    asked = [
        Query(f"{split}{n}", f"p{n * 36:03}", "need", f"trouble with the {things[n]}", None, split)
        for split in ("dev", "test")
        for n in range(len(things))
    ]
    worse = tmp_path / "worse"

    def merge(weight: float) -> Path:
        """A candidate that ranks otherwise: its first layer is noise."""
        if not worse.exists():
            merge_adapter(minilm, minilm, 0.0, worse)
            tensors = load_file(worse / "model.safetensors")
            name = "encoder.layer.0.attention.output.dense.weight"
            noise = torch.randn(tensors[name].shape, generator=torch.Generator().manual_seed(0))
            save_file({**tensors, name: tensors[name] + 0.2 * noise}, worse / "model.safetensors")
        return worse

    settings = Settings(
        device="cpu",
        evaluation=EvaluationSettings(
            reference_model="", resamples=1000, interpolation_weights=(1.0,)
        ),
    )
    with Workspace(tmp_path / "out") as workspace:
        embed = stored_embeddings(workspace, "evaluate", Silent())
        data = HeldOutData(passages, asked, [])
        whole, pool = (
            compare(data, minilm, merge, settings, embed, size)
            for size in (PoolSize(depth=0, others=len(passages)), PoolSize(depth=10, others=2))
        )
    assert len(pool.pool) < len(whole.pool) == len(passages)
    by_name = {result.system: result for result in whole.test}
    for result in pool.test:
        if result.system in ("BM25", "base", "adapted"):
            for name, values in result.by_query.items():
                np.testing.assert_array_equal(values, by_name[result.system].by_query[name])
    assert pool.verdict == whole.verdict
